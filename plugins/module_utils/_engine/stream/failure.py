# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first failure of a pipeline, wherever it happened, stops every other stage."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class Failure:
    """Holds the first error. Threads that wait for something wake up when one is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._listeners: list[Callable[[], None]] = []
        self._happened = threading.Event()
        self.wake_fd, self._wake_write_fd = os.pipe()

    def set(self, error: BaseException) -> None:
        """Remember ``error`` unless there is one already, and wake everybody."""
        with self._lock:
            if self._error is not None:
                return
            self._error = error
            listeners = list(self._listeners)
            self._happened.set()
            if self._wake_write_fd >= 0:
                os.write(self._wake_write_fd, b"!")
        for listener in listeners:
            listener()

    def on_failure(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` once when an error is set."""
        with self._lock:
            self._listeners.append(listener)

    def check(self) -> None:
        """Raise the error, where there is one."""
        if self._error is not None:
            raise self._error

    def wait(self, timeout_s: float) -> bool:
        """Wait for a failure; whether there is one."""
        return self._happened.wait(timeout_s)

    @property
    def happened(self) -> bool:
        """Whether an error was set."""
        return self._happened.is_set()

    def close(self) -> None:
        """Release the wake-up pipe. A thread that outlives the pipeline may still report a failure to nobody."""
        with self._lock:
            os.close(self.wake_fd)
            os.close(self._wake_write_fd)
            self._wake_write_fd = -1
