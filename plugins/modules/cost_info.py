#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.cost_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cost_info
short_description: Say what a repository costs in a month, and what it will cost
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Adds up what a month of all objects costs, and what the rules in O(config) will have left in a month and in a year.
  - Prices of some providers are known; those under C(prices) in O(config) count before them.
  - Reads manifests and lists objects. Needs neither ZFS nor a private key, so it can run anywhere.
extends_documentation_fragment:
  - zrb.fleet.attributes
  - zrb.fleet.attributes.info
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
options:
  config:
    description:
      - Configuration file of the C(zrb) command, on the machine that the module runs on.
    type: path
    required: true
  host:
    description:
      - Only what this machine has in the repository.
      - If unset, all machines.
    type: str
  most:
    description:
      - What a month may cost. If one costs more now, in a month or in a year, or if nobody knows since a price is
        missing, the module warns, and RV(cost) says so under C(warnings). It does not fail.
    type: float
requirements:
  - python >= 3.11
  - bitmath >= 2.0
  - boto3 >= 1.36, for repositories in S3
  - cryptography >= 48
  - PyYAML >= 6.0
seealso:
  - module: zrb.fleet.zfs_cleanup
  - module: zrb.fleet.zfs_backup_info
"""

EXAMPLES = r"""
- name: Add up what the repository costs
  zrb.fleet.cost_info:
    config: /etc/zrb/config.yaml
    most: 25
  register: spending

- name: Fail if a month costs more than that, now or as foreseen, so that a monitoring job notices
  ansible.builtin.assert:
    that: spending.cost.warnings | length == 0
    fail_msg: "{{ spending.cost.warnings | join('. ') }}"
"""

RETURN = r"""
cost:
  description: What the repository costs. An amount is V(null) if a price is unknown.
  returned: success
  type: dict
  contains:
    exit_code:
      description: The exit code that C(zrb cost) has for this.
      type: int
      sample: 4
    prices:
      description: Whose prices these are, and as of when; the storage classes in C(own) have those of O(config).
      type: dict
      sample:
        name: AWS S3 in us-east-1
        source: https://aws.amazon.com/s3/pricing/
        as_of: "2026-08-18"
        own: []
        note: null
    total:
      description: All objects, their bytes, and what they cost in a month.
      type: dict
      sample: {objects: 4100, bytes: 1099511627776, month_price: 23.552}
    parts:
      description: The same by C(storage_class), C(level), C(dataset) and C(host).
      type: dict
      sample:
        host:
          - {name: nas1, objects: 4100, bytes: 1099511627776, month_price: 23.552}
    other:
      description: What of it is in no backup that is listed.
      type: dict
      sample: {objects: 0, bytes: 0, month_price: 0.0}
    early_fee:
      description: What removing everything now would cost.
      type: float
      sample: 0.0
    outlooks:
      description: What will be there in so many days, if backups go on as until now, and what a month will cost then.
      type: list
      elements: dict
      sample:
        - {days: 30, backups: 44, bytes: 1209462790553, month_price: 25.907}
    not_foreseen:
      description: The datasets that RV(cost.outlooks) leaves out, damaged or younger than 7 days.
      type: list
      elements: dict
      sample:
        - {host: nas1, dataset: tank/new}
    unpriced:
      description: The storage classes without a known price.
      type: list
      elements: str
      sample: []
    problems:
      description: Manifests that are damaged or not signed by a trusted key, each with the keys of a failure.
      type: list
      elements: dict
      sample: []
    warnings:
      description: That a month costs more than O(most), or that nobody knows.
      type: list
      elements: str
      sample: ["What a month costs in 30 days is 25.91, more than 25.00"]
error:
  description: Kind of the failure, such as V(ConfigError).
  returned: failure
  type: str
  sample: ConfigError
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 2
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The configuration file /etc/zrb/config.yaml does not exist
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: /etc/zrb/config.yaml
answer:
  description: What S3 or the operating system said.
  returned: failure
  type: str
  sample: ""
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Create it
"""

from ..module_utils._ansible.arguments import COST_INFO
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = COST_INFO.create_module()
    require(module, "bitmath", "cryptography", "yaml")
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.cost import add_up

    end(module, add_up)


if __name__ == "__main__":
    main()
