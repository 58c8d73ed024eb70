# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever fails while a stream is stored: the first error comes out, everything stops, uploads are aborted."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from zrb.errors import (
    Interrupted,
    LocalStateError,
    StoreFull,
    StoreUnavailable,
    StreamDamaged,
    StreamNotReproducible,
)
from zrb.store.protocol import BrokenOff, Buffer, Flow
from zrb.stream.backup_pipeline import BackupPipeline
from zrb.values.manifest import Checksum, Part

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import (
    HANG_S,
    KIB,
    PART,
    Ledger,
    backup_pipeline,
    cut,
    destination,
    opened,
    random_bytes,
    resident_bytes,
    stalled,
    store_bytes,
)

DATA = random_bytes(4 * PART + 9)


def full() -> StoreFull:
    return StoreFull("The disk is full", next_step="Make room")


def fails(pipeline: BackupPipeline, store: MemoryStore, ledger: Ledger | None = None, data: bytes = DATA) -> Any:
    """Store ``data``, which has to fail; the error."""
    ledger = ledger or Ledger()
    with pytest.raises(BaseException) as caught:
        store_bytes(pipeline, data, destination(store, ledger))
    assert not store.unfinished
    assert store.keys == sorted(f"part-{index}" for index in ledger.indices("stored"))
    return caught.value


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("operation", ["open_upload", "put_chunk", "complete"])
def test_a_store_that_fails(store: MemoryStore, operation: Any, nth: int) -> None:
    error = full()
    store.fail(operation, nth=nth, error=error)
    pipeline = backup_pipeline()
    assert fails(pipeline, store) is error


@pytest.mark.parametrize("nth", [1, 3])
def test_a_store_that_fails_to_put_whole_parts(store: MemoryStore, nth: int) -> None:
    error = full()
    store.fail("put", nth=nth, error=error)
    pipeline = backup_pipeline(256 * KIB)
    assert fails(pipeline, store) is error


def test_a_lost_reply_leaves_the_part_sealed_and_not_stored(store: MemoryStore) -> None:
    ledger = Ledger()
    store.lose_reply("complete", key_part="part-2")
    pipeline = backup_pipeline()
    with pytest.raises(StoreUnavailable):
        store_bytes(pipeline, DATA, destination(store, ledger))
    assert 2 in ledger.indices("sealed") - ledger.indices("stored")
    assert "part-2" in store.keys


@pytest.mark.parametrize("event", ["opened", "sealed", "stored"])
def test_a_ledger_that_cannot_be_written(store: MemoryStore, event: str) -> None:
    error = LocalStateError("The journal could not be written", next_step="Make room")
    pipeline = backup_pipeline()
    with pytest.raises(LocalStateError) as caught:
        store_bytes(pipeline, DATA, destination(store, Ledger(refuse={event: error})))
    assert caught.value is error
    assert not store.unfinished


def test_the_first_error_wins(store: MemoryStore) -> None:
    """Every transfer fails after the first failure, and none of that is what the user hears of."""
    first = full()
    store.fail("put_chunk", nth=2, error=first)
    for nth in range(3, 60):
        store.fail("put_chunk", nth=nth)
    pipeline = backup_pipeline(uploaders=1)
    assert fails(pipeline, store) is first


def test_a_failure_breaks_off_what_is_under_way_on_a_slow_line(store: MemoryStore) -> None:
    """Else a stop would wait for whole chunks, which may take minutes each."""
    under_way, ended = threading.Event(), threading.Event()

    class SlowLine(MemoryStore):
        def regulate(self, flow: Flow) -> None:
            def crawl(length: int) -> None:
                under_way.set()
                try:
                    while True:
                        flow(length)
                except BrokenOff:
                    ended.set()
                    raise

            super().regulate(crawl)

    def at_end(_head: bytes, _tail: bytes) -> None:
        assert under_way.wait(HANG_S)
        raise full()

    slow = SlowLine()
    pipeline = backup_pipeline()
    with pytest.raises(StoreFull):
        store_bytes(pipeline, random_bytes(PART), destination(slow), at_end=at_end)
    assert ended.is_set()
    assert not slow.unfinished


def test_after_a_failure_the_next_stream_goes_through(store: MemoryStore) -> None:
    store.fail("put_chunk")
    pipeline = backup_pipeline()
    fails(pipeline, store)
    assert store_bytes(pipeline, DATA, destination(MemoryStore())).stream_bytes == len(DATA)


def test_errors_that_are_kept_keep_no_buffers() -> None:
    """As those of all datasets of a run, which are told at its end; each holds the frames that it passed."""
    size = 4 << 20
    data = bytes(4 * size)

    class Full(MemoryStore):
        left = 3

        def put(self, key: str, data: Buffer, **_: Any) -> Checksum:
            self.left -= 1
            if self.left < 0:
                raise full()
            return Checksum("none", "")

    def failed() -> StoreFull:
        with pytest.raises(StoreFull) as caught:
            pipeline = backup_pipeline(size + 64 * KIB, chunks=4, uploaders=1)
            store_bytes(pipeline, data, destination(Full(), part_size=size))
        return caught.value

    kept = [failed()]
    before = resident_bytes()
    kept += [failed() for _ in range(8)]
    assert all(error.__traceback__ for error in kept)
    assert resident_bytes() - before < 3 * size


def test_a_failure_elsewhere_ends_a_source_that_stalls(store: MemoryStore) -> None:
    """The reader has read all that there is and waits for more, which never comes."""
    all_read = threading.Event()
    error = full()

    class Watched(Ledger):
        def known(self, index: int) -> Part | None:
            if index == 1:
                all_read.set()
            return super().known(index)

    def moved(_count: int) -> None:
        all_read.wait()
        raise error

    where = destination(store, Watched(), moved=moved)
    pipeline = backup_pipeline()
    with stalled(DATA[:PART]) as source_fd, pytest.raises(StoreFull) as caught:
        pipeline.store_stream(source_fd, where, at_end=lambda _head, _tail: None)
    assert caught.value is error


def test_a_failure_while_the_reader_waits_for_a_free_block(store: MemoryStore) -> None:
    """Uploads stand still, so every buffer fills up and the reader waits; then one upload fails."""
    stuck = threading.Event()
    error = full()

    def moved(_count: int) -> None:
        stuck.wait(0.2)  # lets the buffers fill; the test holds without it too
        raise error

    pipeline = backup_pipeline(uploaders=1)
    with pytest.raises(StoreFull) as caught:
        store_bytes(pipeline, DATA * 3, destination(store, moved=moved))
    assert caught.value is error


def test_a_stream_that_ended_too_early_has_no_last_part(store: MemoryStore) -> None:
    """What ``at_end`` refuses is neither sealed nor stored: the short part would pass for a whole one."""
    ledger, error = Ledger(), StreamDamaged("no END", next_step="Run again")

    def at_end(_head: bytes, _tail: bytes) -> None:
        raise error

    pipeline = backup_pipeline()
    with pytest.raises(StreamDamaged) as caught:
        store_bytes(pipeline, DATA, destination(store, ledger), at_end=at_end)
    assert caught.value is error
    assert 4 not in ledger.indices("sealed") | ledger.indices("stored")
    assert "part-4" not in store.keys
    assert not store.unfinished


def test_a_short_part_of_one_chunk_is_not_put_either(store: MemoryStore) -> None:
    ledger = Ledger()

    def at_end(_head: bytes, _tail: bytes) -> None:
        raise StreamDamaged("no END", next_step="Run again")

    pipeline = backup_pipeline()
    with pytest.raises(StreamDamaged):
        store_bytes(pipeline, b"short", destination(store, ledger), at_end=at_end)
    assert store.calls == []
    assert ledger.events == [("known", 0)]


def test_a_signal_stops_a_stalled_stream(store: MemoryStore) -> None:
    def handler(number: int, _frame: FrameType | None) -> None:
        raise Interrupted(number, next_step="Run the same command again")

    once = threading.Semaphore()

    def moved(_count: int) -> None:
        if once.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        pipeline = backup_pipeline()
        with stalled(DATA[:PART]) as source_fd:
            where = destination(store, moved=moved)
            with pytest.raises(Interrupted, match=f"signal {signal.SIGUSR1:d}"):
                pipeline.store_stream(source_fd, where, at_end=lambda _head, _tail: None)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not store.unfinished


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), Interrupted(15, next_step="Run again"), MemoryError()])
def test_whatever_is_raised_in_the_reader_comes_out(store: MemoryStore, stop: BaseException) -> None:
    pipeline = backup_pipeline()
    assert fails(pipeline, store, Ledger(refuse={"known": stop})) is stop


def test_a_source_that_cannot_be_read(store: MemoryStore, tmp_path: Path) -> None:
    source_fd = os.open(tmp_path, os.O_RDONLY)
    try:
        pipeline = backup_pipeline()
        with pytest.raises(IsADirectoryError):
            pipeline.store_stream(source_fd, destination(store), at_end=lambda _head, _tail: None)
    finally:
        os.close(source_fd)


class TestResumedParts:
    """Parts that an earlier run stored are read and compared, and not sent again."""

    @pytest.fixture
    def earlier(self, store: MemoryStore) -> Ledger:
        pipeline = backup_pipeline()
        stored = store_bytes(pipeline, DATA, destination(store))
        for part in (stored.parts[1], stored.parts[4]):
            store.remove(part.key)
        store.calls.clear()
        return Ledger({part.index: part for part in stored.parts if part.index not in {1, 4}})

    def test_only_what_is_missing_is_sent(self, store: MemoryStore, earlier: Ledger) -> None:
        moved: list[int] = []
        pipeline = backup_pipeline()
        stored = store_bytes(pipeline, DATA, destination(store, earlier, moved=moved.append))
        assert stored.parts_resumed == 3
        assert {key for _, key in store.calls} == {"part-1", "part-4"}
        assert next(part.plain_blake3 for part in stored.parts) == earlier.parts[0].plain_blake3
        assert [opened(store, part) for part in stored.parts] == list(cut(DATA))
        assert moved.count(PART) == 3

    def test_all_of_them(self, store: MemoryStore, earlier: Ledger) -> None:
        pipeline = backup_pipeline()
        stored = store_bytes(pipeline, DATA[:PART], destination(store, earlier))
        assert (len(stored.parts), stored.parts_resumed, store.calls) == (1, 1, [])

    @pytest.mark.parametrize("position", [0, PART - 1, 2 * PART, 3 * PART + 17, 4 * PART - 1])
    def test_one_other_bit(self, store: MemoryStore, earlier: Ledger, position: int) -> None:
        data = bytearray(DATA)
        data[position] ^= 1
        pipeline = backup_pipeline()
        with pytest.raises(StreamNotReproducible) as caught:
            store_bytes(pipeline, bytes(data), destination(store, earlier))
        index = position // PART
        assert caught.value.subject == f"part-{index}"
        assert f"part {index} " in caught.value.problem

    def test_a_shorter_stream(self, store: MemoryStore, earlier: Ledger) -> None:
        pipeline = backup_pipeline()
        with pytest.raises(StreamNotReproducible, match="part 2"):
            store_bytes(pipeline, DATA[: 3 * PART - 1], destination(store, earlier))

    def test_a_resumed_part_is_not_counted_before_the_end_is_known_to_be_right(
        self, store: MemoryStore, earlier: Ledger
    ) -> None:
        """The last part is resumed, and the stream broke off after it: the error of the end comes out."""
        last = replace(earlier.parts[0], index=1, key="part-1", plain_bytes=5)
        ledger = Ledger({0: earlier.parts[0], 1: last})

        def at_end(_head: bytes, _tail: bytes) -> None:
            raise StreamDamaged("no END", next_step="Run again")

        pipeline = backup_pipeline()
        with pytest.raises(StreamDamaged):
            store_bytes(pipeline, DATA[: PART + 5], destination(store, ledger), at_end=at_end)
