#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_verify."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_verify
short_description: Prove that backups of ZFS datasets are whole
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Checks the committed backups of a machine at a O(depth) that you choose, and fails if anything is damaged, missing,
    exchanged or not signed by a trusted key. RV(verified) then lists all that was found.
  - Needs neither ZFS nor the machine that made the backups, so it can run anywhere.
  - Nothing replaces a restore whose result you have looked at.
extends_documentation_fragment:
  - zrb.fleet.engine
  - zrb.fleet.attributes
  - zrb.fleet.job
  - zrb.fleet.attributes.info
  - zrb.fleet.s3
options:
  task:
    description:
      - Only backups of the datasets of this task in O(config).
    type: str
  dataset:
    description:
      - Only backups of this dataset, by its full name when it was backed up.
    type: str
  host:
    description:
      - Name of the machine whose backups to verify.
      - If unset, the name in O(config), or the short host name of this machine.
    type: str
  level:
    description:
      - Only backups of this level.
    type: int
    choices: [0, 1, 2, 3, 4]
  backup_id:
    description:
      - Only this backup.
    type: str
  depth:
    description:
      - V(signature) proves that a trusted key signed every manifest, that chains are whole, and that no backup vanished
        since this machine last looked.
      - V(exists) proves besides that every part is there and has its length, and its content as far as the storage
        shows it without being read. Works on archived objects too.
      - V(checksum) reads all parts, and proves that they have the hash that was signed.
      - V(decrypt) decrypts all parts, and proves that they hold what was read from ZFS. Needs O(private_key).
    type: str
    choices: [signature, exists, checksum, decrypt]
    default: exists
  subset:
    description:
      - Check only share V(N/T) of the parts, such as V(1/7), which is always the same share. The shares V(1/7) to
        V(7/7) together are all parts. Manifests are always checked.
    type: str
  private_key:
    description:
      - File with the private age key, on the machine that the module runs on, for O(depth=decrypt).
    type: path
seealso:
  - module: zrb.fleet.zfs_backup
  - module: zrb.fleet.zfs_restore
"""

EXAMPLES = r"""
- name: Check every night that all parts of all backups are there
  zrb.fleet.zfs_verify:
    config: /etc/zrb/config.yaml

- name: Read one seventh of all parts on each day of the week, which is all of them in a week
  zrb.fleet.zfs_verify:
    config: /etc/zrb/config.yaml
    depth: checksum
    subset: "{{ now(utc=true).isoweekday() }}/7"
"""

RETURN = r"""
job:
  description: How far the job is, as M(zrb.fleet.job_info) says it.
  returned: if it still runs after O(wait_timeout)
  type: dict
  sample:
    job_id: zfs_verify-3f29ab07-20260131T020000Z-5d41
    state: running
job_id:
  description: Id of the job that did it.
  returned: if a job did it
  type: str
  sample: zfs_verify-3f29ab07-20260131T020000Z-5d41
verified:
  description: What was checked, and what was found.
  returned: success, and failure if it is the backups that are wrong
  type: dict
  contains:
    exit_code:
      description: The exit code that the C(zrb) command has for this outcome.
      type: int
      sample: 0
    depth:
      description: The depth.
      type: str
      sample: checksum
    subset:
      description: The share of the parts that was checked, or V(null) for all.
      type: str
      sample: 1/7
    backups:
      description: Names of the backups.
      type: list
      elements: str
      sample: [20260125T020000Z-L0-0b8f8e4c, 20260131T020000Z-L1-5d41402a]
    parts:
      description: Number of parts that were checked.
      type: int
      sample: 24
    parts_total:
      description: Number of parts that these backups have.
      type: int
      sample: 171
    not_compared:
      description: Number of parts of the right length of whose content the storage shows nothing without being read.
      type: int
      sample: 0
    bytes:
      description: Size of the parts that were checked.
      type: int
      sample: 6442450944
    problems:
      description: What is wrong, each with the backup, the dataset and the same keys as a failure.
      type: list
      elements: dict
      sample: []
    warnings:
      description: What is worth knowing although nothing is wrong. Ansible shows these as warnings too.
      type: list
      elements: str
      sample: []
error:
  description: Kind of the failure, such as V(PartDamaged).
  returned: failure
  type: str
  sample: PartDamaged
exit_code:
  description: The exit code that the C(zrb) command has for this failure - 5 if something is damaged, missing or not
    signed, 7 if something must be thawed first.
  returned: failure
  type: int
  sample: 5
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The part data/nas1/tank/home/20260125T020000Z-L0-0b8f8e4c/snapshot.part-000007.age is damaged
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: data/nas1/tank/home/20260125T020000Z-L0-0b8f8e4c/snapshot.part-000007.age
answer:
  description: What S3 or the operating system said.
  returned: failure
  type: str
  sample: ""
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Make a new level 0 backup now
"""

from ..module_utils._ansible.arguments import VERIFY
from ..module_utils._ansible.requirements import engine_libraries, require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = VERIFY.create_module()
    require(module, *engine_libraries(module.params))
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.run_as_job import run_as_job
    from ..module_utils._ansible.verify import run_verify

    end(module, lambda module: run_as_job(module, run_verify, needs_state=False))


if __name__ == "__main__":
    main()
