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
  - Needs no ZFS and no private key, so that it can run anywhere, also for a machine that is gone.
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
      - Name of the machine whose backups are listed; V(*) for all machines. The default is this machine.
    type: str
  level:
    description:
      - Only backups of this level.
    type: int
    choices: [0, 1, 2, 3, 4]
  since:
    description:
      - Only backups made at this time or later, in ISO 8601 such as V(2026-01-31T02:00Z), or not longer ago than this,
        such as V(7d). Without a time zone, the time is UTC.
    type: str
  until:
    description:
      - Only backups made at this time or before, or at least as long ago as this.
    type: str
  query:
    description:
      - A L(JMESPath, https://jmespath.org) query on RV(backups); its answer is RV(answer).
    type: str
requirements:
  - jmespath >= 1.0, for O(query)
notes:
  - Reads manifests and lists objects. What has gone wrong with a manifest is told in RV(problems), and the others are
    listed nevertheless.
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

- name: Fail where the newest backup is older than two days, which a monitoring job can watch
  zrb.fleet.zfs_backup_info:
    config: /etc/zrb/config.yaml
    task: home
    since: 2d
  register: recent
  failed_when: recent is not failed and recent.backups | length == 0

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
      description: The trusted key that signed it; V(null) where no trusted key is known.
      type: str
      sample: zrbsign1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs8ez5wr
problems:
  description: What is wrong - manifests that could not be listed, backups that are not complete, backups that vanished.
  returned: success
  type: list
  elements: dict
  sample:
    - error: SignatureInvalid
      problem: No trusted key signed the manifest
      subject: manifests/nas1/tank/home/20260131T020000Z-L1-5d41402a.json
answer:
  description: The answer to O(query).
  returned: where O(query) is given
  type: raw
  sample: [20260125T020000Z-L0-0b8f8e4c]
"""

from ..module_utils._ansible.arguments import BACKUP_INFO
from ..module_utils._ansible.catalogue import list_matching
from ..module_utils._ansible.requirements import require, require_engine
from ..module_utils._ansible.results import fail_from
from ..module_utils._engine.errors import EngineError


def main() -> None:
    """Run the module."""
    module = BACKUP_INFO.create_module()
    require_engine(module)
    if module.params["query"] is not None:
        require(module, "jmespath")
    try:
        result = list_matching(module)
    except EngineError as error:
        fail_from(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
