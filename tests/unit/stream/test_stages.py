# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small pieces that the pipelines are made of."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest
from zrb.store.protocol import BrokenOff
from zrb.stream.buffers import FreeList, SharedBuffers
from zrb.stream.failure import Failure
from zrb.stream.pace import Pace
from zrb.stream.transfers import TransferThreads
from zrb.stream.worker_files import BufferReader


@pytest.fixture
def failure() -> Iterator[Failure]:
    made = Failure()
    yield made
    made.close()


class TestFailure:
    def test_nothing_happened_yet(self, failure: Failure) -> None:
        failure.check()
        assert not failure.happened
        assert not failure.wait(0)
        assert not select.select([failure.wake_fd], [], [], 0)[0]

    def test_the_first_error_stays(self, failure: Failure) -> None:
        first, heard = ValueError("first"), []
        failure.on_failure(lambda: heard.append(1))
        failure.set(first)
        failure.set(KeyError("second"))
        with pytest.raises(ValueError, match="first") as caught:
            failure.check()
        assert caught.value is first
        assert failure.happened
        assert failure.wait(0)
        assert heard == [1]
        assert select.select([failure.wake_fd], [], [], 0)[0]

    def test_a_late_report_goes_nowhere(self) -> None:
        """A request that hung may end when its pipeline is gone; its descriptor may be somebody else's by then."""
        late = Failure()
        late.close()
        read_fd, write_fd = os.pipe()
        try:
            late.set(ValueError("too late"))
            assert not select.select([read_fd], [], [], 0)[0]
        finally:
            os.close(read_fd)
            os.close(write_fd)


class TestFreeList:
    def test_the_buffer_returned_last_comes_first(self, failure: Failure) -> None:
        free = FreeList(range(3), failure)
        assert [free.take(), free.take()] == [2, 1]
        free.give(2)
        assert [free.take(), free.take()] == [2, 0]

    def test_taking_waits_for_a_buffer(self, failure: Failure) -> None:
        free = FreeList([], failure)
        taken: list[int] = []
        thread = threading.Thread(target=lambda: taken.append(free.take()))
        thread.start()
        assert taken == []
        free.give(7)
        thread.join()
        assert taken == [7]

    def test_a_failure_wakes_who_waits(self, failure: Failure) -> None:
        free = FreeList([], failure)
        heard: list[BaseException] = []

        def take() -> None:
            try:
                free.take()
            except ValueError as error:
                heard.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        error = ValueError("elsewhere")
        failure.set(error)
        thread.join()
        assert heard == [error]

    def test_nothing_is_given_out_after_a_failure(self, failure: Failure) -> None:
        free = FreeList([1], failure)
        failure.set(ValueError("elsewhere"))
        with pytest.raises(ValueError, match="elsewhere"):
            free.take()


class TestPace:
    def test_no_limit_no_wait(self) -> None:
        pace = Pace(0)
        assert [pace.delay(1 << 40) for _ in range(3)] == [0.0, 0.0, 0.0]

    def test_transfers_are_spaced_out(self) -> None:
        now = [100.0]
        pace = Pace(1000, clock=lambda: now[0])
        assert pace.delay(500) == 0.0
        assert pace.delay(1000) == pytest.approx(0.5)
        assert pace.delay(250) == pytest.approx(1.5)
        now[0] = 101.0
        assert pace.delay(1) == pytest.approx(0.75)

    def test_idle_time_is_not_saved_up(self) -> None:
        now = [0.0]
        pace = Pace(1000, clock=lambda: now[0])
        pace.delay(1000)
        now[0] = 60.0
        assert pace.delay(5000) == 0.0
        assert pace.delay(1) == pytest.approx(5.0)

    def test_a_failure_ends_the_wait(self, failure: Failure) -> None:
        pace = Pace(1, clock=lambda: 0.0)
        pace.delay(1 << 30)
        failure.set(ValueError("elsewhere"))
        with pytest.raises(BrokenOff):
            pace.wait_for(1, failure)

    def test_it_waits_as_long_as_it_says(self, failure: Failure) -> None:
        waited: list[float] = []

        class Patient(Failure):
            def wait(self, timeout_s: float) -> bool:
                waited.append(timeout_s)
                return False

        patient = Patient()
        pace = Pace(10, clock=lambda: 0.0)
        for _ in range(3):
            pace.wait_for(5, patient)
        patient.close()
        assert waited == [pytest.approx(0.5), pytest.approx(1.0)]


class TestTransferThreads:
    def test_jobs_are_done_before_a_clean_stop(self, failure: Failure) -> None:
        done: list[int] = []
        threads = TransferThreads(3, failure)
        for number in range(50):
            threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        threads.stop()
        assert sorted(done) == list(range(50))

    def test_after_a_failure_jobs_are_dropped(self, failure: Failure) -> None:
        done: list[int] = []
        begun = threading.Event()

        def fail() -> None:
            begun.wait()
            raise SystemExit("even that")

        threads = TransferThreads(1, failure)
        threads.submit(fail)
        for number in range(50):
            threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        begun.set()
        threads.stop()
        assert done == []
        with pytest.raises(SystemExit, match="even that"):
            failure.check()


class TestBuffers:
    def test_they_do_not_overlap(self) -> None:
        buffers = SharedBuffers(count=3, size=10)
        for index in range(3):
            buffers.view(index)[:] = bytes([index]) * 10
        assert [bytes(buffers.view(index)) for index in range(3)] == [bytes([index]) * 10 for index in range(3)]
        assert bytes(buffers.view(1, 4)) == b"\1\1\1\1"

    def test_they_are_shared_with_a_child(self) -> None:
        buffers = SharedBuffers(count=1, size=5)
        child = os.fork()
        if child == 0:
            buffers.view(0)[:] = b"child"
            os._exit(0)
        os.waitpid(child, 0)
        assert bytes(buffers.view(0)) == b"child"

    def test_a_reader_never_gives_more_than_is_asked_for(self) -> None:
        views = [memoryview(b"defg"), memoryview(b"h"), memoryview(b""), memoryview(b"")]
        reader = BufferReader(lambda: views.pop(0), first=memoryview(b"abc"))
        assert [reader.read(2), reader.read(2), reader.read(), reader.read(9), reader.read(1)] == [
            b"ab",
            b"c",
            b"defg",
            b"h",
            b"",
        ]
