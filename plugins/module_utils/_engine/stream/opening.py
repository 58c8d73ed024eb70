# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The worker process that decrypts: a verified age file in, blocks of plaintext out.

Messages in: ``("pool", part, [(buffer, length), …])`` for a part that waits in the pool, ``("spool", part, path)`` for
one in the spool. Messages out: ``("chunk", buffer)`` when an input buffer was read, ``("block", part, index, length)``
when a block is full, ``("end", part)``.
"""

from __future__ import annotations

from pathlib import Path

from ..seal.age import AgeOpener
from .buffers import SharedBuffers
from .worker_files import BufferReader, BufferWriter
from .workers import WorkerSide


def opening_main(
    side: WorkerSide, *, blocks: SharedBuffers, chunks: SharedBuffers, identities: tuple[str, ...]
) -> None:
    """Decrypt part after part until the owner closes the pipe."""
    opener = AgeOpener(identities)
    while True:
        kind, part, where = side.inbox.recv()
        opening = _PartOpening(side, blocks, part)
        if kind == "spool":
            opening.open_file(opener, Path(where))
        else:
            opening.open_chunks(opener, chunks, where)
        side.send("end", part)


class _PartOpening:
    """One part on its way from ciphertext to blocks."""

    def __init__(self, side: WorkerSide, blocks: SharedBuffers, part: int) -> None:
        self._side = side
        self._part = part
        self._writer = BufferWriter(side, blocks, lambda block, length: side.send("block", part, block, length))

    def open_file(self, opener: AgeOpener, path: Path) -> None:
        """Decrypt a spooled part."""
        with path.open("rb") as spooled:
            self._decrypt(opener, BufferReader(lambda: memoryview(spooled.read(1 << 20))))

    def open_chunks(self, opener: AgeOpener, chunks: SharedBuffers, pieces: list[tuple[int, int]]) -> None:
        """Decrypt a part that lies in ``pieces`` of the pool; every buffer goes back once it is read."""
        waiting = list(reversed(pieces))
        reading: list[int] = []

        def next_chunk() -> memoryview:
            if reading:
                self._side.send("chunk", reading.pop())
            if not waiting:
                return memoryview(b"")
            buffer, length = waiting.pop()
            reading.append(buffer)
            return chunks.view(buffer, length)

        self._decrypt(opener, BufferReader(next_chunk))
        while reading or waiting:  # age may know the end without reading up to it
            next_chunk()

    def _decrypt(self, opener: AgeOpener, reader: BufferReader) -> None:
        opener.decrypt(reader, self._writer)
        self._writer.finish()
