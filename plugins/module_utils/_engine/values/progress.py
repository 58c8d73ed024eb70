# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reports of a running operation (docs/cli.md, "Progress")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Phase = Literal["plan", "resume", "send", "upload", "commit", "check", "fetch", "receive", "verify"]


class Progress(Protocol):
    """Receives the reports of a running operation. Calls are cheap and thread-safe, and never raise."""

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """An operation begins. ``total`` is its size in bytes if known."""

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """``current`` of ``total`` bytes are done in ``phase``. ``current`` may decrease after a retry."""

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Something happened."""

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """The operation ended."""


@dataclass(frozen=True, slots=True)
class Silent:
    """A :class:`Progress` that shows nothing."""

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Nothing."""

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Nothing."""

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Nothing."""

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Nothing."""
