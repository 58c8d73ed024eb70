# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A text stream to show progress on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO


class Screen:
    """A text stream that may vanish: from then on it swallows everything."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._terminal = stream.isatty()

    def write_line(self, line: str) -> None:
        """One whole line, shown at once."""
        self.write(line + "\n")
        self.flush()

    def write(self, text: str) -> int:
        """As a text file does."""
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As a text file does."""
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        """Whether it was a terminal at the beginning."""
        return self._terminal

    def _try(self, action: Callable[[TextIO], object]) -> None:
        if self._stream is not None:
            try:
                action(self._stream)
            except (OSError, ValueError):
                self._stream = None


def own_copy(stream: TextIO) -> TextIO:
    """Another stream to the same file, if ``stream`` has one. A thread that writes to it, and waits, holds no lock that
    Python needs when it ends."""
    try:
        descriptor = os.dup(stream.fileno())
    except (OSError, ValueError):
        return stream
    return open(descriptor, "w", encoding=stream.encoding, errors="backslashreplace")  # noqa: PTH123 - no path


def log_line(message: str, *, level: str, facts: dict[str, Any]) -> str:
    """A log message as one line of text."""
    prefix = "warning: " if level == "warning" else ""
    details = " ".join(f"{name}={value}" for name, value in facts.items())
    return f"{prefix}{message}{f' [{details}]' if details else ''}"
