# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for a store that is away, because a server restarts or a line is down.

A failed transfer is tried again with the same bytes. They stay in their buffer, so the stream stops by itself.
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
    """Wait, but no longer than until ``failure`` happens. Return whether it has happened."""
    if failure is not None:
        return failure.wait(pause_s)
    time.sleep(pause_s)
    return False


class Patience:
    """Tries again for up to ``limit_s`` seconds. ``tell`` gets a message when the store is away, and when it is back.

    Pauses grow and are random, so that several workers and machines do not come back all at once. Patience ends for all
    waiting threads at once. After that, a failure is final until something succeeds: a run does not wait again for each
    dataset.
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
        """The time counts from the first failure after the last success."""

    def insist(self, action: Callable[[], T], failure: Failure | None = None) -> T:
        """Repeat ``action`` until it succeeds. Raises ``StoreUnavailable`` only when patience ends or ``failure`` has
        happened, and any other error at once."""
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
            self._tell("The store answers again")
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
            self._tell(f"The store is away: zrb tries again for up to {self._limit_s / 60:.0f} min. {error}")

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
