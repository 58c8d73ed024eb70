# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SIGINT, SIGTERM and SIGHUP end a command through its normal error path, so that it stops cleanly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Inside the block, the first signal raises :class:`Interrupted` in the main thread. Further signals are ignored
    while the run stops. A signal that the caller ignores (``nohup``) stays ignored."""
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, _frame: FrameType | None) -> None:
        for name in before:
            signal.signal(name, signal.SIG_IGN)
        raise Interrupted(number, next_step="Run the same command again: a backup resumes where it stopped")

    try:
        for name in SIGNALS:
            handler = signal.getsignal(name)
            if handler is not signal.SIG_IGN:
                before[name] = handler
                signal.signal(name, stop)
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
