# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup is killed at every moment that it has, or every request of it fails in every way: what the next runs do.

None of the moments is chosen by hand, and none is left out: the runs themselves say how many there are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from zrb.errors import EngineError, StoreDenied, StoreFull
from zrb.run.backup import back_up
from zrb.run.verify import verify

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.mortal import Killed, Life
from tests.fakes.store import MemoryStore, Operation

Failing = Callable[[MemoryStore, Operation, int], None]


def unavailable(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.fail(operation, nth=nth)


def denied(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.fail(operation, nth=nth, error=StoreDenied("Not for you", subject="fake", next_step="Expect it"))


def full(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.fail(operation, nth=nth, error=StoreFull("No room", subject="fake", next_step="Expect it"))


def lost_reply(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.lose_reply(operation, nth=nth)


@pytest.fixture
def homes(tmp_path: Path) -> Callable[[], Fleet]:
    """Machines that know nothing of each other, each with a level 0 and something new to store."""
    made = 0

    def make() -> Fleet:
        nonlocal made
        made += 1
        home = tmp_path / str(made)
        home.mkdir()
        fleet = Fleet(home)
        fleet.back_up(0)
        fleet.write(7)
        return fleet

    return make


def killed(fleet: Fleet, nth: int, *, level: int = 1) -> bool:
    """A run that is killed at its ``nth`` moment; whether it came so far."""
    life = Life(nth, Path(fleet.config.base_dir))
    with suppress(Killed):
        back_up(life.context(fleet.context()), task=fleet.task, level=level)
    life.bury()
    return life.ended


def assert_all_is_well(fleet: Fleet) -> None:
    """The newest backup restores to what was there, everything verifies, and nothing is left over."""
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
    assert verify(fleet.context(), depth="decrypt", identities=[fleet.identity]).problems == ()
    assert fleet.journals() == []
    assert len(fleet.held()) == 2, "the bases of levels 1 and 2"


def lose_parts(fleet: Fleet) -> None:
    """A cleaner that takes what no manifest names."""
    named = {part.key for manifest in fleet.manifests() for part in fleet.parts(manifest)}
    for key in fleet.store.keys:
        if key.startswith("data/") and key not in named:
            fleet.store.remove(key)


@pytest.mark.parametrize("between", [lambda _fleet: None, lose_parts], ids=["resumed", "after its parts were lost"])
def test_killed_at_every_moment(homes: Callable[[], Fleet], between: Callable[[Fleet], None]) -> None:
    moments = 0
    while killed(fleet := homes(), moments + 1):
        moments += 1
        between(fleet)
        fleet.back_up(1)
        assert_all_is_well(fleet)
    assert moments > 50


def test_killed_twice(homes: Callable[[], Fleet]) -> None:
    nth = 1
    while killed(fleet := homes(), nth):
        killed(fleet, 1 + nth * 7 % 60)
        fleet.back_up(1)
        assert_all_is_well(fleet)
        nth += 3


@pytest.mark.parametrize("fail", [unavailable, denied, full, lost_reply])
def test_every_request_fails_and_the_next_run_is_killed(homes: Callable[[], Fleet], fail: Failing) -> None:
    fleet = homes()
    before = len(fleet.store.calls)
    fleet.back_up(1)
    calls = [operation for operation, _key in fleet.store.calls[before:]]
    for operation in sorted(set(calls)):
        for nth in range(1, calls.count(operation) + 1):
            fleet = homes()
            fail(fleet.store, operation, nth)
            with suppress(EngineError):
                fleet.run(1)
            fleet.store = fleet.store.copy_objects()
            killed(fleet, 10 + nth * 13 % 60)
            fleet.back_up(1)
            assert_all_is_well(fleet)
