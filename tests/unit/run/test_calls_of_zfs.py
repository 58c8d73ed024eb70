# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often ZFS is asked: once about all datasets together, and for each only what cannot be asked together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.run.backup import back_up

from tests.fakes.fleet import DATASET, Fleet


class CountingZfs:
    """Counts the methods that are called on another ZFS. Each is one command, but for ``capabilities`` (one, once),
    ``pool`` (of ``zpool``) and ``changed_bytes``."""

    def __init__(self, zfs: Any) -> None:
        self._zfs = zfs
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._zfs, name)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def calls(fleet: Fleet, level: int) -> dict[str, int]:
    """How often a run calls what, without what was asked already."""
    zfs = CountingZfs(fleet.zfs)
    assert back_up(fleet.context(zfs=zfs), task=fleet.task, level=level).exit_code == 0
    return {**zfs.calls, "capabilities": 1}


SHARED = {"capabilities": 1, "pool": 1, "inventory": 1, "take_snapshots": 1, "described": 1, "hold_all": 1}


def test_an_increment_of_one_dataset_takes_eight_calls(fleet: Fleet) -> None:
    """And one of ``zpool``: what ZFS can do, what there is, snapshot, what it is, hold, send, bookmark, release."""
    fleet.back_up(0)
    fleet.back_up(1)
    fleet.write(1)
    assert calls(fleet, 1) == {**SHARED, "send": 1, "bookmark": 1, "release": 1}


def test_many_datasets_share_all_that_they_can(fleet: Fleet) -> None:
    names = [f"{DATASET}/{number:02}" for number in range(20)]
    for name in names:
        fleet.zfs.add_dataset(name, content=b"some")
    fleet.task = replace(fleet.task, recursive=True)
    fleet.run(0)
    fleet.run(1)
    each = len(names) + 1
    assert calls(fleet, 1) == {
        **SHARED, "dataset": 1, "descendants": 1, "send": each, "bookmark": each, "release": each
    }  # fmt: skip


def test_more_than_a_little_is_estimated_by_zfs_itself(fleet: Fleet) -> None:
    fleet.back_up(0)
    fleet.zfs.written_bytes = 1 << 30
    assert calls(fleet, 1)["estimate_bytes"] == 1
    fleet.zfs.written_bytes = None
    assert calls(fleet, 1)["estimate_bytes"] == 1
