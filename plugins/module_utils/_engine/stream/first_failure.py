# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first failure in any stage of a pipeline stops all others."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

SIGNAL_DELAY_S = 1.0


class Failure:
    """Holds the first error, and the one condition on which the threads of a pipeline wait for each other.

    ``changed`` guards what they share: free buffers, turns, parts. A thread that changes any of it notifies
    ``changed``. A thread waits only in :meth:`wait_until`, so it never waits for one that has failed. A failure of
    ``within`` is a failure of this pipeline too, but not the other way round.
    """

    def __init__(self, within: Failure | None = None) -> None:
        self.changed = threading.Condition()
        self._error: BaseException | None = None
        self._happened = threading.Event()
        self.wake_fd, self._wake_write_fd = os.pipe()
        self._within = within
        self._inner: list[Failure] = []
        if within is not None:
            with within.changed:
                within._inner.append(self)
            if within._error is not None:
                self.set(within._error)

    def set(self, error: BaseException) -> None:
        """Remember ``error`` unless there is one already, and wake all threads."""
        with self.changed:
            if self._error is not None:
                return
            self._error = error
            self._happened.set()
            if self._wake_write_fd >= 0:
                os.write(self._wake_write_fd, b"!")
            self.changed.notify_all()
            inner = list(self._inner)
        for one in inner:
            one.set(error)

    def check(self) -> None:
        """Raise the error, if there is one."""
        if self._error is not None:
            raise self._error

    def wait_until(self, ready: Callable[[], object]) -> None:
        """Wait until ``ready()`` is true; the caller holds ``changed``. Raises the error as soon as there is one."""
        self.check()
        while not ready():
            # The system may give a signal to any thread, but only the main thread handles it, once it is awake.
            self.changed.wait(SIGNAL_DELAY_S)
            self.check()

    def wait(self, timeout_s: float) -> bool:
        """Wait for a failure, and return whether there is one."""
        end = time.monotonic() + timeout_s
        while not self.happened and (left_s := end - time.monotonic()) > 0:
            self._happened.wait(min(left_s, SIGNAL_DELAY_S))
        return self.happened

    @property
    def happened(self) -> bool:
        """Whether an error was set."""
        return self._happened.is_set()

    def close(self) -> None:
        """Release the wake-up pipe. A thread that outlives the pipeline may still call :meth:`set`."""
        if self._within is not None:
            with self._within.changed:
                self._within._inner.remove(self)
        with self.changed:
            os.close(self.wake_fd)
            os.close(self._wake_write_fd)
            self._wake_write_fd = -1
