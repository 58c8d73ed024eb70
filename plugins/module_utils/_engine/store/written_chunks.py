# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The chunks of one object that have been written so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..errors import StoreError

Proof = TypeVar("Proof")


@dataclass(frozen=True, slots=True)
class WrittenChunk(Generic[Proof]):
    """One chunk: its position in the object, and the store's answer."""

    number: int
    offset: int
    bytes: int
    proof: Proof


class WrittenChunks(Generic[Proof]):
    """Collects chunks from any thread, in any order. A chunk that is written again replaces the earlier one."""

    def __init__(self, key: str, *, total_chunks: int | None) -> None:
        self._key = key
        self._total = total_chunks
        self._chunks: dict[int, WrittenChunk[Proof]] = {}
        self._lock = threading.Lock()

    def add(self, chunk: WrittenChunk[Proof]) -> None:
        """Remember that ``chunk`` was written."""
        with self._lock:
            self._chunks[chunk.number] = chunk

    def whole(self) -> list[WrittenChunk[Proof]]:
        """All chunks in order. Raises :class:`StoreError` if they leave a hole: such an object must never become
        visible."""
        with self._lock:
            chunks = [self._chunks[number] for number in sorted(self._chunks)]
        expected = self._total if self._total is not None else max(1, len(chunks))
        end = 0
        for number, chunk in enumerate(chunks):
            if chunk.number != number or chunk.offset != end:
                break
            end += chunk.bytes
        else:
            if len(chunks) == expected:
                return chunks
        raise StoreError(
            f"The upload of {self._key} cannot be completed: it has {len(chunks)} of {expected} chunks, or a hole "
            "between them",
            subject=self._key,
            next_step="Nothing was published. This is a bug in zrb: please report it",
        )
