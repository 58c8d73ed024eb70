# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb cost``: what it adds up, against the listing of the store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from zrb.errors import UsageError
from zrb.plan.price_list import AWS
from zrb.run.cleanup import clean_up
from zrb.run.cost import CostReport, cost_of_repository
from zrb.values.config import S3Settings
from zrb.values.manifest import Manifest
from zrb.values.retention import Retention

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import MemoryRemover

PRICES = AWS["us-east-1"]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.change_config(tasks=(fleet.task,), retention=Retention(keep_last=3))
    return fleet


def back_up(fleet: Fleet, level: int) -> Manifest:
    """One more backup, and a day passes."""
    fleet.write(len(fleet.store.keys))
    manifest = fleet.back_up(level).manifest
    fleet.now += timedelta(days=1)
    return manifest


def archive(fleet: Fleet, manifest: Manifest, storage_class: str = "DEEP_ARCHIVE") -> int:
    """Move the parts of a backup into another class. How many these are."""
    parts = fleet.parts(manifest)
    for part in parts:
        fleet.store.write_at(part.key, fleet.now, storage_class=storage_class)
    return len(parts)


def report(fleet: Fleet, host: str | None = None, most: float | None = None) -> CostReport:
    before = fleet.store.keys
    found = cost_of_repository(fleet.context(), host=host, most=most)
    assert fleet.store.keys == before
    return found


def listed(fleet: Fleet) -> list[tuple[str, int, str]]:
    """Key, bytes and class of everything but the identity."""
    return [(one.key, one.bytes, one.storage_class) for one in fleet.store.list("") if "/" in one.key]


def test_every_object_is_counted_once_in_each_table(fleet: Fleet) -> None:
    full = back_up(fleet, 0)
    back_up(fleet, 1)
    archive(fleet, full)
    fleet.store.put(f"data/nas1/{DATASET}/level0/20200101T000000Z-L0-00000000/snapshot.part-000000.age", b"left over")
    found = report(fleet)
    objects = listed(fleet)
    price = 0.0
    for _key, size, storage_class in objects:
        archived = storage_class == "DEEP_ARCHIVE"
        gb_month = PRICES.classes[storage_class].gb_month
        assert gb_month is not None
        price += (size + 32768 * archived) / 2**30 * gb_month + 8192 * archived / 2**30 * 0.023
    assert found.total.objects == len(objects)
    assert found.total.bytes == sum(size for _key, size, _class in objects)
    assert found.total.month_price == pytest.approx(price)
    for costs in found.parts.values():
        assert sum(one.objects for one in costs.values()) == len(objects)
        assert sum(one.bytes for one in costs.values()) == found.total.bytes
        assert sum(one.month_price or 0 for one in costs.values()) == pytest.approx(price)
    assert {kind: [*costs] for kind, costs in found.parts.items()} == {
        "storage_class": ["DEEP_ARCHIVE", "STANDARD"],
        "level": ["0", "1"],
        "dataset": [f"nas1:{DATASET}"],
        "host": ["nas1"],
    }
    assert (found.other.objects, found.other.bytes) == (1, len(b"left over"))
    assert found.exit_code == 0


def test_what_early_deletion_would_cost_shrinks_from_day_to_day(fleet: Fleet) -> None:
    full = back_up(fleet, 0)
    assert report(fleet).early_fee == 0
    archive(fleet, full)
    month = sum((part.bytes + 32768) / 2**30 * 0.00099 + 8192 / 2**30 * 0.023 for part in fleet.parts(full))
    fleet.now += timedelta(days=60)
    assert report(fleet).early_fee == pytest.approx(month * 4, rel=1e-3)
    fleet.now += timedelta(days=120)
    assert report(fleet).early_fee == 0


def test_an_unknown_price_is_not_guessed(fleet: Fleet) -> None:
    full = back_up(fleet, 0)
    back_up(fleet, 0)
    archive(fleet, full, "OF_ANOTHER_SERVICE")
    found = report(fleet)
    assert found.unpriced == ("OF_ANOTHER_SERVICE",)
    assert found.total.month_price is None
    assert found.parts["storage_class"]["STANDARD"].month_price is not None
    fleet.change_config(s3=S3Settings(bucket="fake", endpoint="https://s3.example.net"))
    assert report(fleet).unpriced == ("OF_ANOTHER_SERVICE", "STANDARD")
    fleet.change_config(prices={"OF_ANOTHER_SERVICE": 1.0, "STANDARD": 1.0})
    assert report(fleet).total.month_price == pytest.approx(sum(size for _key, size, _class in listed(fleet)) / 1e9)


def test_a_host_alone(fleet: Fleet) -> None:
    back_up(fleet, 0)
    assert report(fleet, "nas1").total == report(fleet).total
    assert report(fleet, "nas2").total.objects == 0


def test_what_will_be_there_is_what_is_there_then(fleet: Fleet) -> None:
    """The same backups every day for a month more, and a cleanup at the end."""
    for day in range(9):
        back_up(fleet, min(day % 3, 1))
    (month, year), missed = report(fleet).outlooks, report(fleet).not_foreseen
    assert missed == ()
    # The newest three backups, and what they build upon.
    assert 3 <= month.backups <= 5
    assert 3 <= year.backups <= 5
    assert month.month_price is not None
    assert month.month_price < (report(fleet).total.month_price or 0)
    fleet.change_config(retention=Retention())
    grown = report(fleet).outlooks
    assert [one.backups for one in grown] == [9 + 30, 9 + 365]


def test_a_young_series_is_not_foreseen(fleet: Fleet) -> None:
    back_up(fleet, 0)
    found = report(fleet)
    assert [one.dataset for one in found.not_foreseen] == [DATASET]
    assert [one.backups for one in found.outlooks] == [0, 0]


def test_a_broken_chain_is_not_foreseen(fleet: Fleet) -> None:
    full = back_up(fleet, 0)
    for _day in range(8):
        back_up(fleet, 1)
    fleet.store.remove(full.series.manifest_key(full.backup_id))
    assert [one.dataset for one in report(fleet).not_foreseen] == [DATASET]


def test_what_was_removed_still_shows_how_often_backups_are_made(fleet: Fleet) -> None:
    for _day in range(9):
        back_up(fleet, 0)
    clean_up(fleet.context(), max_removals=99, open_remover=lambda _config: MemoryRemover(fleet.store))
    assert len(fleet.manifests()) == 3
    fleet.change_config(retention=Retention())
    assert [one.backups for one in report(fleet).outlooks] == [3 + 30, 3 + 365]


def test_who_pays_more_than_he_wants_is_told_when(fleet: Fleet) -> None:
    fleet.change_config(prices={"STANDARD": 1e6}, retention=Retention())
    for _day in range(9):
        back_up(fleet, 0)
    found = report(fleet)
    now, month, year = found.total.month_price, *(one.month_price for one in found.outlooks)
    assert now is not None
    assert month is not None
    assert year is not None
    assert now < month < year
    told = {most: report(fleet, most=most) for most in (0.0, now - 1, now, month - 1, month, year - 1, year, 1e12)}
    words = ["now", "now", "in 30 days", "in 30 days", "in 365 days", "in 365 days", None, None]
    for (most, warned), word in zip(told.items(), words, strict=True):
        assert warned.exit_code == (4 if word else 0)
        assert [f" {word} " in text for text in warned.warnings] == ([True] if word else []), most


def test_who_cannot_know_what_he_pays_is_told(fleet: Fleet) -> None:
    archive(fleet, back_up(fleet, 0), "OF_ANOTHER_SERVICE")
    assert report(fleet).warnings == ()
    found = report(fleet, most=1e12)
    assert found.exit_code == 4
    assert "OF_ANOTHER_SERVICE" in found.warnings[0]


def test_a_problem_counts_more_than_a_warning(fleet: Fleet) -> None:
    full = back_up(fleet, 0)
    fleet.store.replace(full.series.manifest_key(full.backup_id), b"{}")
    assert report(fleet, most=0).exit_code == report(fleet).exit_code > 4


@pytest.mark.parametrize("most", [float("nan"), float("inf"), -1.0])
def test_what_is_no_price_is_refused(fleet: Fleet, most: float) -> None:
    with pytest.raises(UsageError, match="no price"):
        report(fleet, most=most)
