# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A storage that is away is waited for, and nothing else is. No test really waits: clock and pauses are the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import (
    EngineError,
    ForeignReply,
    NoSuchRepository,
    ObjectExists,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TlsFailure,
)
from zrb.store.protocol import Ending
from zrb.stream.first_failure import Failure
from zrb.stream.patience import LONGEST_PAUSE_S, Patience
from zrb.stream.patient_store import PatientStore

from tests.fakes.store import MemoryStore, Operation, unavailable
from tests.unit.stream.piping import PART, Ledger, backup_pipeline, destination, random_bytes, readable

HOUR = 3600.0


@dataclass
class Waiting:
    """A clock that moves on by pauses alone."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    chance: Callable[[], float] = lambda: 1.0
    during: Callable[[], None] = lambda: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def patience(self, limit_s: float = HOUR) -> Patience:
        return Patience(limit_s, tell=self.told.append, clock=lambda: self.now, pause=self.pause, chance=self.chance)

    def pause(self, pause_s: float, end: Ending) -> bool:
        with self.lock:
            self.pauses.append(pause_s)
            self.now += pause_s
        self.during()
        return end.wait(0)


def failing(times: int, error: Callable[[], Exception] = unavailable) -> Callable[[], str]:
    left = iter(range(times))

    def action() -> str:
        if next(left, None) is not None:
            raise error()
        return "done"

    return action


@given(st.integers(1, 15), st.floats(0, 1))
def test_it_tries_again_until_the_storage_is_back(times: int, chance: float) -> None:
    waiting = Waiting(chance=lambda: chance)
    assert waiting.patience(24 * HOUR).insist(failing(times)) == "done"
    assert len(waiting.pauses) == times
    assert all(0 < one <= LONGEST_PAUSE_S for one in waiting.pauses)
    assert waiting.pauses == sorted(waiting.pauses)
    assert ["away" in waiting.told[0], "again" in waiting.told[1], len(waiting.told)] == [True, True, 2]


@given(st.floats(1, 7 * 24 * HOUR), st.floats(0, 1))
def test_it_ends_exactly_when_patience_does(limit_s: float, chance: float) -> None:
    waiting = Waiting(chance=lambda: chance)
    with pytest.raises(StoreUnavailable):
        waiting.patience(limit_s).insist(failing(10**6))
    assert waiting.now == pytest.approx(limit_s)


def test_no_patience_is_one_try() -> None:
    waiting = Waiting()
    with pytest.raises(StoreUnavailable):
        waiting.patience(0).insist(failing(1))
    assert (waiting.pauses, waiting.told) == ([], [])


@pytest.mark.parametrize("kind", [StoreDenied, NoSuchRepository, StoreFull, TlsFailure, ObjectExists, StoreError])
@pytest.mark.parametrize("before", [0, 1])
def test_what_does_not_pass_ends_at_once(kind: type[EngineError], before: int) -> None:
    waiting = Waiting()
    errors = iter([*[unavailable() for _ in range(before)], kind("no", next_step="Look")])

    def action() -> None:
        raise next(errors)

    with pytest.raises(kind):
        waiting.patience().insist(action)
    assert len(waiting.pauses) == before


def test_a_gateway_that_answers_for_a_while_is_waited_for() -> None:
    waiting = Waiting()
    assert waiting.patience().insist(failing(2, lambda: ForeignReply("502", next_step="Look"))) == "done"


def test_once_it_has_ended_the_next_one_does_not_wait_until_something_succeeds() -> None:
    waiting = Waiting()
    patience = waiting.patience()
    with pytest.raises(StoreUnavailable):
        patience.insist(failing(10**6))
    before = waiting.now
    for _dataset in range(40):
        with pytest.raises(StoreUnavailable):
            patience.insist(failing(1))
    assert waiting.now == before
    assert patience.insist(failing(0)) == "done"
    assert patience.insist(failing(1)) == "done"


@given(st.floats(1, 7 * 24 * HOUR), st.floats(0, 1), st.integers(1, 10))
def test_it_ends_at_once_for_all_that_wait(limit_s: float, chance: float, others: int) -> None:
    """Each begins to wait in the first pause of the one before."""
    waiting = Waiting(chance=lambda: chance)
    patience = waiting.patience(limit_s)
    begin = iter(range(others))

    def another() -> None:
        if next(begin, None) is not None:
            with pytest.raises(StoreUnavailable):
                patience.insist(failing(10**6))

    waiting.during = another
    with pytest.raises(StoreUnavailable):
        patience.insist(failing(10**6))
    assert waiting.now == pytest.approx(limit_s)
    assert [told.split()[2] for told in waiting.told] == ["is"]


def test_one_request_that_keeps_failing_does_not_wait_for_ever() -> None:
    """Others succeed in each of its pauses."""
    waiting = Waiting()
    patience = waiting.patience()
    waiting.during = lambda: patience.insist(lambda: None)
    with pytest.raises(StoreUnavailable):
        patience.insist(failing(10**6))
    assert waiting.now == pytest.approx(HOUR)


def test_another_failure_of_the_pipeline_ends_it() -> None:
    failure = Failure()
    waiting = Waiting(during=lambda: failure.set(KeyError()))
    try:
        with pytest.raises(StoreUnavailable):
            waiting.patience().insist(failing(10**6), failure)
    finally:
        failure.close()
    assert len(waiting.pauses) == 1


OPERATIONS: list[Operation] = ["open_upload", "put_chunk", "complete", "put"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("times", [1, 7])
def test_a_backup_goes_on_with_the_same_bytes(operation: Operation, nth: int, times: int) -> None:
    """Whichever request of the stream it is that finds the storage away."""
    store, waiting, ledger = MemoryStore(), Waiting(), Ledger()
    data = random_bytes(3 * PART + 100)
    for number in range(times):
        store.fail(operation, nth=nth + number)
    target = destination(PatientStore(store, waiting.patience()), ledger)
    with readable(data) as source:
        stored = backup_pipeline().store_stream(source, target, at_end=lambda _head, _tail: None)
    assert stored.stream_bytes == len(data)
    assert not store.unfinished
    assert ledger.indices("stored") == {0, 1, 2, 3}
    plain = MemoryStore()
    with readable(data) as source:
        again = backup_pipeline().store_stream(source, destination(plain), at_end=lambda _head, _tail: None)
    assert stored.blake3 == again.blake3


def test_a_storage_that_stays_away_fails_the_backup_after_its_patience() -> None:
    store, waiting = MemoryStore(), Waiting()
    for nth in range(1, 1000):
        store.fail("put_chunk", nth=nth)
    target = destination(PatientStore(store, waiting.patience(HOUR)))
    with readable(random_bytes(300_000)) as source, pytest.raises(StoreUnavailable):
        backup_pipeline(uploaders=1).store_stream(source, target, at_end=lambda _head, _tail: None)
    assert waiting.now == pytest.approx(HOUR)
    assert not store.unfinished
