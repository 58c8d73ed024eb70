# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which datasets count as backed up recently: over all histories of a dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.module_utils._ansible.freshness import newest_usable, stale_datasets
from plugins.module_utils._engine.run.list import ListedBackup
from plugins.module_utils._engine.values.manifest import Base
from plugins.module_utils._engine.values.repository_names import BackupId

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def backup(
    age: timedelta, level: int = 0, *, base: str | None = None, name: str = "", dataset: str = "tank/home", **facts: Any
) -> ListedBackup:
    """A backup whose snapshot is ``age`` old; it was committed just now, which must not matter."""
    identity = BackupId(name or f"{age}-L{level}-{dataset}")
    return ListedBackup(
        **{
            "backup_id": identity,
            "host": "nas1",
            "dataset": dataset,
            "level": level,
            "level_requested": level,
            "base": Base(BackupId(base), "s", "1") if base else None,
            "chain": identity,
            "seq": 1,
            "created": NOW,
            "snapshot": f"{dataset}@s",
            "snapshot_guid": "1",
            "snapshot_creation": NOW - age,
            "stream_bytes": 1,
            "stored_bytes": 1,
            "parts": 1,
            "missing_parts": 0,
            "storage_class": "STANDARD",
            "complete": not facts.get("missing_parts"),
            "readable": True,
            "signer": None,
            **facts,
        }
    )


def stale(*entries: ListedBackup, expected: tuple[str, ...] = (), **limits: Any) -> list[tuple[str, str | None]]:
    places = [("nas1", dataset) for dataset in expected]
    found = stale_datasets(entries, expected=places, now=NOW, **({"max_age": 2 * DAY} | limits))
    return [(one["dataset"], one["backup_id"]) for one in found]


FULL = backup(5 * DAY, name="full")


@pytest.mark.parametrize(
    ("entries", "newest"),
    [
        ((FULL, backup(DAY, 1, base="full", name="ok")), "ok"),
        ((FULL, backup(DAY, 1, base="full", missing_parts=1)), "full"),
        ((FULL, backup(DAY, 1, base="gone", complete=False)), "full"),
        ((backup(5 * DAY, name="full", missing_parts=1), backup(DAY, 1, base="full", complete=False)), None),
        ((FULL, backup(-DAY, name="future")), "full"),
        ((FULL, backup(DAY, 2, base="full", name="two")), "two"),
        ((), None),
    ],
)
def test_what_counts_as_the_newest_backup(entries: tuple[ListedBackup, ...], newest: str | None) -> None:
    found = newest_usable(entries, now=NOW).get(("nas1", "tank/home"))
    assert (found.backup_id if found else None) == newest


def test_a_backup_of_a_lower_level_is_enough_and_of_a_higher_is_not() -> None:
    entries = (FULL, backup(DAY, 1, base="full", name="one"))
    assert stale(*entries) == []
    assert stale(*entries, max_level=1) == []
    assert stale(*entries, max_level=0) == [("tank/home", "full")]


def test_one_stale_dataset_of_many_is_told() -> None:
    others = [backup(timedelta(hours=hours), dataset=f"tank/{hours}") for hours in range(40)]
    assert stale(*others, FULL) == [("tank/home", "full")]


def test_what_is_expected_and_has_no_backup_is_stale() -> None:
    assert stale(expected=("tank/new",)) == [("tank/new", None)]
    assert stale(backup(DAY), expected=("tank/new", "tank/home")) == [("tank/new", None)]


@given(st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 2)), max_size=12), st.integers(1, 100))
def test_a_dataset_is_stale_or_fresh_by_its_youngest_snapshot(history: list[tuple[int, int]], limit: int) -> None:
    entries = [backup(timedelta(hours=hours), missing_parts=missing) for hours, missing in history]
    ages = [hours for hours, missing in history if hours >= 0 and not missing]
    fresh = bool(ages) and min(ages) <= limit
    assert bool(stale(*entries, expected=("tank/home",), max_age=timedelta(hours=limit))) is not fresh
