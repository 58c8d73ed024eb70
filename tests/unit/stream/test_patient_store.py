# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A patient store is the store itself, but for the time it takes: whenever its storage is away, it answers the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import StoreUnavailable
from zrb.store.protocol import StoredObject
from zrb.stream.first_failure import Failure
from zrb.stream.patience import FirstOf, Patience
from zrb.stream.patient_store import PatientStore

from tests.fakes.conformance_of_stores import StoreConformance
from tests.fakes.store import MemoryStore, Operation, unavailable
from tests.unit.stream.test_patience import HOUR, Waiting


class TestPatientStore(StoreConformance):
    @pytest.fixture
    def store(self) -> PatientStore:
        return PatientStore(MemoryStore(), Patience(0))


class TestPatientStoreWhoseStorageComesAndGoes(StoreConformance):
    """The first two calls of each kind find it away, and so does every third one after that."""

    @pytest.fixture
    def store(self) -> PatientStore:
        store = MemoryStore()
        for nth in (1, 2, *range(5, 60, 3)):
            for operation in get_args(Operation):
                store.fail(operation, nth=nth)
        return PatientStore(store, Waiting().patience())

    test_the_flow_is_asked_for_every_byte_that_moves = None  # type: ignore[assignment]
    """Those that move twice count twice."""


class BreakingOff(MemoryStore):
    """A listing of it ends early after so many objects, once for each number in ``after``."""

    after: list[int]

    def list(self, prefix: str) -> Iterator[StoredObject]:
        left = self.after.pop(0) if self.after else None
        for number, item in enumerate(super().list(prefix)):
            if number == left:
                raise unavailable()
            yield item
        if left is not None:
            raise unavailable()


KEYS = st.lists(st.sampled_from(["x", "x.json", "xy"]), min_size=1, max_size=3).map("/".join)


@given(st.sets(KEYS), st.lists(st.integers(0, 9)))
def test_a_listing_that_breaks_off_anywhere_is_whole(keys: set[str], after: list[int]) -> None:
    store = BreakingOff()
    store.after = []
    for key in keys:
        store.put(f"manifests/{key}", b"")
    whole = list(store.list("manifests/x"))
    store.after = list(after)
    waiting = Waiting()
    assert list(PatientStore(store, waiting.patience(1000 * HOUR)).list("manifests/x")) == whole
    assert len(waiting.pauses) <= len(after)


def test_whoever_asks_in_vain_is_told_in_the_end() -> None:
    store, waiting = MemoryStore(), Waiting()
    for nth in range(1, 1000):
        store.fail("list", nth=nth)
    with pytest.raises(StoreUnavailable):
        list(PatientStore(store, waiting.patience()).list(""))
    assert waiting.now == pytest.approx(HOUR)


@pytest.mark.parametrize("which", [0, 1])
def test_whichever_end_comes_first_ends_the_waiting(which: int) -> None:
    failure, stop = Failure(), threading.Event()
    waiting = Waiting(during=[lambda: failure.set(KeyError()), stop.set][which])
    store = MemoryStore()
    for nth in range(1, 1000):
        store.fail("get", nth=nth)
    patient = PatientStore(store, waiting.patience()).until(failure).until(stop)
    try:
        with pytest.raises(StoreUnavailable):
            patient.get("zrb.json", limit=1)
    finally:
        failure.close()
    assert len(waiting.pauses) == 1


def test_an_end_that_comes_is_noticed_while_one_waits() -> None:
    first, second = threading.Event(), threading.Event()
    for one in (first, second):
        one.clear()
        threading.Timer(0.01, one.set).start()
        assert FirstOf((first, second)).wait(60)
        one.clear()
    assert not FirstOf((first, second)).wait(0.01)
    assert not FirstOf().wait(0.01)
