# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The threads that talk to the store: a fixed number, a bounded queue in front, the first failure stops all."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from .failure import Failure

STOP_TIMEOUT_S = 30.0
"""How long a clean stop waits for all requests in flight together; they hold no lock, so leaving them is safe."""


class TransferThreads:
    """``count`` threads that carry out transfers. The queue needs no bound of its own: every transfer owns a buffer."""

    def __init__(self, count: int, failure: Failure) -> None:
        self._failure = failure
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"transfer-{n}", daemon=True) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Carry out ``job`` on one of the threads; its exception becomes the pipeline's failure."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the threads; after a failure, jobs that have not begun are dropped."""
        for _thread in self._threads:
            self._jobs.put(None)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._failure.happened:
                continue
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - handed to the owner, who raises it
                self._failure.set(error)
