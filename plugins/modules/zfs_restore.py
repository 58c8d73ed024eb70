#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_restore."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_restore
short_description: Restore a ZFS dataset from its backups into a new dataset
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Restores the whole chain up to the chosen backup, level by level, into a dataset that does not exist yet.
  - Before it receives anything, the module checks the signatures of all manifests, and that all parts are there and
    readable. It checks each part before it decrypts it, and holds back the end of each stream until the hash of the
    whole stream is right.
  - The new dataset is not mounted. It gets C(mountpoint=none) and C(canmount=noauto), so that it cannot cover anything,
    and C(sharenfs=off) and C(sharesmb=off), so that it is not shared as its parent may be.
  - Never changes or overwrites anything in an existing dataset, but for what O(only) and O(continue) add to it.
extends_documentation_fragment:
  - zrb.fleet.engine
  - zrb.fleet.engine.zfs
  - zrb.fleet.attributes
  - zrb.fleet.job
  - zrb.fleet.s3
attributes:
  check_mode:
    support: full
    details:
      - Downloads manifests only. RV(plan) tells what would be restored, and from which storage classes.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - A target whose newest snapshot is that of the chosen backup is left as it is, if its restore was finished. With
        O(continue=true), one that holds the first backups of the chain gets what is missing. Any other target that
        exists is an error.
options:
  dataset:
    description:
      - Full name of the dataset when it was backed up.
    type: str
    required: true
  target:
    description:
      - Full name of the dataset to make. Its parent must exist. The dataset itself must not, but for O(continue).
    type: str
    required: true
  host:
    description:
      - Name of the machine that made the backups.
      - If unset, the name in O(config), or the short host name of this machine.
    type: str
  private_key:
    description:
      - File with the private age key, on the machine that the module runs on. Bring it for the restore, and remove it
        afterwards.
      - Not needed in check mode.
    type: path
  level:
    description:
      - Restore the newest backup of this level, and the chain below it.
      - Without O(level), O(backup_id) and O(at), the newest backup is restored.
    type: int
    choices: [0, 1, 2, 3, 4]
  backup_id:
    description:
      - Restore this backup, and the chain below it.
    type: str
  at:
    description:
      - Restore the newest backup whose snapshot was taken at this time or before.
      - The time is in ISO 8601, such as V(2026-01-31T02:00Z). Without a time zone, the time is UTC.
    type: str
  only:
    description:
      - Restore only the chosen backup, onto a O(target) that was restored up to its base before.
    type: bool
    default: false
  continue:
    description:
      - Go on with a restore that was interrupted. If O(target) holds the first backups of the chain already, only those
        that are missing are downloaded and received. The guids of the snapshots decide what is there.
      - A backup that was cut off in its middle goes on there with OpenZFS, and only the parts that are missing are
        downloaded. zfs-fuse receives it again from its start.
      - A O(target) that has other snapshots, or was changed, is an error. Nothing is rolled back or destroyed.
      - A O(target) that does not exist is restored as without this option.
      - Cannot be used together with O(only).
    type: bool
    default: false
    version_added: 0.1.0
  allow_unsigned:
    description:
      - Accept backups that no trusted key signed. Whoever can write to the repository then decides what is restored.
    type: bool
    default: false
seealso:
  - module: zrb.fleet.zfs_backup
  - module: zrb.fleet.zfs_backup_info
"""

EXAMPLES = r"""
- name: Ask what a restore would do, and what it would download
  zrb.fleet.zfs_restore:
    config: /etc/zrb/config.yaml
    dataset: tank/home
    target: tank/restored
  check_mode: true
  register: planned

- name: Restore the newest state, with the private key on the machine for no longer than that takes
  block:
    - name: Make a directory in memory
      ansible.builtin.file:
        path: /run/zrb
        state: directory
        mode: "0700"
    - name: Bring the private key
      ansible.builtin.copy:
        src: /srv/zrb/age.key
        dest: /run/zrb/age.key
        mode: "0600"
    - name: Restore
      zrb.fleet.zfs_restore:
        config: /etc/zrb/config.yaml
        dataset: tank/home
        target: tank/restored
        private_key: /run/zrb/age.key
  always:
    - name: Remove the private key
      ansible.builtin.file:
        path: /run/zrb/age.key
        state: absent

- name: Restore, or go on after an interruption; as often as needed until nothing is left to do
  zrb.fleet.zfs_restore:
    config: /etc/zrb/config.yaml
    dataset: tank/home
    target: tank/restored
    private_key: /run/zrb/age.key
    continue: true

- name: Restore the state of a certain day on another machine, whose own key is not known here
  zrb.fleet.zfs_restore:
    bucket: my-backup-bucket
    prefix: nas/
    region: eu-central-1
    host: nas1
    dataset: tank/home
    at: "2026-01-31T00:00Z"
    target: tank/nas1-home
    private_key: /media/usb/age.key
    trusted_signers:
      - zrbsign1pq1chmnm4la3x34lkgdfel6dy7bl4zb…
"""

RETURN = r"""
job:
  description: How far the job is, as M(zrb.fleet.job_info) says it.
  returned: if it still runs after O(wait_timeout)
  type: dict
  sample:
    job_id: zfs_restore-3f29ab07-20260131T020000Z-5d41
    state: running
job_id:
  description: Id of the job that did it.
  returned: if a job did it
  type: str
  sample: zfs_restore-3f29ab07-20260131T020000Z-5d41
restored:
  description: What was restored.
  returned: if something was restored
  type: dict
  contains:
    target:
      description: The new dataset.
      type: str
      sample: tank/restored
    snapshot:
      description: The newest snapshot of the new dataset.
      type: str
      sample: tank/restored@zrb_level1_20260131T020000Z
    links:
      description: Names of the backups that were received now, in order.
      type: list
      elements: str
      sample: [20260125T020000Z-L0-0b8f8e4c, 20260131T020000Z-L1-5d41402a]
    present:
      description: Names of the backups that were received before, in order. See O(continue).
      type: list
      elements: str
      sample: []
    changed:
      description: Whether anything was left to do.
      type: bool
      sample: true
    stream_bytes:
      description: Size of all that was received.
      type: int
      sample: 5368709120
    duration_s:
      description: Seconds that it took.
      type: float
      sample: 71.2
    warnings:
      description: What is worth knowing although the restore succeeded. Ansible shows these as warnings too.
      type: list
      elements: str
      sample: []
plan:
  description: What would be restored.
  returned: in check mode, if something would be restored
  type: dict
  contains:
    dataset:
      description: The dataset when it was backed up.
      type: str
      sample: tank/home
    target:
      description: The new dataset.
      type: str
      sample: tank/restored
    links:
      description: The backups, in order.
      type: list
      elements: dict
      sample:
        - backup_id: 20260125T020000Z-L0-0b8f8e4c
          level: 0
          snapshot: tank/home@zrb_level0_20260125T020000Z
          guid: "11293774401255712345"
          stream_bytes: 5295308800
          stored_bytes: 5296601344
          parts: 20
          storage_class: STANDARD
          readable: true
          present: false
          fetched_bytes: 5296601344
    done:
      description: Whether nothing is left to do.
      type: bool
      sample: false
    stream_bytes:
      description: Size of all that would be received. Backups that are V(present) do not count.
      type: int
      sample: 5295308800
    stored_bytes:
      description: Size of all that would be downloaded. Backups that are V(present) do not count.
      type: int
      sample: 5296601344
    warnings:
      description: What is worth knowing before.
      type: list
      elements: str
      sample: []
snapshot_guid:
  description: Guid of the newest snapshot of O(target), which is that of the chosen backup.
  returned: if the target was restored before
  type: str
  sample: "5817345090174523456"
error:
  description: Kind of the failure, such as V(NoSuchDataset).
  returned: failure
  type: str
  sample: NoSuchDataset
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 6
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The dataset tank/hom does not exist
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: tank/hom
answer:
  description: What ZFS, S3 or the operating system said.
  returned: failure
  type: str
  sample: "cannot open 'tank/hom': dataset does not exist"
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Check the name with `zfs list`
"""

from ..module_utils._ansible.arguments import RESTORE
from ..module_utils._ansible.requirements import engine_libraries, require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = RESTORE.create_module()
    require(module, *engine_libraries(module.params))
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.restore import restored_before, run_restore
    from ..module_utils._ansible.run_as_job import run_as_job

    end(module, lambda module: run_as_job(module, run_restore, look=restored_before))


if __name__ == "__main__":
    main()
