# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress that never waits for its screen."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from ..values.progress import Phase, Progress

MANY = 100
"""This many records wait only if the screen accepts nothing."""


class Held:
    """A :class:`Progress` that keeps all records of an operation until it is finished. Those of operations that run at
    once are not mixed: they share ``lock``."""

    def __init__(self, progress: Progress, lock: threading.Lock) -> None:
        self._progress = progress
        self._lock = lock
        self._records: list[Callable[[], None]] = []

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Keep it."""
        self._records.append(partial(self._progress.start, operation, total=total, message=message))

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Keep it."""
        self._records.append(partial(self._progress.advance, phase, current=current, total=total, message=message))

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Keep it."""
        self._records.append(partial(self._progress.log, message, level=level, **facts))

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Pass everything on."""
        with self._lock:
            for show in self._records:
                show()
            self._progress.finish(status=status, result=result)


class Queued:
    """A :class:`Progress` that calls another one from a thread of its own, so that a screen that accepts nothing (a
    terminal stopped with Ctrl-S, a full pipe) never stops the work.

    Records are shown in order. If many are waiting, a movement within a phase replaces the one before it. All other
    records are kept. The thread calls ``at_end`` after the last record.
    """

    def __init__(self, progress: Progress, *, at_end: Callable[[], None], patience_s: float = 3.0) -> None:
        self._progress = progress
        self._at_end = at_end
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, Callable[[], None]]] = deque()
        """Records to show. A movement has its phase with it, other records an empty string."""
        self._closed = False
        self._shown = 0
        self._thread = threading.Thread(target=self._show_all, name="progress", daemon=True)

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Pass it on."""
        self._put(partial(self._progress.start, operation, total=total, message=message))

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Pass it on. If many are waiting, it replaces the movement before it in the same phase."""
        self._put(partial(self._progress.advance, phase, current=current, total=total, message=message), phase)

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Pass it on."""
        self._put(partial(self._progress.log, message, level=level, **facts))

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Pass it on."""
        self._put(partial(self._progress.finish, status=status, result=result))

    def close(self) -> None:
        """Wait until all records are shown. Give up if the screen has accepted nothing for ``patience_s``."""
        self._put(self._at_end)
        with self._changed:
            self._closed = True
            self._changed.notify()
        shown = -1
        while self._thread.is_alive() and shown != self._shown:
            shown = self._shown
            self._thread.join(self._patience_s)

    def _put(self, show: Callable[[], None], phase: str = "") -> None:
        with self._changed:
            if phase and len(self._waiting) >= MANY and self._waiting[-1][0] == phase:
                self._waiting.pop()
            self._waiting.append((phase, show))
            if not self._thread.ident:
                self._thread.start()
            self._changed.notify()

    def _show_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                _phase, show = self._waiting.popleft()
            show()
            self._shown += 1
