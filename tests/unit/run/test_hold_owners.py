# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No hold outlives its purpose, wherever a run was killed, and whichever task runs next on that dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import Interrupted
from zrb.run.snapshot import take_snapshot

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import MemoryStore

CHECKPOINTS = (
    "snapshot-taken",
    "snapshot-held",
    "journal-created",
    "stream-stored",
    "parts-listed",
    "manifest-signed",
    "manifest-stored",
    "bookmarked",
    "holds-released",
    "seq-remembered",
    "journal-removed",
)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def kill_at(fleet: Fleet, checkpoint: str, level: int) -> None:
    def stop(name: str) -> None:
        if name == checkpoint:
            raise Interrupted(15, next_step="Run again")

    with pytest.raises(Interrupted):
        fleet.run(level, checkpoint=stop)


def test_these_are_all_checkpoints(fleet: Fleet) -> None:
    seen: list[str] = []
    fleet.run(0, checkpoint=seen.append)
    assert set(seen) == set(CHECKPOINTS)


@pytest.mark.parametrize("waiting", [False, True], ids=["snapshot taken by the run", "snapshot taken before"])
@pytest.mark.parametrize("next_task", ["the same", "another"])
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_killed_run_leaves_no_hold_to_another_task(
    fleet: Fleet, checkpoint: str, next_task: str, waiting: bool
) -> None:
    fleet.back_up(0)
    if waiting:
        fleet.task = replace(fleet.task, take_snapshot=False)
        take_snapshot(fleet.context(), task=fleet.task, level=1)
    fleet.write(2)
    kill_at(fleet, checkpoint, 1)
    if next_task != "the same":
        fleet.task = replace(fleet.task, name="weekly")
    fleet.task = replace(fleet.task, take_snapshot=True)
    # What `zrb snapshot` holds waits for its task: zrb:nightly is not the tag of a run.
    for _twice in range(2):
        full, first = fleet.back_up(0).manifest, fleet.back_up(1).manifest
    assert {name for name in fleet.held() if fleet.zfs.tags(name) != {"zrb:nightly"}} == {
        full.snapshot.name,
        first.snapshot.name,
    }
    assert fleet.journals() == []


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_another_repository_lets_the_holds_of_the_first_alone(fleet: Fleet, checkpoint: str) -> None:
    base = fleet.back_up(0).manifest
    fleet.write(2)
    kill_at(fleet, checkpoint, 1)
    first, before = fleet.store, fleet.held()
    fleet.use_repository("other", MemoryStore(location="memory://other/"))
    other = fleet.back_up(0).manifest
    # A snapshot that no journal names yet is nobody's: the next run takes a new one.
    assert fleet.held() >= {base.snapshot.name, other.snapshot.name}
    if fleet.journals():
        assert fleet.held() >= before
    fleet.use_repository("fake", first)
    again = fleet.back_up(1).manifest
    assert fleet.held() == {base.snapshot.name, other.snapshot.name, again.snapshot.name}


def test_two_repositories_share_a_snapshot(fleet: Fleet) -> None:
    fleet.task = replace(fleet.task, take_snapshot=False)
    shared = take_snapshot(fleet.context(), task=fleet.task, level=0)
    fleet.back_up(0)
    first = fleet.store
    fleet.use_repository("other", MemoryStore(location="memory://other/"))
    fleet.back_up(0)
    assert len(fleet.zfs.tags(shared.name)) == 2
    take_snapshot(fleet.context(), task=fleet.task, level=0)
    fleet.back_up(0)
    assert len(fleet.zfs.tags(shared.name)) == 1, "the first repository still needs it"
    fleet.use_repository("fake", first)
    fleet.back_up(0)
    assert fleet.zfs.tags(shared.name) == set()
    assert len(fleet.zfs.snapshots(DATASET)) == 2
