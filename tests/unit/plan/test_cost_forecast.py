# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.cost_forecast import MadeBackup, foresee
from zrb.plan.price_list import AWS
from zrb.plan.retention import StoredBackup, StoredParts, Sums
from zrb.values.retention import Retention

from tests.fixtures.sample_manifests import history

BEGINNING = datetime(2026, 1, 1, 2, tzinfo=UTC)
PRICES = AWS["us-east-1"]
GIB = 2**30


def nightly(levels: Sequence[int], storage_class: str = "STANDARD") -> list[StoredBackup]:
    """A backup of 1 GiB a night."""
    made = []
    for night, manifest in enumerate(history(levels)):
        moment = BEGINNING + timedelta(days=night)
        one = replace(manifest, created=moment, snapshot=replace(manifest.snapshot, creation=moment)).summary
        made.append(StoredBackup(one, (StoredParts(storage_class, 1, GIB, moment),)))
    return made


def ahead(
    backups: Sequence[StoredBackup], policy: Retention, days: int, made: Sequence[MadeBackup] | None = None
) -> Sums | None:
    """What :func:`foresee` says, at noon after the last night of ``backups``."""
    if made is None:
        made = [MadeBackup(one.manifest.level, one.manifest.created) for one in backups]
    now = max(one.made for one in made) + timedelta(hours=10)
    series = backups[0].manifest.series
    return foresee(series, backups, made, [policy], now=now, at=now + timedelta(days=days), prices=PRICES)


@given(nights=st.integers(8, 40), last=st.integers(1, 50), days=st.integers(1, 400))
def test_nightly_backups_come_every_night(nights: int, last: int, days: int) -> None:
    found = ahead(nightly([0] * nights), Retention(keep_last=last), days)
    assert found is not None
    assert found.backups == min(last, nights + days)
    assert found.month_price == pytest.approx(found.backups * 0.023)


@given(weeks=st.integers(2, 5), last=st.integers(1, 30), days=st.sampled_from([7, 28, 70]))
def test_what_a_kept_backup_builds_upon_counts_too(weeks: int, last: int, days: int) -> None:
    """A full one a week, and six that build upon it; after whole weeks the next one is due."""
    found = ahead(nightly([0, 1, 1, 1, 1, 1, 1] * weeks), Retention(keep_last=last), days)
    assert found is not None
    nights = 7 * weeks + days
    kept = {night for night in range(nights) if night >= nights - last}
    assert found.backups == len(kept | {night - night % 7 for night in kept})


def test_what_is_charged_for_its_shortest_time_is_still_there() -> None:
    found = ahead(nightly([0] * 10, "DEEP_ARCHIVE"), Retention(keep_last=1), 365)
    assert found is not None
    assert found.backups == 180


def test_removed_backups_show_how_often_backups_are_made() -> None:
    """What a cleanup has thinned out is foreseen as if all were still there."""
    backups = nightly([0] * 30)
    made = [MadeBackup(0, one.manifest.created) for one in backups]
    policy = Retention(keep_last=5)
    assert ahead(backups[-3:], policy, 30, made) == ahead(backups, policy, 30)
    few = ahead(backups[-3:], Retention(), 30, made)
    assert few is not None
    assert few.backups == 3 + 30


@pytest.mark.parametrize(("nights", "foreseen"), [(1, False), (7, False), (8, True)])
def test_a_week_is_needed(nights: int, foreseen: bool) -> None:
    assert (ahead(nightly([0] * nights), Retention(), 30) is not None) is foreseen


def test_a_series_that_has_ended_does_not_go_on() -> None:
    backups = nightly([0] * 20)
    made = [MadeBackup(0, one.manifest.created) for one in backups]
    for idle, come in ((1, 29), (3, 0)):
        now = made[-1].made + timedelta(days=idle)
        at = now + timedelta(days=29)
        found = foresee(backups[0].manifest.series, backups, made, [Retention()], now=now, at=at, prices=PRICES)
        assert found is not None
        assert found.backups == 20 + come


@given(minutes=st.lists(st.integers(-60, 60), min_size=30, max_size=30))
def test_some_minutes_early_or_late_change_nothing(minutes: list[int]) -> None:
    made = [MadeBackup(0, BEGINNING + timedelta(days=day, minutes=late)) for day, late in enumerate(minutes)]
    found = ahead(nightly([0] * 30), Retention(), 28, made)
    assert found is not None
    assert found.backups == 30 + 28
