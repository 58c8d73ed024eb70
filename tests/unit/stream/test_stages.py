# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The small pieces that the pipelines are made of."""

from __future__ import annotations

import mmap
import os
import select
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from zrb.store.protocol import BrokenOff
from zrb.stream.bandwidth import Bandwidth
from zrb.stream.buffer_pool import BufferPool
from zrb.stream.first_failure import Failure
from zrb.stream.threads import Threads, Turns

from tests.unit.stream.piping import resident_bytes


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
        first = ValueError("first")
        failure.set(first)
        failure.set(KeyError("second"))
        with pytest.raises(ValueError, match="first") as caught:
            failure.check()
        assert caught.value is first
        assert failure.happened
        assert failure.wait(0)
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


class TestBufferPool:
    def test_they_do_not_overlap(self, failure: Failure) -> None:
        pool = BufferPool(3, 10, failure)
        buffers = [pool.take() for _ in range(3)]
        for number, buffer in enumerate(buffers):
            buffer[:] = bytes([number]) * 10
        assert [bytes(buffer) for buffer in buffers] == [bytes([number]) * 10 for number in range(3)]

    def test_the_buffer_given_back_last_comes_first(self, failure: Failure) -> None:
        pool = BufferPool(3, 10, failure)
        first, second = pool.take(), pool.take()
        pool.give(first)
        pool.give(second)
        assert pool.take() is second
        assert pool.take() is first

    def test_taking_waits_for_a_buffer(self, failure: Failure) -> None:
        pool = BufferPool(1, 10, failure)
        only = pool.take()
        taken: list[memoryview] = []
        thread = threading.Thread(target=lambda: taken.append(pool.take()))
        thread.start()
        assert taken == []
        pool.give(only)
        thread.join()
        assert taken[0] is only

    def test_a_failure_wakes_who_waits(self, failure: Failure) -> None:
        pool = BufferPool(1, 10, failure)
        pool.take()
        heard: list[BaseException] = []

        def take() -> None:
            try:
                pool.take()
            except ValueError as error:
                heard.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        error = ValueError("elsewhere")
        failure.set(error)
        thread.join()
        assert heard == [error]

    def test_nothing_is_given_out_after_a_failure(self, failure: Failure) -> None:
        pool = BufferPool(1, 10, failure)
        failure.set(ValueError("elsewhere"))
        with pytest.raises(ValueError, match="elsewhere"):
            pool.take()

    def test_a_closed_pool_takes_no_memory_even_if_somebody_keeps_a_buffer(self, failure: Failure) -> None:
        size = 64 << 20
        before = resident_bytes()
        pool = BufferPool(1, size, failure)
        kept = pool.take()
        for start in range(0, size, mmap.PAGESIZE):
            kept[start] = 1
        assert resident_bytes() - before > size * 3 // 4
        pool.close()
        assert resident_bytes() - before < size // 4
        assert kept[0] == 0


class TestTurns:
    def test_whoever_comes_first_waits_for_his_number(self, failure: Failure) -> None:
        turns = Turns(failure)
        done: list[int] = []

        def take(number: int) -> None:
            with turns.turn(number):
                done.append(number)

        threads = [threading.Thread(target=take, args=(number,)) for number in reversed(range(20))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == list(range(20))

    def test_after_an_exception_nobody_has_a_turn(self, failure: Failure) -> None:
        turns = Turns(failure)
        heard: list[BaseException] = []

        def wait() -> None:
            try:
                with turns.turn(1):
                    heard.append(AssertionError("it was not its turn"))
            except ValueError as error:
                heard.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        error = ValueError("in its turn")
        with pytest.raises(ValueError, match="in its turn"), turns.turn(0):
            raise error
        failure.set(error)
        thread.join()
        assert heard == [error]


class TestWithin:
    @pytest.mark.parametrize("late", [False, True])
    def test_what_fails_outside_fails_inside(self, failure: Failure, late: bool) -> None:
        made = [] if late else [Failure(failure), Failure(failure)]
        failure.set(error := KeyError())
        made = made or [Failure(failure)]
        for one in made:
            assert one.wait(0)
            assert select.select([one.wake_fd], [], [], 0)[0]
            with pytest.raises(KeyError) as caught:
                one.check()
            assert caught.value is error
            one.close()

    def test_and_not_the_other_way_round(self, failure: Failure) -> None:
        inner, beside = Failure(failure), Failure(failure)
        inner.set(KeyError())
        assert [failure.happened, beside.happened] == [False, False]
        beside.close()
        inner.close()
        failure.set(OSError())
        assert not beside.happened


class TestBandwidth:
    def test_no_limit_no_wait(self) -> None:
        bandwidth = Bandwidth(0)
        assert [bandwidth.delay(1 << 40) for _ in range(3)] == [0.0, 0.0, 0.0]

    def test_transfers_are_spaced_out(self) -> None:
        now = [100.0]
        bandwidth = Bandwidth(1000, clock=lambda: now[0])
        assert bandwidth.delay(500) == 0.0
        assert bandwidth.delay(1000) == pytest.approx(0.5)
        assert bandwidth.delay(250) == pytest.approx(1.5)
        now[0] = 101.0
        assert bandwidth.delay(1) == pytest.approx(0.75)

    def test_idle_time_is_not_saved_up(self) -> None:
        now = [0.0]
        bandwidth = Bandwidth(1000, clock=lambda: now[0])
        bandwidth.delay(1000)
        now[0] = 60.0
        assert bandwidth.delay(5000) == 0.0
        assert bandwidth.delay(1) == pytest.approx(5.0)

    def test_a_failure_ends_the_wait(self, failure: Failure) -> None:
        bandwidth = Bandwidth(1, clock=lambda: 0.0)
        bandwidth.delay(1 << 30)
        failure.set(ValueError("elsewhere"))
        with pytest.raises(BrokenOff):
            bandwidth.wait_for(1, failure)

    def test_it_waits_as_long_as_it_says(self, failure: Failure) -> None:
        waited: list[float] = []

        class Patient(Failure):
            def wait(self, timeout_s: float) -> bool:
                waited.append(timeout_s)
                return False

        patient = Patient()
        bandwidth = Bandwidth(10, clock=lambda: 0.0)
        for _ in range(3):
            bandwidth.wait_for(5, patient)
        patient.close()
        assert waited == [pytest.approx(0.5), pytest.approx(1.0)]

    def test_several_pipelines_share_it_and_break_off_alone(self, failure: Failure) -> None:
        """A store has one flow; whose transfer it is, the thread that moves the bytes tells."""
        bandwidth, moved = Bandwidth(0), []
        bandwidth.flow(10)  # of no pipeline
        healthy = Failure()
        pipelines = [Threads(2, each, name="test", begin=partial(bandwidth.join, each)) for each in (failure, healthy)]
        failure.set(OSError("broken"))
        bandwidth.join(failure)
        with pytest.raises(BrokenOff):
            bandwidth.flow(10)
        for threads in pipelines:
            threads.submit(lambda: moved.append(bandwidth.flow(10)))
            assert threads.stop()
        assert moved == [None]
        healthy.check()
        healthy.close()


class TestThreads:
    def test_jobs_are_done_before_a_clean_stop(self, failure: Failure) -> None:
        done: list[int] = []
        threads = Threads(3, failure, name="test")
        for number in range(50):
            threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        assert threads.stop()
        assert sorted(done) == list(range(50))

    def test_after_a_failure_jobs_are_dropped(self, failure: Failure) -> None:
        done: list[int] = []
        begun = threading.Event()

        def fail() -> None:
            begun.wait()
            raise SystemExit("even that")

        threads = Threads(1, failure, name="test")
        threads.submit(fail)
        for number in range(50):
            threads.submit(lambda number=number: done.append(number))  # type: ignore[misc]
        begun.set()
        threads.stop()
        assert done == []
        with pytest.raises(SystemExit, match="even that"):
            failure.check()
