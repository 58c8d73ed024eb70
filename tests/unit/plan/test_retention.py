# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What stays of a series, what goes, and what goes later: for any history, policy, lock and clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from zrb.errors import ChainBroken
from zrb.plan.chain import select_backup, walk_chain
from zrb.plan.retention import PlannedBackup, SeriesPlan, StoredBackup, StoredParts, plan_series, sum_up
from zrb.values.manifest import BackupSummary, Manifest
from zrb.values.retention import RULES, Retention
from zrb.values.storage_classes import ARCHIVE_CLASSES, READABLE_CLASSES

from tests.fixtures.sample_manifests import history

BEGINNING = datetime(2026, 3, 20, tzinfo=UTC)
NOW = BEGINNING + timedelta(days=2000)
CLASSES = (*READABLE_CLASSES, *ARCHIVE_CLASSES)
HOURS = st.integers(0, 24 * 800)


def stored(manifest: Manifest, storage_class: str = "STANDARD", **facts: Any) -> StoredBackup:
    """``manifest`` with all its parts in one class, written when its snapshot was taken."""
    parts = StoredParts(storage_class, manifest.parts.stored_bytes, manifest.snapshot.creation)
    return StoredBackup(manifest.summary, (parts,), **facts)


def at(manifests: Sequence[Manifest], hours: Sequence[float]) -> list[Manifest]:
    """The backups, of snapshots so many hours after the beginning."""
    return [
        replace(one, snapshot=replace(one.snapshot, creation=BEGINNING + timedelta(hours=hour)))
        for one, hour in zip(manifests, hours, strict=True)
    ]


def plan(backups: Sequence[StoredBackup], *policies: Retention, now: datetime = NOW, **how: Any) -> SeriesPlan:
    return plan_series(backups[0].manifest.series, backups, policies, now=now, **how)


def ids(backups: Sequence[PlannedBackup]) -> list[str]:
    return [one.manifest.backup_id for one in backups]


@st.composite
def histories(draw: st.DrawFn) -> list[StoredBackup]:
    """A series: clocks jump, interrupted backups are committed late, two datasets take turns under one name, objects
    are locked and lie in any class."""
    made = history(draw(st.lists(st.sampled_from((0, 0, 1, 1, 2, 3)), min_size=1, max_size=14)))
    hours = draw(st.lists(HOURS, min_size=len(made), max_size=len(made)))
    made = at(made, hours if draw(st.booleans()) else sorted(hours))
    for full in [one for one in made if one.level == 0]:
        guid, later = draw(st.sampled_from(["77", full.dataset.guid])), draw(st.sampled_from([0, 0, 500]))
        for number, one in enumerate(made):
            if one.chain == full.chain:
                snapshot = replace(one.snapshot, createtxg=one.snapshot.createtxg + later)
                made[number] = replace(one, dataset=replace(one.dataset, guid=guid), snapshot=snapshot)
    moments = st.none() | HOURS.map(lambda hour: NOW + timedelta(hours=hour - 24 * 400))
    return [
        stored(
            one,
            draw(st.sampled_from(CLASSES)),
            locked_until=draw(moments),
            legal_hold=draw(st.sampled_from([False, False, False, True])),
        )
        for one in made
    ]


POLICIES = st.builds(
    Retention,
    keep_last=st.sampled_from([0, 1, 3]),
    keep_within_s=st.sampled_from([0, 0, 0, 3600, 86_400 * 40]),
    **{name: st.sampled_from([0, 0, 0, 1, 3]) for name in RULES[2:]},
    time_zone=st.sampled_from(["UTC", "Europe/Vienna", "Pacific/Apia", "Australia/Lord_Howe"]),
)
NOWS = st.integers(-800, 900).map(lambda days: NOW + timedelta(days=days))


LABELS = {
    "keep_hourly": "%Y-%m-%d %H %z",
    "keep_daily": "%Y-%m-%d",
    "keep_weekly": "%G-%V",
    "keep_monthly": "%Y-%m",
    "keep_yearly": "%Y",
}


def naively_kept(manifests: Sequence[BackupSummary], policy: Retention) -> dict[str, set[str]]:
    """By rule, written down a second time."""
    newest_first = sorted(
        manifests, key=lambda one: (one.snapshot.creation, one.snapshot.createtxg, one.seq), reverse=True
    )
    newest = newest_first[0].snapshot.creation
    kept = {
        "keep_last": [one for number, one in enumerate(newest_first) if number < policy.keep_last],
        "keep_within": [
            one
            for one in manifests
            if policy.keep_within_s and (newest - one.snapshot.creation).total_seconds() <= policy.keep_within_s
        ],
    }
    for rule, form in LABELS.items():
        periods: dict[str, BackupSummary] = {}
        for one in newest_first:
            periods.setdefault(one.snapshot.creation.astimezone(ZoneInfo(policy.time_zone)).strftime(form), one)
        kept[rule] = list(periods.values())[: getattr(policy, rule)]
    return {rule: {one.backup_id for one in found} for rule, found in kept.items()}


@given(histories(), POLICIES)
def test_each_rule_keeps_what_it_says(backups: list[StoredBackup], policy: Retention) -> None:
    assume(not policy.keeps_all)
    planned = plan(backups, policy).backups
    naive = naively_kept([one.manifest for one in backups], policy)
    assert {rule: {one.manifest.backup_id for one in planned if rule in one.rules} for rule in naive} == naive


@given(histories(), st.lists(POLICIES, max_size=2), NOWS, st.booleans())
def test_nothing_that_stays_loses_its_chain(
    backups: list[StoredBackup], policies: list[Retention], now: datetime, pay: bool
) -> None:
    before = [one.manifest for one in backups]
    planned = plan(backups, *policies, now=now, pay_early_deletion=pay).backups
    left = {one.manifest.backup_id: one for one in planned if one.fate != "remove"}
    manifests = {backup_id: one.manifest for backup_id, one in left.items()}
    for one in left.values():
        walk_chain(one.manifest, manifests)
        base = left[one.manifest.base.backup_id] if one.manifest.base else None
        if base is not None and one.fate == "keep":
            assert base.fate == "keep"
        if base is not None and one.fate == "later" and base.fate == "later":
            assert base.until
            assert one.until
            assert base.until >= one.until
    assert select_backup(list(manifests.values())) == select_backup(before), "a restore takes the same one"


@given(histories(), st.lists(POLICIES, min_size=1, max_size=2), NOWS, st.booleans())
def test_a_second_plan_removes_nothing(
    backups: list[StoredBackup], policies: list[Retention], now: datetime, pay: bool
) -> None:
    first = plan(backups, *policies, now=now, pay_early_deletion=pay)
    left = [one for one in backups if one.manifest.backup_id not in ids(first.removals)]
    second = plan(left, *policies, now=now, pay_early_deletion=pay)
    assert second.removals == ()
    assert [one for one in first.backups if one.fate != "remove"] == list(second.backups)


@given(histories(), POLICIES, st.sampled_from(RULES), st.integers(1, 3), NOWS)
def test_more_policy_never_keeps_less(
    backups: list[StoredBackup], policy: Retention, rule: str, more: int, now: datetime
) -> None:
    assume(not policy.keeps_all)
    fewer = plan(backups, policy, now=now)
    other = replace(policy, **{rule: getattr(policy, rule) + more})
    for larger in (plan(backups, other, now=now), plan(backups, policy, other, now=now)):
        assert set(ids(larger.removals)) <= set(ids(fewer.removals))


@given(histories(), POLICIES, NOWS)
def test_what_goes_later_goes_then_and_not_before(
    backups: list[StoredBackup], policy: Retention, now: datetime
) -> None:
    first = plan(backups, policy, now=now)
    for one in first.backups:
        if one.fate == "later":
            assert one.until
            assert one.until > now
            own_id = one.manifest.backup_id
            for moment, gone in ((one.until - timedelta(seconds=1), False), (one.until, True)):
                assert (own_id in ids(plan(backups, policy, now=moment).removals)) is gone
            assert bool(one.obstacle) != bool(one.needed_by)
            others = {backup.manifest.backup_id: backup for backup in first.backups}
            assert one.needed_by is None or others[one.needed_by].until == one.until


@given(histories(), st.lists(POLICIES, max_size=2), NOWS)
def test_every_backup_has_a_reason(backups: list[StoredBackup], policies: list[Retention], now: datetime) -> None:
    planned = plan(backups, *policies, now=now).backups
    assert sorted(ids(planned)) == sorted(one.manifest.backup_id for one in backups)
    for one in planned:
        assert (one.fate == "keep") == bool(one.rules or (one.needed_by and one.until is None))
        assert (one.fate == "later") == (one.until is not None)


@given(histories())
def test_nothing_goes_that_nobody_decided_on(backups: list[StoredBackup]) -> None:
    assert {one.rules for one in plan(backups, pay_early_deletion=True).backups} == {("no_policy",)}
    for policies in ([Retention()], [Retention(keep_last=1), Retention()]):
        assert plan(backups, *policies, pay_early_deletion=True).removals == ()


def nightly(levels: Sequence[int], storage_class: str = "STANDARD") -> list[StoredBackup]:
    made = history(levels)
    return [stored(one, storage_class) for one in at(made, [24.0 * number for number in range(len(made))])]


def test_a_base_stays_for_the_youngest_that_needs_it() -> None:
    planned = plan(nightly([0, 1, 2, 1, 2, 2]), Retention(keep_last=1)).backups
    assert [one.fate for one in planned] == ["keep", "remove", "remove", "keep", "remove", "keep"]
    assert [one.needed_by for one in planned] == [ids(planned)[3], None, None, ids(planned)[5], None, None]


def test_a_base_goes_after_the_last_that_needs_it() -> None:
    backups = nightly([0, 1, 1, 0])
    for number, days in ((1, 30), (2, 10)):
        backups[number] = replace(backups[number], locked_until=NOW + timedelta(days=days))
    full, first, second, _newest = plan(backups, Retention(keep_last=1)).backups
    assert (full.fate, full.until, full.needed_by) == ("later", first.until, first.manifest.backup_id)
    assert second.until == NOW + timedelta(days=10)


def test_the_last_one_stays_since_it_says_which_dataset_the_series_is_of() -> None:
    """Two datasets take turns under one name, and an interrupted backup of the older snapshot is committed last."""
    made = at(history([0, 0, 0]), [50, 100, 10])
    made[1] = replace(made[1], dataset=replace(made[1].dataset, guid="77"))
    made[2] = replace(made[2], snapshot=replace(made[2].snapshot, createtxg=1))
    planned = plan([stored(one) for one in made], Retention(keep_last=1)).backups
    assert {one.manifest.seq: one.rules for one in planned} == {1: ("newest",), 2: ("keep_last",), 3: ("newest",)}
    assert select_backup(made).seq == 1
    assert select_backup(made[:2]).seq == 2, "without the last one, a restore would take another dataset"


def test_an_hour_that_the_clock_repeats_is_two_hours() -> None:
    made = at(
        history([0, 0]),
        [(datetime(2026, 10, 25, hour, 30, tzinfo=UTC) - BEGINNING).total_seconds() / 3600 for hour in (0, 1)],
    )
    policy = Retention(keep_hourly=2, time_zone="Europe/Vienna")
    assert [one.rules for one in plan([stored(one) for one in made], policy).backups] == [("keep_hourly",)] * 2


@pytest.mark.parametrize(("zone", "fates"), [("UTC", ["remove", "keep"]), ("Europe/Vienna", ["keep", "keep"])])
def test_days_begin_where_the_owner_lives(zone: str, fates: list[str]) -> None:
    made = at(history([0, 0]), [21, 23.5])  # both on the same day, and in Vienna before and after midnight
    planned = plan([stored(one) for one in made], Retention(keep_daily=2, time_zone=zone)).backups
    assert [one.fate for one in planned] == fates


def test_what_is_in_an_archive_class_is_charged_for_its_shortest_time() -> None:
    backups = nightly([0, 0], "DEEP_ARCHIVE")
    now = BEGINNING + timedelta(days=60)
    prices = {"DEEP_ARCHIVE": 0.001}
    gb = 10**9
    large = [
        replace(one, parts=(StoredParts("DEEP_ARCHIVE", 3000 * gb, one.manifest.snapshot.creation),)) for one in backups
    ]
    first, _second = plan(large, Retention(keep_last=1), now=now, prices=prices).backups
    assert (first.fate, first.obstacle, first.until) == (
        "later",
        "minimum_duration",
        BEGINNING + timedelta(days=180),
    )
    assert first.month_price == pytest.approx(3.0)
    assert first.early_fee == pytest.approx(12.0), "120 days are four months"
    paid = plan(large, Retention(keep_last=1), now=now, prices=prices, pay_early_deletion=True)
    assert sum_up(paid.removals).as_json() == {
        "backups": 1,
        "bytes": first.bytes,
        "month_price": 3.0,
        "early_fee": 12.0,
    }
    unknown = plan(large, Retention(keep_last=1), now=now, prices={"STANDARD": 1.0}).backups[0]
    assert (unknown.month_price, unknown.early_fee) == (None, None)


def test_standard_is_charged_by_the_hour() -> None:
    first, _second = plan(nightly([0, 0]), Retention(keep_last=1), now=BEGINNING + timedelta(days=2)).backups
    assert (first.fate, first.early_fee) == ("remove", 0.0)


def test_a_base_that_is_missing_stops_everything() -> None:
    backups = nightly([0, 1, 2])
    with pytest.raises(ChainBroken, match=backups[1].manifest.backup_id):
        plan([backups[0], backups[2]], Retention(keep_last=1))
