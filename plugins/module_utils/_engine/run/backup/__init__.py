# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Back up: a run of a task, from the survey to the commit."""

from __future__ import annotations

from .backup import back_up, plan_backup
from .results import BackupOutcome, BackupPlan, BackupResult

__all__ = [
    "BackupOutcome",
    "BackupPlan",
    "BackupResult",
    "back_up",
    "plan_backup",
]
