# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of zrb.fleet.zfs_backup."""

from __future__ import annotations

from ..plugin_utils._job_action import JobAction


class ActionModule(JobAction):
    """Shows the progress of the job that the module starts."""
