# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The threads of a pipeline, and the turns that keep them in order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .first_failure import Failure

STOP_TIMEOUT_S = 30.0
"""How long :meth:`Threads.stop` waits for all requests in flight. These hold no lock, so leaving them is safe."""


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


class Threads:
    """``count`` threads that carry out jobs, first come, first served. The queue needs no limit: every job owns the
    buffers that it works on, and there is a fixed number of these."""

    def __init__(self, count: int, failure: Failure, *, name: str, begin: Callable[[], None] = lambda: None) -> None:
        self._failure = failure
        self._begin = begin
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Carry out ``job`` on one of the threads. If it raises, the pipeline fails."""
        self._jobs.put(job)

    def stop(self) -> bool:
        """End the threads. After a failure, drop the jobs that have not begun. False if a thread does not end."""
        for _thread in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        self._begin()
        while (job := self._jobs.get()) is not None:
            if not self._failure.happened:
                try:
                    job()
                except BaseException as error:  # noqa: BLE001 - handed to the owner, who raises it
                    self._failure.set(error)
            del job  # an idle thread must not keep the buffers of its last job


class Turns:
    """Lets threads through one at a time, in the order of numbers from 0."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self._next = 0

    @contextmanager
    def turn(self, number: int) -> Iterator[None]:
        """Wait for the turn of ``number``, which ends with the ``with`` block. If the block raises, there are no more
        turns, and the pipeline fails."""
        with self._failure.changed:
            self._failure.wait_until(lambda: self._next == number)
        yield
        with self._failure.changed:
            self._next += 1
            self._failure.changed.notify_all()
