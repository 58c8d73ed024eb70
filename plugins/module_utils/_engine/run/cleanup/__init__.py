# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cleanup: removes the backups that nobody keeps."""

from __future__ import annotations

from .cleanup import clean_up, plan_cleanup
from .results import CleanupOutcome, CleanupPlan

__all__ = [
    "CleanupOutcome",
    "CleanupPlan",
    "clean_up",
    "plan_cleanup",
]
