# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared buffers as the files that age reads and writes inside a worker process."""

from __future__ import annotations

from collections.abc import Callable

from .buffers import SharedBuffers
from .workers import WorkerSide


class BufferReader:
    """Reads views one after the other; ``next_view`` gives an empty one at the end."""

    def __init__(self, next_view: Callable[[], memoryview], *, first: memoryview = memoryview(b"")) -> None:  # noqa: B008
        self._next_view = next_view
        self._view = first

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; empty at the end."""
        if not self._view:
            self._view = self._next_view()
        piece = bytes(self._view[:size] if size >= 0 else self._view)
        self._view = self._view[len(piece) :]
        return piece


class BufferWriter:
    """Fills buffers that the owner returned, and calls ``hand_over(buffer, length)`` for each full one."""

    def __init__(self, side: WorkerSide, buffers: SharedBuffers, hand_over: Callable[[int, int], None]) -> None:
        self._side = side
        self._buffers = buffers
        self._hand_over = hand_over
        self._buffer = -1
        self._view = memoryview(b"")
        self._filled = 0

    def write(self, data: bytes) -> int:
        """Take all of ``data``."""
        rest = memoryview(data)
        while rest:
            if self._filled == len(self._view):
                self._next_buffer()
            piece = rest[: len(self._view) - self._filled]
            self._view[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
        return len(data)

    def flush(self) -> None:
        """Nothing: buffers are handed over when they are full."""

    def finish(self) -> None:
        """Hand over what is left."""
        if self._filled:
            self._hand_over(self._buffer, self._filled)
            self._view = memoryview(b"")
            self._filled = 0

    def _next_buffer(self) -> None:
        self.finish()
        self._buffer = self._side.returned.recv()
        self._view = self._buffers.view(self._buffer)
        self._filled = 0
