# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bar on a terminal."""

from __future__ import annotations

import time
from typing import Any, Literal, TextIO, cast

from ..values.progress import Phase
from ..values.size_text import human_size
from .screen import Screen, log_line


class Bar:
    """A bar with phase, size, speed and remaining time. It is redrawn only when something is reported."""

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as RichProgress

        self._verbose = verbose
        self._task: Any = None
        self._phase = ""
        self._drawn_at = -1.0
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=cast(TextIO, Screen(stream))),
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Print what begins. The bar appears with the first phase."""
        self._print(f"{operation}: {message}{f' ({human_size(total)})' if total else ''}")

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Move the bar. Each phase has a bar of its own."""
        if self._task is None or phase != self._phase:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(phase, total=total)
            self._phase = phase
            self._bars.start()
            self._drawn_at = -1.0
        description = f"{phase} {message}".rstrip()
        self._bars.update(self._task, completed=current, total=total, description=description)
        now = time.monotonic()
        if now - self._drawn_at >= 0.1 or current == total:
            self._bars.refresh()
            self._drawn_at = now

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Print the message above the bar, with its facts if ``verbose``."""
        self._print(log_line(message, level=level, facts=facts if self._verbose else {}))

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:  # noqa: ARG002
        """Remove the bar. The caller prints the result."""
        self.close()

    def close(self) -> None:
        """Restore the terminal. May be called twice."""
        self._bars.stop()
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

    def _print(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
