# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot: take the snapshot that a later backup sends."""

from __future__ import annotations

from .snapshot import SnapshotTaken, plan_snapshot, take_snapshot

__all__ = [
    "SnapshotTaken",
    "plan_snapshot",
    "take_snapshot",
]
