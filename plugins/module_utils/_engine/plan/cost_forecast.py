# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Foresees what a series of backups will hold and cost, if backups go on as until now and everything is removed on the
first day on which it may be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from ..values.manifest import BackupSummary, Base
from ..values.repository_names import Series, new_backup_id
from ..values.retention import Retention
from .chain import oldest_first
from .price_list import PriceList
from .retention import StoredBackup, Sums, plan_series, sum_up

MOST_WEEKS: Final = 52
_WEEK: Final = timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class MadeBackup:
    """That a backup was made once, whether or not it is still there."""

    level: int
    made: datetime


def foresee(
    series: Series,
    backups: Sequence[StoredBackup],
    history: Sequence[MadeBackup],
    policies: Sequence[Retention],
    *,
    now: datetime,
    at: datetime,
    prices: PriceList,
) -> Sums | None:
    """What will be there of ``series`` ``at`` that time; ``None`` if ``history`` is too short to tell.

    The last whole weeks of the history, up to a year, are repeated: schedules have days of the week. If twice as much
    time has passed as ever between two backups, no more will come. A backup will be as large as the newest one of its
    level is now. Rules never take back what they let go, so one plan at the end gives what many in between would have
    left. Raises ``ChainBroken`` if a base is missing already.
    """
    times = sorted(one.made for one in history)
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    if not gaps:
        return None
    # Half a night after the newest one: what was made some minutes early or late falls into the week that it is of.
    end = min(now, times[-1] + gaps[len(gaps) // 2] / 2)
    weeks = min(MOST_WEEKS, (end - times[0]) // _WEEK)
    if not weeks:
        return None
    repeated = [one for one in history if end - weeks * _WEEK < one.made <= end and now - times[-1] <= 2 * gaps[-1]]
    to_come = _to_come(backups, repeated, weeks * _WEEK, now, at)
    plan = plan_series(series, [*backups, *to_come], policies, now=at, prices=prices)
    return sum_up(one for one in plan.backups if one.fate != "remove")


def _to_come(
    backups: Sequence[StoredBackup], repeated: Sequence[MadeBackup], period: timedelta, now: datetime, at: datetime
) -> Iterator[StoredBackup]:
    parts = {one.manifest.backup_id: one.parts for one in backups}
    samples: dict[int, BackupSummary] = {}
    line: list[BackupSummary] = []
    for manifest in oldest_first([one.manifest for one in backups]):
        samples[manifest.level] = manifest
        _append(line, manifest)
    moments = sorted(
        (moment, one.level)
        for one in repeated
        if one.level in samples
        for moment in (one.made + turn * period for turn in range(1, (at - one.made) // period + 1))
        if moment > now
    )
    number = max((one.manifest.seq for one in backups), default=0)
    txg = max((one.manifest.snapshot.createtxg for one in backups), default=0)
    for moment, level in moments:
        number, txg = number + 1, txg + 1
        manifest = _next(samples[level], [one for one in line if one.level < level], number, txg, moment)
        _append(line, manifest)
        stored = parts[samples[level].backup_id]
        yield StoredBackup(manifest, tuple(replace(one, written=moment) for one in stored))


def _append(line: list[BackupSummary], manifest: BackupSummary) -> None:
    """Make ``manifest`` the last of the chain that the next backup continues."""
    line[:] = [one for one in line if one.level < manifest.level]
    line.append(manifest)


def _next(
    sample: BackupSummary, bases: Sequence[BackupSummary], number: int, txg: int, moment: datetime
) -> BackupSummary:
    """A backup like ``sample``, on the last of ``bases``."""
    level = bases[-1].level + 1 if bases else 0
    backup_id = new_backup_id(now=moment, level=level, token=f"{number:08x}")
    kin = bases[-1] if bases else sample
    return replace(
        sample,
        backup_id=backup_id,
        created=moment,
        seq=number,
        level=level,
        chain=kin.chain if bases else backup_id,
        base=Base(kin.backup_id, kin.snapshot.name, kin.snapshot.guid) if bases else None,
        dataset=kin.dataset,
        send=kin.send,
        snapshot=replace(sample.snapshot, guid=str(number), createtxg=txg, creation=moment),
    )
