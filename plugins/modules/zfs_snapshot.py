#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_snapshot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_snapshot
short_description: Take the snapshot that a later backup sends
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Takes a snapshot with the name and the hold that M(zrb.fleet.zfs_backup) expects with
    O(zrb.fleet.zfs_backup#module:take_snapshot=false). Useful if the moment of the snapshot matters, for example while
    a database is quiet, and the backup may follow later.
  - Specify the dataset with O(config) and O(task), or with O(dataset).
extends_documentation_fragment:
  - zrb.fleet.attributes
  - zrb.fleet.attributes.group_config
  - zrb.fleet.engine.source
  - zrb.fleet.engine.zfs
attributes:
  check_mode:
    support: full
    details:
      - RV(planned) and RV(snapshot) tell which snapshots would be taken, with the current time in their names.
  diff_mode:
    support: full
  idempotent:
    support: none
    details:
      - Every run takes a new snapshot.
options:
  config:
    description:
      - Configuration file of the C(zrb) command, on the machine that the module runs on.
    type: path
requirements:
  - python >= 3.11
  - bitmath >= 2.0
  - PyYAML >= 6.0
seealso:
  - module: zrb.fleet.zfs_backup
"""

EXAMPLES = r"""
- name: Take the snapshot of a task of the configuration
  zrb.fleet.zfs_snapshot:
    config: /etc/zrb/config.yaml
    task: home
    level: 0

- name: Take the snapshot of a dataset and all below it at one instant
  zrb.fleet.zfs_snapshot:
    dataset: tank/home
    recursive: true
    level: 1
  register: taken

- name: Show its name
  ansible.builtin.debug:
    var: taken.snapshot.name
"""

RETURN = r"""
snapshot:
  description: The snapshot that was taken. In check mode, what only ZFS can tell is V(null).
  returned: success
  type: dict
  contains:
    name:
      description: Full name.
      type: str
      sample: tank/home@zrb_level1_20260131T020000Z
    guid:
      description: Guid.
      type: str
      sample: "5817345090174523456"
    createtxg:
      description: Transaction group in which it was taken.
      type: int
      sample: 7345112
    creation:
      description: When it was taken.
      type: str
      sample: "2026-01-31T02:00:00Z"
    hold_tag:
      description: Tag of the hold that keeps it from being destroyed.
      type: str
      sample: zrb:home
    descendants:
      description: The same of each dataset below.
      type: list
      elements: dict
      sample: []
planned:
  description: Full names of the snapshots that would be taken.
  returned: in check mode
  type: list
  elements: str
  sample: [tank/home@zrb_level1_20260131T020000Z]
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

from ..module_utils._ansible.arguments import SNAPSHOT
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = SNAPSHOT.create_module()
    require(module, "bitmath", "yaml")
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.snapshot import run_snapshot

    end(module, run_snapshot)


if __name__ == "__main__":
    main()
