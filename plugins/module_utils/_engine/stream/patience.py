# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Waits for a store that is away, because a server restarts or a line is down.

A failed transfer is tried again with the same bytes. They stay in their buffer, so the stream stops by itself.
``patient_store`` makes every call of a run wait like this.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import StoreUnavailable
from ..store.protocol import Ending
from .first_failure import SIGNAL_DELAY_S

T = TypeVar("T")
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class FirstOf:
    """Comes as soon as one of ``ends`` does."""

    ends: tuple[Ending, ...] = ()

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for it, and return whether it has come."""
        wait = self.ends[-1].wait if self.ends else time.sleep
        until = time.monotonic() + timeout_s
        while not any(end.wait(0) for end in self.ends):
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            wait(min(left_s, SIGNAL_DELAY_S))
        return True


def pause(pause_s: float, end: Ending) -> bool:
    """Wait, but no longer than until ``end`` comes. Return whether it has come."""
    return end.wait(pause_s)


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
        pause: Callable[[float, Ending], bool] = pause,
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

    def at_most(self, limit_s: float) -> Patience:
        """Another patience that ends after ``limit_s`` seconds, if this one does not end before."""
        return Patience(
            min(limit_s, self._limit_s), tell=self._tell, clock=self._clock, pause=self._pause, chance=self._chance
        )

    def insist(self, action: Callable[[], T], end: Ending = FirstOf()) -> T:
        """Repeat ``action`` until it succeeds. Raises ``StoreUnavailable`` only when patience ends or ``end`` has come,
        and any other error at once."""
        try:
            result = action()
        except StoreUnavailable as error:
            if self._left_s() <= 0:
                raise
            self._begin_to_wait(error)
            try:
                result = self._try_again(action, end, error)
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

    def _try_again(self, action: Callable[[], T], end: Ending, error: StoreUnavailable) -> T:
        last = self._clock() + self._limit_s
        pause_s = FIRST_PAUSE_S
        while (left_s := min(self._left_s(), last - self._clock())) > 0:
            if self._pause(min(left_s, pause_s * (0.5 + self._chance() / 2)), end):
                raise error
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            try:
                return action()
            except StoreUnavailable as again:
                error = again
        raise error
