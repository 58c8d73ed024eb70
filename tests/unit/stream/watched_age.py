# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The age layer with somebody who is told of every call, before and after it, and may raise or change bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zrb.seal.age import AgeOpener, AgeSealer, PartOpening, PartSeal, Run

Watch = Callable[..., None]
"""Called with the name of the call and the buffers that it works on."""


class WatchedSealer(AgeSealer):
    """Tells of ``begin``, ``cut``, ``seal``, ``run sealed``, ``prove`` and ``proved``."""

    def __init__(self, recipients: Sequence[str], watch: Watch) -> None:
        super().__init__(recipients)
        self._watch = watch

    def begin(self) -> Any:
        self._watch("begin")
        return _WatchedSeal(super().begin(), self._watch)


class _WatchedSeal:
    def __init__(self, seal: PartSeal, watch: Watch) -> None:
        self.header = seal.header
        self._seal = seal
        self._watch = watch

    def cut(self, plain_bytes: int, *, last: bool) -> Any:
        self._watch("cut")
        return _WatchedRun(self._seal.cut(plain_bytes, last=last), len(self.header), self._watch)


class _WatchedRun:
    def __init__(self, run: Run, header_bytes: int, watch: Watch) -> None:
        self.offset, self.plain_bytes, self.sealed_bytes = run.offset, run.plain_bytes, run.sealed_bytes
        self.header_bytes = header_bytes if run.offset == header_bytes else 0
        self._run = run
        self._watch = watch

    def seal(self, plain: memoryview, out: Sequence[memoryview]) -> None:
        self._watch("seal", self, plain, out)
        self._run.seal(plain, out)
        self._watch("run sealed", self, plain, out)

    def prove(self, sealed: Sequence[memoryview], out: memoryview) -> None:
        self._watch("prove", self, sealed, out)
        self._run.prove(sealed, out)
        self._watch("proved", self, sealed, out)


class WatchedOpener(AgeOpener):
    """Tells of ``begin`` and ``open``."""

    def __init__(self, identities: Sequence[str], watch: Watch) -> None:
        super().__init__(identities)
        self._watch = watch

    def begin(self, head: memoryview, *, part_bytes: int) -> Any:
        self._watch("begin")
        return _WatchedOpening(super().begin(head, part_bytes=part_bytes), self._watch)


class _WatchedOpening:
    def __init__(self, opening: PartOpening, watch: Watch) -> None:
        self.header_bytes, self.plain_bytes = opening.header_bytes, opening.plain_bytes
        self._opening = opening
        self._watch = watch

    def open(self, offset: int, sealed: Sequence[memoryview], out: memoryview) -> int:
        self._watch("open")
        return self._opening.open(offset, sealed, out)
