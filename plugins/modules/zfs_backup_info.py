#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_backup_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_backup_info
short_description: List the backups of ZFS datasets in a repository
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Lists the committed backups with level, base, time, size, storage class, and whether they can be read now.
  - With O(max_age), also lists the datasets that are not backed up recently enough.
  - Needs neither ZFS nor a private key, so it can run anywhere, even for a machine that is gone.
extends_documentation_fragment:
  - zrb.fleet.engine
  - zrb.fleet.attributes
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
      - Name of the machine whose backups to list, or V(*) for all machines.
      - If unset, the name in O(config), or the short host name of this machine.
    type: str
  level:
    description:
      - Only backups of this level.
    type: int
    choices: [0, 1, 2, 3, 4]
  since:
    description:
      - Only backups whose snapshot was taken at this time or later, in ISO 8601 such as V(2026-01-31T02:00Z), or not
        longer ago than this, such as V(7d). A time without a time zone is in UTC.
    type: str
  until:
    description:
      - Only backups whose snapshot was taken at this time or before, or at least as long ago as this.
    type: str
  max_age:
    description:
      - Return in RV(stale) each dataset whose newest backup is older than this. A number with V(s), V(m), V(h), V(d) or
        V(w), such as V(2d).
      - The age of a backup is the age of its snapshot. A backup does not count if its snapshot lies in the future, or
        if parts of it, or a backup that it builds upon, are missing. With O(level), backups of that level and of lower,
        more complete levels count.
      - All datasets are considered that have backups in the repository and match O(host), O(task) and O(dataset). The
        dataset named by O(dataset) or O(task) is considered even if it has no backup, and so are the datasets of all
        tasks of O(config) if neither is given. If there is nothing to consider, the module fails.
    type: str
  query:
    description:
      - A L(JMESPath, https://jmespath.org) query on RV(backups); its answer is RV(answer).
    type: str
requirements:
  - jmespath >= 1.0, for O(query)
notes:
  - Reads manifests and lists objects. A manifest that is damaged or not signed by a trusted key is reported in
    RV(problems), and the others are listed nevertheless. A repository that cannot be read is a failure.
seealso:
  - module: zrb.fleet.zfs_backup
  - module: zrb.fleet.zfs_restore
"""

EXAMPLES = r"""
- name: List all backups of a task
  zrb.fleet.zfs_backup_info:
    config: /etc/zrb/config.yaml
    task: home
  register: catalogue

- name: Look for datasets whose newest backup is older than two days; this fails if the repository cannot be read
  zrb.fleet.zfs_backup_info:
    config: /etc/zrb/config.yaml
    max_age: 2d
  register: catalogue

- name: Fail if there are such datasets, or damaged manifests, so that a monitoring job notices
  ansible.builtin.assert:
    that:
      - catalogue.stale | length == 0
      - catalogue.problems | length == 0
    fail_msg: "Stale: {{ catalogue.stale | map(attribute='dataset') | join(', ') }}. Problems: {{ catalogue.problems }}"

- name: Ask for the ids of the full backups of all machines
  zrb.fleet.zfs_backup_info:
    bucket: my-backup-bucket
    prefix: nas/
    region: eu-central-1
    host: "*"
    level: 0
    trusted_signers: "{{ fleet_signers }}"
    query: "[].{host: host, dataset: dataset, id: backup_id}"
  register: full

- name: Show them
  ansible.builtin.debug:
    var: full.answer
"""

RETURN = r"""
backups:
  description: The backups that match, by dataset, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    backup_id:
      description: Name of the backup.
      type: str
      sample: 20260131T020000Z-L1-5d41402a
    host:
      description: The machine that made it.
      type: str
      sample: nas1
    dataset:
      description: Full name of the dataset.
      type: str
      sample: tank/home
    level:
      description: Level of the backup.
      type: int
      sample: 1
    level_requested:
      description: Level that was asked for.
      type: int
      sample: 1
    base:
      description: The backup that it builds upon; V(null) for level 0.
      type: dict
      sample:
        backup_id: 20260125T020000Z-L0-0b8f8e4c
        snapshot: tank/home@zrb_level0_20260125T020000Z
        guid: "11293774401255712345"
    chain:
      description: The level 0 that it all begins with.
      type: str
      sample: 20260125T020000Z-L0-0b8f8e4c
    seq:
      description: Number of the backup in the series of its dataset.
      type: int
      sample: 12
    created:
      description: When it was committed.
      type: str
      sample: "2026-01-31T02:00:04Z"
    snapshot:
      description: Full name of the snapshot.
      type: str
      sample: tank/home@zrb_level1_20260131T020000Z
    snapshot_guid:
      description: Guid of the snapshot.
      type: str
      sample: "5817345090174523456"
    snapshot_creation:
      description: When the snapshot was taken.
      type: str
      sample: "2026-01-31T02:00:00Z"
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
    missing_parts:
      description: Number of parts that are not in the repository.
      type: int
      sample: 0
    storage_class:
      description: Storage class of the parts now.
      type: str
      sample: STANDARD_IA
    complete:
      description: Whether all parts are there, of this backup and of those that it builds upon.
      type: bool
      sample: true
    readable:
      description: Whether it can be restored now - it is complete, and none of these parts has to be thawed.
      type: bool
      sample: true
    signer:
      description: The trusted key that signed it, or V(null) if no trusted key is known.
      type: str
      sample: zrbsign1pq1chmnm4la3x34lkgdfel6dy7bl4zb…
problems:
  description: What is wrong - manifests that could not be listed, backups that are not complete, backups that vanished;
    each with the same keys as a failure.
  returned: success
  type: list
  elements: dict
  sample:
    - error: SignatureInvalid
      problem: No trusted key signed the manifest
      subject: manifests/nas1/tank/home/20260131T020000Z-L1-5d41402a.json
stale:
  description: The datasets whose newest backup is older than O(max_age), or that have none.
  returned: if O(max_age) is given
  type: list
  elements: dict
  contains:
    host:
      description: The machine.
      type: str
      sample: nas1
    dataset:
      description: Full name of the dataset.
      type: str
      sample: tank/home
    backup_id:
      description: The newest backup that counts, or V(null) if there is none.
      type: str
      sample: 20260125T020000Z-L0-0b8f8e4c
    snapshot_creation:
      description: When its snapshot was taken.
      type: str
      sample: "2026-01-25T02:00:00Z"
    age_s:
      description: Age of that snapshot in seconds.
      type: int
      sample: 518400
error:
  description: Kind of the failure, such as V(NoSuchRepository).
  returned: failure
  type: str
  sample: NoSuchRepository
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 6
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The bucket my-backup-bucket does not exist
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: my-backup-bucket
answer:
  description: The answer to O(query). After a failure, what S3 or the operating system said.
  returned: if O(query) is given, and failure
  type: raw
  sample: [20260125T020000Z-L0-0b8f8e4c]
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Check the name, or create the bucket
"""

from ..module_utils._ansible.arguments import BACKUP_INFO
from ..module_utils._ansible.requirements import engine_libraries, require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = BACKUP_INFO.create_module()
    query = ["jmespath"] if module.params["query"] is not None else []
    require(module, *engine_libraries(module.params), *query)
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.catalogue import list_matching

    end(module, list_matching)


if __name__ == "__main__":
    main()
