# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for a storage that is away, as a server that is restarted or a line that is down.

What failed is tried again with the same bytes, which stay in their buffer meanwhile: so the stream stops by itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import StoreUnavailable
from .first_failure import Failure

T = TypeVar("T")
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


def pause(pause_s: float, failure: Failure | None) -> bool:
    """Wait; whether ``failure`` has happened, which ends the wait."""
    if failure is not None:
        return failure.wait(pause_s)
    time.sleep(pause_s)
    return False


class Patience:
    """Tries again for up to ``limit_s`` seconds. ``tell`` is told when the storage is away, and when it is back.

    Pauses grow, and are spread by chance: several workers, and several machines, do not come back all at once. It ends
    for all that wait at once, and nothing is tried again then until something succeeded: a run does not wait once more
    for each dataset.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        tell: Callable[[str], object] = lambda _message: None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float, Failure | None], bool] = pause,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._limit_s = limit_s
        self._tell = tell
        self._clock = clock
        self._pause = pause
        self._chance = chance
        self._lock = threading.Lock()
        self._waiting = 0
        self._end: float | None = None
        """Counts from the first failure since something succeeded."""

    def insist(self, action: Callable[[], T], failure: Failure | None = None) -> T:
        """Carry out ``action``, which may be repeated, until it succeeds. Any error but ``StoreUnavailable`` is raised
        at once, that one when patience ends or ``failure`` has happened."""
        try:
            result = action()
        except StoreUnavailable as error:
            if self._left_s() <= 0:
                raise
            self._begin_to_wait(error)
            try:
                result = self._try_again(action, failure, error)
            finally:
                with self._lock:
                    self._waiting -= 1
            self._tell("The storage answers again")
        self._end = None
        return result

    def _left_s(self) -> float:
        with self._lock:
            if self._end is None:
                self._end = self._clock() + self._limit_s
            return self._end - self._clock()

    def _begin_to_wait(self, error: StoreUnavailable) -> None:
        with self._lock:
            self._waiting += 1
            first = self._waiting == 1
        if first:
            self._tell(f"The storage is away, and is tried again for up to {self._limit_s / 60:.0f} min. {error}")

    def _try_again(self, action: Callable[[], T], failure: Failure | None, error: StoreUnavailable) -> T:
        end = self._clock() + self._limit_s
        pause_s = FIRST_PAUSE_S
        while (left_s := min(self._left_s(), end - self._clock())) > 0:
            if self._pause(min(left_s, pause_s * (0.5 + self._chance() / 2)), failure):
                raise error
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                return action()
            except StoreUnavailable as again:
                error = again
        raise error
