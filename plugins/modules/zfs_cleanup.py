#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.zfs_cleanup."""

from __future__ import annotations

DOCUMENTATION = r"""
module: zfs_cleanup
short_description: Remove the backups that no rule keeps
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Removes the backups that C(retention) in O(config) does not keep. Without C(retention), nothing is ever removed.
  - First a signed record names what is removed, then it is deleted. If it is interrupted, the next run finishes.
  - Nothing of a dataset is removed while a backup of it runs or waits to be resumed on this machine, or while something
    of its backups is missing or damaged. The module fails then, after it has cleaned up the other datasets.
  - Needs neither ZFS nor a private age key, so it can run on another machine, with credentials that may delete.
extends_documentation_fragment:
  - zrb.fleet.attributes
  - zrb.fleet.s3
attributes:
  action_group:
    description:
      - Use C(group/zrb.fleet.config) in C(module_defaults) to set O(config), and C(group/zrb.fleet.s3) to set options
        of the S3 connection.
    support: full
    membership:
      - zrb.fleet.config
      - zrb.fleet.s3
  check_mode:
    support: full
    details:
      - RV(plan) is what would be done.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  config:
    description:
      - Configuration file of the C(zrb) command, on the machine that the module runs on. It has the rules.
    type: path
    required: true
  task:
    description:
      - Only backups of the datasets of this task in O(config).
    type: str
  host:
    description:
      - Name of the machine whose backups to clean up, or V(*) for all machines.
      - If unset, the name in O(config), or the short host name of this machine.
    type: str
  max_removals:
    description:
      - Remove up to this many backups, and nothing at all if there are more.
      - If unset, 50, and no more than 30 percent of the backups of a dataset. Look at RV(plan) of a run in check mode
        before you allow more.
    type: int
  pay_early_deletion:
    description:
      - Also remove what its S3 storage class is charged for some time longer, such as 180 days in V(DEEP_ARCHIVE).
    type: bool
    default: false
requirements:
  - python >= 3.11
  - bitmath >= 2.0
  - boto3 >= 1.36, for repositories in S3
  - cryptography >= 48
  - PyYAML >= 6.0
seealso:
  - module: zrb.fleet.zfs_backup
  - module: zrb.fleet.zfs_backup_info
"""

EXAMPLES = r"""
- name: Show what stays and what goes
  zrb.fleet.zfs_cleanup:
    config: /etc/zrb/config.yaml
  check_mode: true
  register: cleanup

- name: Remove what nobody keeps
  zrb.fleet.zfs_cleanup:
    config: /etc/zrb/config.yaml
    task: home
    max_removals: 40
"""

RETURN = r"""
plan:
  description: What becomes of each backup, and why. The same in check mode and outside of it.
  returned: success
  type: dict
  contains:
    series:
      description: The backups of each dataset of each machine, with the policy that counts for them.
      type: list
      elements: dict
      sample:
        - host: nas1
          dataset: tank/home
          policy: "keep_last: 3, keep_monthly: 12"
          backups:
            - backup_id: 20260131T020000Z-L1-5d41402a
              level: 1
              snapshot_creation: "2026-01-31T02:00:00Z"
              bytes: 73418456
              fate: keep
              rules: [keep_last, keep_monthly]
              needed_by: null
              until: null
              obstacle: ""
              month_price: 0.0017
              early_fee: 0.0
    totals:
      description: Number, bytes and prices of the backups that are kept (V(keep)), removed later (V(later)) or now
        (V(remove)). A price is V(null) if zrb does not know it, and C(prices) in O(config) do not name it.
      type: dict
      sample:
        keep: {backups: 15, bytes: 734003200, month_price: 0.0169, early_fee: 0.0}
        later: {backups: 0, bytes: 0, month_price: 0.0, early_fee: 0.0}
        remove: {backups: 1, bytes: 73418456, month_price: 0.0017, early_fee: 0.0}
    remains:
      description: Number of backups that earlier runs retired, and of which something is left to delete.
      type: int
      sample: 0
    unfinished:
      description: What is there of backups that were never finished. What no run can go on with is removed.
      type: list
      elements: dict
      sample:
        - host: nas1
          dataset: tank/home
          backup_id: 20260114T020000Z-L0-77aa01b2
          objects: 12
          bytes: 3221225472
          written: "2026-01-14T05:12:44Z"
          fate: remove
    uploads:
      description: Uploads that were never finished, and what becomes of them. C(bytes) are V(null) if the store does
        not say.
      type: list
      elements: dict
      sample:
        - host: nas1
          dataset: tank/home
          key: data/nas1/tank/home/level0/20260114T020000Z-L0-77aa01b2/snapshot.part-000012.age
          bytes: null
          started: "2026-01-14T05:12:44Z"
          fate: remove
    warnings:
      description: What could not be looked at.
      type: list
      elements: str
      sample: []
    refused:
      description: The datasets of which nothing is removed, each with the keys of a failure.
      type: list
      elements: dict
      sample: []
    unconfirmed:
      description: Why O(max_removals) has to allow this, with the keys of a failure; V(null) if it need not.
      type: dict
      sample:
        error: RemovalsUnconfirmed
        exit_code: 2
        problem: "This cleanup would remove 120 backups: more than 50 backups"
removed:
  description: The backups that were removed.
  returned: success
  type: list
  elements: str
  sample: [20260131T020000Z-L1-5d41402a]
objects:
  description: Number of objects that were deleted, and of unfinished uploads.
  returned: success
  type: int
  sample: 7
error:
  description: Kind of the failure, such as V(RemovalsUnconfirmed).
  returned: failure
  type: str
  sample: RemovalsUnconfirmed
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 2
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: "This cleanup would remove 120 backups: more than 50 backups"
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: max_removals
answer:
  description: What S3 or the operating system said.
  returned: failure
  type: str
  sample: ""
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Nothing was changed. Look at the plan
"""

from ..module_utils._ansible.arguments import CLEANUP
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = CLEANUP.create_module()
    require(module, "bitmath", "cryptography", "yaml")
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.cleanup import run_cleanup

    end(module, run_cleanup)


if __name__ == "__main__":
    main()
