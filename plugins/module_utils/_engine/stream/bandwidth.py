# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bandwidth limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..store.protocol import BrokenOff
from .first_failure import Failure


class Bandwidth:
    """Delays transfers so that on average no more than ``limit`` bytes/s begin; 0 means no limit."""

    def __init__(self, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._own = threading.local()

    def delay(self, length: int) -> float:
        """Reserve time for ``length`` bytes, and return how many seconds to wait before they may begin."""
        if not self._limit:
            return 0.0
        with self._lock:
            now = self._clock()
            start = max(now, self._next_start)
            self._next_start = start + length / self._limit
            return start - now

    def join(self, failure: Failure) -> None:
        """From now on, the calling thread moves bytes for the pipeline of ``failure``."""
        self._own.failure = failure

    def flow(self, length: int) -> None:
        """The flow of a store that several pipelines use at once. Regulates the threads that joined."""
        failure: Failure | None = getattr(self._own, "failure", None)
        if failure is not None:
            self.wait_for(length, failure)

    def wait_for(self, length: int, failure: Failure) -> None:
        """Wait until ``length`` bytes may begin. Raises ``BrokenOff`` as soon as the pipeline has failed."""
        delay = self.delay(length)
        if delay:
            failure.wait(delay)
        break_off_after(failure)


def break_off_after(failure: Failure) -> None:
    """Raise ``BrokenOff`` if the pipeline has failed: a chunk may take minutes on a slow line."""
    if failure.happened:
        raise BrokenOff
