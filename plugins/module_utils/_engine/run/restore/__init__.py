# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore: choose a chain, check everything that can be checked, then receive link after link."""

from __future__ import annotations

from .already_restored import restored_guid
from .plan import RestorePlan, RestoreSelection
from .restore import RestoreResult, plan_restore, restore

__all__ = [
    "RestorePlan",
    "RestoreResult",
    "RestoreSelection",
    "plan_restore",
    "restore",
    "restored_guid",
]
