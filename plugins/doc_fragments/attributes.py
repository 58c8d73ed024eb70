# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of what modules promise to Ansible."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.attributes`` and, for modules that only look, ``zrb.fleet.attributes.info``. Modules that are
    in one action group alone say so with ``.group_config`` and ``.group_s3``; the others do with ``engine``."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Returns details on what has changed (or would change in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled or queried by the module has not changed in a relevant way.
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    support: full
    details:
      - This action does not modify state.
"""

    GROUP_CONFIG = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/zrb.fleet.config) in C(module_defaults) to set O(config) for all modules that have it.
    support: full
    membership:
      - zrb.fleet.config
"""

    GROUP_S3 = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/zrb.fleet.s3) in C(module_defaults) to set options of the S3 connection.
    support: full
    membership:
      - zrb.fleet.s3
"""
