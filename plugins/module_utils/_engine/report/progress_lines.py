# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the progress of an operation as JSON lines, plain lines or a bar (docs/cli.md, "Progress").

None of these ever raises or fails an operation. If the screen is gone, nothing more is written; if it accepts nothing,
nobody waits for it (:class:`Queued`). Each class is used by one thread at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from ..values.clock import utc_now
from ..values.progress import Phase, Progress, Silent
from ..values.size_text import human_size
from .logs import redacted
from .progress_queue import Queued
from .screen import Screen, log_line, own_copy

ProgressMode = Literal["auto", "bar", "lines", "json", "none"]
_DUMB = ("", "dumb", "unknown")
PROGRESS_MODES: tuple[ProgressMode, ...] = ("auto", "bar", "lines", "json", "none")


class JsonLines:
    """One JSON record per line, for playbooks and dashboards.

    Between the first and the last record of a phase, at most one record is written every ``interval_s`` seconds, so
    that a fast store does not flood a job log.
    """

    def __init__(
        self,
        stream: TextIO,
        job_id: str = "",
        *,
        clock: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        interval_s: float = 1.0,
    ) -> None:
        self._screen = Screen(stream)
        self._job_id = job_id
        self._clock = clock
        self._rate = _ReportRate(monotonic, interval_s=interval_s, step_percent=None)
        self._seq = 0
        self._operation = ""
        self._phase: str | None = None

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Write a ``start`` record. All following records contain ``operation``."""
        self._operation = operation
        self._write("start", current=0, total=total, message=message)

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Write a ``progress`` record, unless one was written a moment ago."""
        self._phase = phase
        if self._rate.is_due(phase, current, total):
            self._write("progress", current=current, total=total, message=message)

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Write a ``log`` record with ``level`` and ``facts``."""
        self._write("log", message=message, level=level, facts=facts)

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Write a ``finish`` record with ``status`` and ``result``."""
        self._write("finish", message="", status=status, result=result)

    def _write(
        self, record_type: str, *, message: str, current: int | None = None, total: int | None = None, **more: Any
    ) -> None:
        self._seq += 1
        record = {
            "seq": self._seq,
            "time": f"{self._clock().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "type": record_type,
            "operation": self._operation,
            "job_id": self._job_id,
            "phase": self._phase,
            "current": current,
            "total": total,
            "unit": "bytes",
            "message": message,
            **more,
        }
        self._screen.write_line(json.dumps(redacted(record), default=str))


class Lines:
    """A line of text every five percent or 30 seconds, for log files and simple terminals."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        interval_s: float = 30.0,
        step_percent: int = 5,
    ) -> None:
        self._screen = Screen(stream)
        self._verbose = verbose
        self._rate = _ReportRate(monotonic, interval_s=interval_s, step_percent=step_percent)
        self._operation = ""

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Print what begins, and its size."""
        self._operation = operation
        size = f" ({human_size(total)})" if total else ""
        self._screen.write_line(f"{operation}: {message}{size}")

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Print how far ``phase`` is, if a line is due."""
        if not self._rate.is_due(phase, current, total):
            return
        if total:
            done = f"{100 * current // total} % ({human_size(current)} of {human_size(total)})"
        else:
            done = human_size(current)
        self._screen.write_line(f"{self._operation}: {phase} {done}{', ' + message if message else ''}")

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Print the message, with its facts if ``verbose``."""
        self._screen.write_line(log_line(message, level=level, facts=facts if self._verbose else {}))

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Do nothing. The caller prints the result."""


class _ReportRate:
    """Decides when to report again: on a new phase, a step back, the end, a percent step, or after an interval."""

    def __init__(self, monotonic: Callable[[], float], *, interval_s: float, step_percent: int | None) -> None:
        self._monotonic = monotonic
        self._interval_s = interval_s
        self._step_percent = step_percent
        self._phase: str | None = None
        self._step = 0
        self._current = 0
        self._said_at = 0.0

    def is_due(self, phase: str, current: int, total: int | None) -> bool:
        now = self._monotonic()
        step = 100 * current // total // self._step_percent if self._step_percent and total else 0
        ended = current == total and self._current != current
        due = (
            phase != self._phase
            or current < self._current
            or ended
            or step > self._step
            or now - self._said_at >= self._interval_s
        )
        if due:
            self._phase, self._step, self._current, self._said_at = phase, step, current, now
        return due


@contextmanager
def open_progress(
    mode: ProgressMode, *, stream: TextIO, job_id: str = "", verbose: bool = False, interval_s: float = 1.0
) -> Iterator[Progress]:
    """Provide the :class:`Progress` for ``mode`` on ``stream``. ``auto`` is a bar if the terminal can move its cursor,
    otherwise lines. ``interval_s`` is that of :class:`JsonLines`."""
    if mode == "none":
        yield Silent()
        return
    if mode == "auto":
        mode = "bar" if stream.isatty() and os.environ.get("TERM", "") not in _DUMB else "lines"
    copy, at_end = own_copy(stream), ExitStack()
    if copy is not stream:
        at_end.callback(_close, copy)
    shown: Progress
    if mode == "bar":
        from .progress_bar import Bar

        drawn = Bar(copy, verbose=verbose)
        shown = drawn
        at_end.callback(drawn.close)
    else:
        shown = JsonLines(copy, job_id, interval_s=interval_s) if mode == "json" else Lines(copy, verbose=verbose)
    queued = Queued(shown, at_end=at_end.close)
    try:
        yield queued
    finally:
        queued.close()


def _close(stream: TextIO) -> None:
    with suppress(OSError):  # the screen is gone
        stream.close()
