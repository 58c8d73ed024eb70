# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether data is backed up recently enough. The age of a backup is that of its snapshot: a backup of last Monday that
was uploaded until today is a week old."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from .._engine.run.list import ListedBackup
from .._engine.values.json_records import write_time

Place = tuple[str, str]
"""Host and dataset."""


def newest_usable(entries: Sequence[ListedBackup], *, now: datetime, max_level: int = 4) -> dict[Place, ListedBackup]:
    """The youngest backup of each dataset that can count as one: of ``max_level`` at most, with all its parts and all
    that it builds upon, and not from the future: one that a wrong clock dated would suppress all others until then."""
    newest: dict[Place, ListedBackup] = {}
    for entry in sorted(entries, key=lambda entry: entry.snapshot_creation):
        if entry.level <= max_level and entry.snapshot_creation <= now and entry.complete:
            newest[entry.host, entry.dataset] = entry
    return newest


def stale_datasets(
    entries: Sequence[ListedBackup],
    *,
    expected: Iterable[Place],
    now: datetime,
    max_age: timedelta,
    max_level: int = 4,
) -> list[dict[str, Any]]:
    """Each dataset among ``expected`` and ``entries`` whose newest usable backup is older than ``max_age``, or that
    has none, as results show it."""
    newest = newest_usable(entries, now=now, max_level=max_level)
    places = {*expected, *((entry.host, entry.dataset) for entry in entries)}
    stale = []
    for host, dataset in sorted(places):
        entry = newest.get((host, dataset))
        if entry is None or now - entry.snapshot_creation > max_age:
            stale.append(
                {
                    "host": host,
                    "dataset": dataset,
                    "backup_id": entry.backup_id if entry else None,
                    "snapshot_creation": write_time(entry.snapshot_creation) if entry else None,
                    "age_s": int((now - entry.snapshot_creation).total_seconds()) if entry else None,
                }
            )
    return stale
