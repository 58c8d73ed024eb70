#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_backup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_backup
short_description: Back up ZFS datasets, encrypted and signed, to S3 or to a directory
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Takes a snapshot, sends it in parts through age encryption to the repository, and commits the backup with a signed
    manifest. Nothing is stored unencrypted, and there is no temporary copy of the stream on disk.
  - A level 0 backup holds all of the dataset. A backup of a higher level holds what has changed since the newest backup
    of the level below. If that one is missing, the module makes the next lower level that is possible, and the result
    says why. O(strict_level=true) makes this an error instead.
  - The next run resumes a run that was interrupted.
  - Specify what to back up, and where to, with O(config) and O(task), or with O(dataset), O(recipients),
    O(signing_key), and O(repository) or O(bucket).
extends_documentation_fragment:
  - zrb.fleet.engine
  - zrb.fleet.engine.zfs
  - zrb.fleet.attributes
  - zrb.fleet.job
  - zrb.fleet.engine.source
  - zrb.fleet.engine.writing
  - zrb.fleet.s3
attributes:
  check_mode:
    support: full
    details:
      - Takes no snapshot and stores nothing. RV(plan) tells what would be done, and RV(backups) is empty.
  diff_mode:
    support: full
    details:
      - Shows which backups were added, or would be added.
  idempotent:
    support: partial
    details:
      - Every run makes a new backup, unless O(unless_newer_than) finds one that is fresh enough.
options:
  strict_level:
    description:
      - Fail instead of making a backup of a lower level if the one that O(level) builds upon is missing.
    type: bool
    default: false
  unless_newer_than:
    description:
      - Make no backup if each dataset has one that is younger than this, of O(level) or of a lower and thus more
        complete level. A number with V(s), V(m), V(h), V(d) or V(w), such as V(20h).
      - The age of a backup is the age of its snapshot. A backup does not count if its snapshot lies in the future, or
        if parts of it, or a backup that it builds upon, are missing.
    type: str
  job:
    description:
      - What to note in the manifest about the job that makes the backup, such as the number of an AWX job.
    type: dict
    default: {}
seealso:
  - module: zrb.fleet.zfs_backup_info
  - module: zrb.fleet.zfs_restore
  - module: zrb.fleet.zfs_snapshot
"""

EXAMPLES = r"""
- name: Make a full backup of a task of the configuration
  zrb.fleet.zfs_backup:
    config: /etc/zrb/config.yaml
    task: home
    level: 0

- name: Make a daily backup, however often this runs, and note which AWX job made it
  zrb.fleet.zfs_backup:
    config: /etc/zrb/config.yaml
    task: home
    level: 1
    unless_newer_than: 20h
    job:
      awx_job_id: "{{ awx_job_id | default('none') }}"
  register: backup

- name: Say what was stored
  ansible.builtin.debug:
    msg: "{{ item.dataset }} level {{ item.level }}: {{ item.stored_bytes | human_readable }}, {{ item.duration_s }} s"
  loop: "{{ backup.backups }}"
  loop_control:
    label: "{{ item.backup_id }}"

- name: Ask what a backup would send
  zrb.fleet.zfs_backup:
    config: /etc/zrb/config.yaml
    task: home
    level: 2
  check_mode: true
  register: planned

- name: Back up to a bucket without a configuration file
  zrb.fleet.zfs_backup:
    dataset: tank/home
    level: 0
    recipients:
      - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    signing_key: /etc/zrb/signing.key
    bucket: my-backup-bucket
    prefix: nas/
    region: eu-central-1
    storage_classes: [DEEP_ARCHIVE, STANDARD_IA]

- name: Back up a dataset and all below it to a disk
  zrb.fleet.zfs_backup:
    dataset: tank/home
    recursive: true
    exclude: ["*/cache"]
    level: 0
    recipients:
      - age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
    signing_key: /etc/zrb/signing.key
    repository: /mnt/usb/zrb
    snapshot_prefix: usb
"""

RETURN = r"""
job:
  description: How far the job is, as M(zrb.fleet.job_info) says it.
  returned: if it still runs after O(wait_timeout)
  type: dict
  sample:
    job_id: zfs_backup-3f29ab07-20260131T020000Z-5d41
    state: running
job_id:
  description: Id of the job that did it.
  returned: if a job did it
  type: str
  sample: zfs_backup-3f29ab07-20260131T020000Z-5d41
backups:
  description: The backups that were committed, one for each dataset. Empty in check mode and if nothing was done.
  returned: success, or failure of some datasets of a recursive task
  type: list
  elements: dict
  contains:
    backup_id:
      description: Name of the backup.
      type: str
      sample: 20260131T020000Z-L1-5d41402a
    task:
      description: Task that it belongs to.
      type: str
      sample: home
    dataset:
      description: Full name of the dataset.
      type: str
      sample: tank/home
    level:
      description: Level that was made.
      type: int
      sample: 1
    level_requested:
      description: Level that was asked for.
      type: int
      sample: 1
    reason:
      description: Why it is not the level that was asked for. Empty if it is.
      type: str
      sample: ""
    base:
      description: The backup that it builds upon; V(null) for level 0.
      type: dict
      sample:
        backup_id: 20260125T020000Z-L0-0b8f8e4c
        snapshot: tank/home@zrb_level0_20260125T020000Z
        guid: "11293774401255712345"
    snapshot:
      description: Full name of the snapshot.
      type: str
      sample: tank/home@zrb_level1_20260131T020000Z
    snapshot_guid:
      description: Guid of the snapshot.
      type: str
      sample: "5817345090174523456"
    stream_bytes:
      description: Size of what C(zfs send) gave.
      type: int
      sample: 73400320
    stored_bytes:
      description: Size of what is stored.
      type: int
      sample: 73418456
    parts:
      description: Number of parts.
      type: int
      sample: 5
    parts_resumed:
      description: Number of parts that an interrupted run had stored already.
      type: int
      sample: 0
    manifest_key:
      description: Name of the manifest in the repository.
      type: str
      sample: manifests/nas1/tank/home/20260131T020000Z-L1-5d41402a.json
    storage_class:
      description: Storage class of the parts.
      type: str
      sample: STANDARD_IA
    location:
      description: The repository.
      type: str
      sample: s3://my-backup-bucket/nas/
    duration_s:
      description: Seconds that it took.
      type: float
      sample: 1.743
    warnings:
      description: What is worth knowing although the backup succeeded. Ansible shows these as warnings too.
      type: list
      elements: str
      sample: []
failures:
  description: The datasets whose backup failed, each with the same keys as a failure of the module.
  returned: failure of one dataset or more, after the backup has begun
  type: list
  elements: dict
  sample:
    - dataset: tank/home/alice
      error: SendFailed
      problem: zfs send of tank/home/alice@zrb_level0_20260131T020000Z failed
plan:
  description: What would be done, one entry for each dataset. Empty if fresh backups are enough.
  returned: in check mode
  type: list
  elements: dict
  contains:
    task:
      description: Task that it belongs to.
      type: str
      sample: home
    dataset:
      description: Full name of the dataset.
      type: str
      sample: tank/home
    level:
      description: Level that would be made.
      type: int
      sample: 1
    level_requested:
      description: Level that was asked for.
      type: int
      sample: 1
    reason:
      description: Why it is not the level that was asked for. Empty if it is.
      type: str
      sample: ""
    base:
      description: The backup that it would build upon; V(null) for level 0.
      type: dict
      sample:
        backup_id: 20260125T020000Z-L0-0b8f8e4c
        snapshot: tank/home@zrb_level0_20260125T020000Z
        guid: "11293774401255712345"
    snapshot:
      description: Snapshot that would be taken, or used.
      type: str
      sample: tank/home@zrb_level1_20260131T020000Z
    flags:
      description: Options of C(zfs send).
      type: list
      elements: str
      sample: ["-L", "-c"]
    estimated_bytes:
      description: Size of the stream, if this ZFS can tell.
      type: int
      sample: 73400320
    parts:
      description: Number of parts, if the size is known.
      type: int
      sample: 5
    part_size:
      description: Size of a part.
      type: int
      sample: 268435456
    chunk_size:
      description: Size of a request.
      type: int
      sample: 33554432
    storage_class:
      description: Storage class of the parts.
      type: str
      sample: STANDARD_IA
    destination:
      description: The repository.
      type: str
      sample: s3://my-backup-bucket/nas/
    resumes:
      description: The interrupted backup that would be resumed.
      type: str
      sample: null
    warnings:
      description: What to know before, such as another level than was asked for, or manifests that were refused.
      type: list
      elements: str
      sample: []
fresh:
  description: The backups that are fresh enough, by dataset.
  returned: if O(unless_newer_than) found a backup for each dataset, and nothing was done
  type: dict
  sample:
    tank/home: 20260131T020000Z-L1-5d41402a
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

from ..module_utils._ansible.arguments import BACKUP
from ..module_utils._ansible.requirements import engine_libraries, require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = BACKUP.create_module()
    require(module, *engine_libraries(module.params))
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.backup import no_backup_due, run_backup
    from ..module_utils._ansible.run_as_job import run_as_job

    end(module, lambda module: run_as_job(module, run_backup, look=no_backup_due))


if __name__ == "__main__":
    main()
