# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The worker process that encrypts: blocks of plaintext in, chunks of ciphertext out, one age file a part.

Messages in: ``("block", part, index, length)`` and ``("end", part)``. Messages out: ``("block", index)`` when a block
was read, ``("chunk", part, number, offset, buffer, length)`` when a chunk is full, and
``("end", part, chunks, bytes)``. ``("rest",)`` between two streams is answered by ``("resting",)``.
"""

from __future__ import annotations

from ..seal.age import AgeSealer
from .buffers import SharedBuffers
from .worker_files import BufferReader, BufferWriter
from .workers import WorkerSide


def sealing_main(
    side: WorkerSide, *, blocks: SharedBuffers, chunks: SharedBuffers, recipients: tuple[str, ...]
) -> None:
    """Encrypt part after part until the owner closes the pipe."""
    sealer = AgeSealer(recipients)
    while True:
        message = side.inbox.recv()
        if message[0] == "rest":
            side.send("resting")
        else:
            _kind, part, block, length = message
            _PartSeal(side, blocks, chunks, part).run(sealer, block, length)


class _PartSeal:
    """One part on its way from blocks to chunks."""

    def __init__(self, side: WorkerSide, blocks: SharedBuffers, chunks: SharedBuffers, part: int) -> None:
        self._side = side
        self._blocks = blocks
        self._chunks = chunks
        self._part = part
        self._block: int | None = None
        self._sent_chunks = 0
        self._sent_bytes = 0

    def run(self, sealer: AgeSealer, block: int, length: int) -> None:
        """Encrypt the part that begins with ``length`` bytes in ``block``."""
        self._block = block
        reader = BufferReader(self._next_block, first=self._blocks.view(block, length))
        writer = BufferWriter(self._side, self._chunks, self._send_chunk)
        sealer.encrypt(reader, writer)
        writer.finish()
        self._side.send("end", self._part, self._sent_chunks, self._sent_bytes)

    def _next_block(self) -> memoryview:
        if self._block is not None:
            self._side.send("block", self._block)
            self._block = None
        message = self._side.inbox.recv()
        if message[0] == "end":
            return memoryview(b"")
        _kind, _part, self._block, length = message
        return self._blocks.view(self._block, length)

    def _send_chunk(self, buffer: int, length: int) -> None:
        self._side.send("chunk", self._part, self._sent_chunks, self._sent_bytes, buffer, length)
        self._sent_chunks += 1
        self._sent_bytes += length
