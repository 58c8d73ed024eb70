# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshot: take the snapshot that a later backup sends, and list those that zrb took."""

from __future__ import annotations

from .ours import SENTENCES, OurSnapshot, list_snapshots
from .snapshot import SnapshotTaken, plan_snapshot, take_snapshot

__all__ = [
    "SENTENCES",
    "OurSnapshot",
    "SnapshotTaken",
    "list_snapshots",
    "plan_snapshot",
    "take_snapshot",
]
