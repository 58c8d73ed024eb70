# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text stream that shows progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO


class Screen:
    """A text stream that may disappear. From then on, everything written to it is discarded."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._terminal = stream.isatty()

    def write_line(self, line: str) -> None:
        """Write a line and show it at once."""
        self.write(line + "\n")
        self.flush()

    def write(self, text: str) -> int:
        """Like a text file."""
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Like a text file."""
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether the stream was a terminal at the start."""
        return self._terminal

    def _try(self, action: Callable[[TextIO], object]) -> None:
        if self._stream is not None:
            try:
                action(self._stream)
            except (OSError, ValueError):
                self._stream = None


def own_copy(stream: TextIO) -> TextIO:
    """Return another stream to the same file, if ``stream`` has a file. A thread that is stuck in a write to it holds
    no lock that Python needs at exit."""
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return open(descriptor, "w", encoding=stream.encoding, errors="backslashreplace")  # noqa: PTH123 - no path


def log_line(message: str, *, level: str, facts: dict[str, Any]) -> str:
    """Format a log message as one line of text."""
    prefix = "warning: " if level == "warning" else ""
    details = " ".join(f"{name}={value}" for name, value in facts.items())
    return f"{prefix}{message}{f' [{details}]' if details else ''}"
