# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The snapshot that a later backup sends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.errors import UsageError, ZfsDenied, ZfsError
from zrb.run.context import Context
from zrb.run.snapshot.snapshot import plan_snapshot, snapshot_name, take_snapshot
from zrb.values.config import Config, LocalSettings, Task

from tests.fakes.zfs import FakeZfs

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
TASK = Task(name="nightly", pool="tank", dataset="data", recursive=True)


@pytest.fixture
def zfs() -> FakeZfs:
    fake = FakeZfs()
    fake.add_dataset("tank/data/a")
    fake.now = NOW
    return fake


def context(zfs: FakeZfs) -> Context:
    def no_store() -> Any:
        raise AssertionError("a snapshot needs no repository")

    path = PurePosixPath("/nonexistent")
    config = Config(path, path, "nas1", ("age1x",), None, local=LocalSettings(path))
    return Context(config=config, zfs=zfs, open_store=no_store, clock=lambda: NOW)


def test_the_name_says_prefix_level_and_utc_time() -> None:
    assert snapshot_name(TASK, 1, NOW) == "zrb_level1_20260131T020000Z"
    with pytest.raises(UsageError, match="Level 5"):
        snapshot_name(TASK, 5, NOW)


def test_all_datasets_are_taken_at_one_instant_and_held(zfs: FakeZfs) -> None:
    taken = take_snapshot(context(zfs), task=TASK, level=1)
    assert taken.name == "tank/data@zrb_level1_20260131T020000Z"
    assert [below.name for below in taken.descendants] == ["tank/data/a@zrb_level1_20260131T020000Z"]
    assert taken.createtxg == taken.descendants[0].createtxg
    for one in (taken, *taken.descendants):
        assert zfs.tags(one.name) == {"zrb:nightly"}
    document = taken.as_json()
    assert document.pop("descendants")[0]["hold_tag"] == "zrb:nightly"
    assert document == {
        "name": taken.name,
        "guid": taken.guid,
        "createtxg": taken.createtxg,
        "creation": "2026-01-31T02:00:00Z",
        "hold_tag": "zrb:nightly",
    }


def test_planning_takes_nothing(zfs: FakeZfs) -> None:
    names = plan_snapshot(context(zfs), task=TASK, level=0)
    assert names == ["tank/data@zrb_level0_20260131T020000Z", "tank/data/a@zrb_level0_20260131T020000Z"]
    assert zfs.snapshots("tank/data") == []


def test_a_second_one_in_the_same_second_fails_and_leaves_the_first(zfs: FakeZfs) -> None:
    first = take_snapshot(context(zfs), task=TASK, level=0)
    with pytest.raises(ZfsError):
        take_snapshot(context(zfs), task=TASK, level=0)
    assert zfs.tags(first.name) == {"zrb:nightly"}


def test_what_zfs_denies_is_raised(zfs: FakeZfs, tmp_path: Path) -> None:
    zfs.fail("create_snapshots", ZfsDenied("no", next_step="zfs allow"))
    with pytest.raises(ZfsDenied):
        take_snapshot(context(zfs), task=TASK, level=0)
    assert zfs.snapshots("tank/data") == []
