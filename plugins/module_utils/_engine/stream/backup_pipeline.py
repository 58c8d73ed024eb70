# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Store a stream. This file is the way of a block of plaintext, from the pipe to full chunks of ciphertext.

::

    the reader              takes a free block, fills it, hashes it (BLAKE3 of the stream and of the part), and cuts
    (the calling thread)    it off the part: from then on it is known where in the part its ciphertext will lie.
                            Takes the chunks that lie there, and queues the block.
    seal threads            encrypt the block into its chunks; the block is free again.
                            In turn: SHA-256 of the part and of the chunk.
                            The proof: decrypt what lies in the chunks into a scratch of the thread's own.
                            In turn: BLAKE3 of what was decrypted, compared with the reader's at the end of the part;
                            chunks that are full now go to the uploads.
    transfer threads        put chunks into the store and give them back (part_uploads.py).

**The proof** finds a bit that flips in memory or in a processor. What flips after a block was hashed, and before or
while it is encrypted, decrypts to other bytes than were read; what flips in the ciphertext before or after its SHA-256
does not decrypt; what flips later has another SHA-256 than the one that the store is given with the chunk, if the store
keeps checksums. Then nothing is committed.

**Who owns what.** Only the reader takes buffers. A block belongs to the reader, and from the queue on to one seal
thread. A chunk may be written by several seal threads at once, each in a range of its own; it belongs to the uploads
as soon as it is full, which the thread knows whose turn reaches its end.

**Nothing waits for ever.** Only three things are waited for. *A free buffer*, by the reader alone: what it queued
before has all its buffers, so that it goes through; and a pool has at least as many chunks as a block can touch. *A
turn*, by a seal thread: blocks are begun in the order of the stream, so that those before are in the hands of other
threads, and the first of them waits for nobody. *The last part*, by the reader. The first failure ends each of them.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..errors import EngineError, MemoryFault, StreamNotReproducible
from ..plan.buffer_layout import BufferLayout
from ..seal.age import AgeSealer, Run
from ..seal.hashing import part_hasher, stream_hasher
from ..values.manifest import Checksum, Part
from .bandwidth import Bandwidth
from .buffer_pool import BufferPool
from .first_failure import SIGNAL_DELAY_S, Failure
from .part_uploads import Chunk, Destination, Uploads
from .threads import Threads, Turns

EDGE_BYTES = 312
"""Bytes kept of both ends of the stream: a ``zfs send`` stream begins and ends with a record of this size."""

PIPE_BYTES = 1 << 20
"""What Linux gives anybody: fewer and longer reads than with the 64 KiB of a new pipe."""

AtEnd = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class StoredStream:
    """What became of a stream. ``blake3`` is hex; the ledger knows each of the ``parts``."""

    stream_bytes: int
    blake3: str
    parts: int
    parts_resumed: int


class BackupPipeline:
    """Stores one stream after another. Holds no buffer and no thread between two. Others may share its ``pace``, and
    all streams end when something fails that they are ``within``."""

    def __init__(
        self,
        layout: BufferLayout,
        *,
        sealer: AgeSealer,
        uploaders: int,
        bandwidth: Bandwidth | None = None,
        proof: bool = True,
        within: Failure | None = None,
    ) -> None:
        self.layout = layout
        self.sealer = sealer
        self.uploaders = uploaders
        self.bandwidth = bandwidth or Bandwidth(0)
        self.proof = proof
        self.within = within

    def store_stream(self, source_fd: int, destination: Destination, *, at_end: AtEnd) -> StoredStream:
        """Read ``source_fd`` to its end and store it.

        ``at_end`` is called with the first and last 312 bytes once the source has ended, and raises if it ended too
        early: the last, short part is then never counted as stored. On any failure everything stops, open uploads are
        aborted, and the first error is raised.
        """
        stream = _Stream(self, destination)
        try:
            return stream.store(source_fd, at_end)
        finally:
            stream.close()


class _Stream:
    """One stream on its way: its buffers, its threads, and what a seal thread does with a block."""

    def __init__(self, pipeline: BackupPipeline, destination: Destination) -> None:
        layout = pipeline.layout
        self._destination = destination
        self._sealer = pipeline.sealer
        self._proof = pipeline.proof
        self.failure = Failure(pipeline.within)
        self.blocks = BufferPool(layout.blocks, layout.block_bytes, self.failure)
        self.chunks = BufferPool(layout.chunks, layout.chunk_bytes, self.failure)
        self._scratch = _Scratch(layout.block_bytes)
        self._cut_blocks = 0
        self._hashing = Turns(self.failure)
        self._proving = Turns(self.failure)
        self._seals = Threads(layout.threads, self.failure, name="seal")
        self._transfers = Threads(
            pipeline.uploaders, self.failure, name="transfer", begin=partial(pipeline.bandwidth.join, self.failure)
        )
        self.uploads = Uploads(destination, self.chunks, self._transfers, self.failure)
        # A directory keeps no checksums, so it would take the hash of a chunk for nothing.
        self._chunk_hashes = destination.store.kind == "s3"
        destination.store.regulate(pipeline.bandwidth.flow)

    def store(self, source_fd: int, at_end: AtEnd) -> StoredStream:
        """Read the stream in this thread; all else happens in the others."""
        try:
            reader = _Reader(self, self._destination, source_fd, at_end)
            reader.read_all()
            self.uploads.wait_for(reader.parts_begun)
        except BaseException as error:
            self.failure.set(error)
            raise
        return StoredStream(reader.stream_bytes, reader.blake3, reader.parts_begun, self.uploads.resumed)

    def close(self) -> None:
        """Stop all threads, abort what was not completed, and free the buffers."""
        ended = [self._seals.stop(), self._transfers.stop()]
        if self.failure.happened:
            self.uploads.abort()
        if all(ended):  # else a request that hangs still reads one of them
            self.blocks.close()
            self.chunks.close()
        self.failure.close()

    def begin_part(self, index: int) -> _Part:
        """A part that has to be sealed."""
        return _Part(self._sealer, self.uploads, index)

    def cut(self, part: _Part, buffer: memoryview, length: int, *, last: bool) -> None:
        """The reader's last step: the next ``length`` bytes of ``part`` are in ``buffer``. Decides where their
        ciphertext goes, and queues them."""
        run = part.seal.cut(length, last=last)
        header = part.seal.header
        if run.offset > len(header):
            header = b""  # it lies before an earlier block
        spans = list(self._spans(part, run.offset - len(header), run.offset + run.sealed_bytes, last=last))
        sealed = _write(header, [span.view for span in spans])
        block = _Block(
            part=part,
            number=self._cut_blocks,
            last=last,
            run=run,
            buffer=buffer,
            header=header,
            spans=spans,
            sealed=sealed,
        )
        self._cut_blocks += 1
        self._seals.submit(partial(self._seal, block))

    def _spans(self, part: _Part, start: int, end: int, *, last: bool) -> Iterator[_Span]:
        """Where the bytes ``start`` to ``end`` of ``part`` go. Takes a chunk as soon as one is begun."""
        size = self.chunks.size
        while start < end:
            number, within = divmod(start, size)
            if not within:
                part.chunk = Chunk(number, start, self.chunks.take())
            length = min(end - start, size - within)
            start += length
            part.chunk.length += length
            full = part.chunk.length == size or (last and start == end)
            yield _Span(part.chunk, part.chunk.buffer[within : within + length], full)

    def _seal(self, block: _Block) -> None:
        """A seal thread's way with a block."""
        part, run = block.part, block.run
        run.seal(block.buffer[: run.plain_bytes], block.sealed)
        self.blocks.give(block.buffer)
        with self._hashing.turn(block.number):
            for span in block.spans:
                self._hash(part, span)
            if not self._proof:
                self._hand_over(block)
        if self._proof:
            proof = self._scratch.view[: run.plain_bytes]
            self._prove(block, proof)
            with self._proving.turn(block.number):
                part.proof.update(proof)
                if block.last and part.proof.hexdigest() != part.plain_blake3:
                    raise _memory_fault(part)
                self._hand_over(block)

    def _hash(self, part: _Part, span: _Span) -> None:
        part.sha256.update(span.view)
        chunk = span.chunk
        if chunk.number == 0:
            if span.full:
                chunk.sha256 = part.sha256.digest()  # so far, they are the same bytes
        elif self._chunk_hashes:
            chunk.hasher.update(span.view)
            if span.full:
                chunk.sha256 = chunk.hasher.digest()

    def _prove(self, block: _Block, proof: memoryview) -> None:
        try:
            block.run.prove(block.sealed, proof)
        except EngineError as error:
            raise _memory_fault(block.part) from error
        if not _lies_in(block.header, block.spans):
            raise _memory_fault(block.part)

    def _hand_over(self, block: _Block) -> None:
        """All up to the end of this block is as it should be: upload the chunks that end in it."""
        part = block.part
        *full, final = block.spans
        for span in full:
            part.upload.put(span.chunk)
        if block.last:
            part.upload.put_last(final.chunk, part.sealed(final.chunk))
        elif final.full:
            part.upload.put(final.chunk)


class _Part:
    """One part while it is sealed. The reader writes what stands first, seal threads the rest, in turn."""

    def __init__(self, sealer: AgeSealer, uploads: Uploads, index: int) -> None:
        self.seal = sealer.begin()
        self.chunk: Chunk
        """The one that the reader filled last."""
        self.plain_bytes = 0
        self.plain_blake3 = ""
        """Both are known when the last block is queued."""

        self.upload = uploads.begin(index)
        self.sha256 = part_hasher()
        self.proof = stream_hasher()

    def sealed(self, last: Chunk) -> Part:
        """The part in the manifest, but for what the store answers; ``last`` is its last chunk."""
        return Part(
            index=self.upload.index,
            key=self.upload.key,
            plain_bytes=self.plain_bytes,
            plain_blake3=self.plain_blake3,
            bytes=last.offset + last.length,
            sha256=self.sha256.hexdigest(),
            checksum=Checksum("none", ""),
        )


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of ciphertext in one chunk; ``full`` if no other stretch of that chunk follows."""

    chunk: Chunk
    view: memoryview
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A block that was cut off its part: plaintext in ``buffer``, and the place of its ciphertext in the chunks.

    ``spans`` begin with the header, if this is the first block of its part; ``sealed`` are they without it."""

    part: _Part
    number: int
    last: bool
    run: Run
    buffer: memoryview
    header: bytes
    spans: Sequence[_Span]
    sealed: Sequence[memoryview]


class _Scratch(threading.local):
    """Where a thread decrypts to: every thread has its own ``view``, which stays in the cache of its core."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))


class _Reader:
    """Reads the source into blocks, hashes them in order, cuts parts."""

    def __init__(self, stream: _Stream, destination: Destination, source_fd: int, at_end: AtEnd) -> None:
        self._stream = stream
        self._destination = destination
        self._fd = source_fd
        with suppress(OSError):  # no pipe, or more than this user may have: it is only slower then
            fcntl.fcntl(source_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._at_end = at_end
        self._poll = select.poll()
        self._poll.register(source_fd, select.POLLIN)
        self._poll.register(stream.failure.wake_fd, select.POLLIN)
        self._hash = stream_hasher()
        self.stream_bytes = 0
        self.parts_begun = 0
        self._ended = False
        self._head = b""
        self._tail = b""

    @property
    def blake3(self) -> str:
        """BLAKE3 of all that was read, hex."""
        return self._hash.hexdigest()

    def read_all(self) -> None:
        """Part after part to the end of the stream; a stream that ends on a boundary makes no empty part."""
        while not self._ended:
            if self._read_part(self.parts_begun):
                self.parts_begun += 1

    def _read_part(self, index: int) -> bool:
        """One part; false if the stream ended before it. A block is handed on when it is known whether another block
        of the part follows, since the last one is sealed in another way."""
        known = self._destination.ledger.known(index)
        part = None
        part_hash = stream_hasher()
        length = 0
        block = self._read_block(self._destination.part_size)
        while block is not None:
            buffer, filled = block
            part_hash.update(buffer[:filled])
            length += filled
            block = self._read_block(self._destination.part_size - length)
            if block is None and self._ended:
                self._at_end(self._head, self._tail)
            if known is not None:
                self._stream.blocks.give(buffer)
                continue
            part = part or self._stream.begin_part(index)
            if block is None:
                part.plain_bytes, part.plain_blake3 = length, part_hash.hexdigest()
            self._stream.cut(part, buffer, filled, last=block is None)
        if not length:
            self._at_end(self._head, self._tail)
        elif known is not None:
            _check_reproduced(known, length, part_hash.hexdigest())
            self._stream.uploads.resume(known)
        return bool(length)

    def _read_block(self, room: int) -> tuple[memoryview, int] | None:
        """The next block of at most ``room`` bytes, filled as far as the stream goes; ``None`` if there is nothing
        more to read."""
        if self._ended or not room:
            return None
        buffer = self._stream.blocks.take()
        view = buffer[:room]
        filled = self._fill(view)
        self._ended = filled < len(view)
        if not filled:
            self._stream.blocks.give(buffer)
            return None
        self._observe(view[:filled])
        return buffer, filled

    def _fill(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            while not self._poll.poll(SIGNAL_DELAY_S * 1000):
                pass
            self._stream.failure.check()
            count = os.readv(self._fd, [view[filled:]])
            if count == 0:
                break
            filled += count
        return filled

    def _observe(self, view: memoryview) -> None:
        self._hash.update(view)
        self.stream_bytes += len(view)
        if len(self._head) < EDGE_BYTES:
            self._head += bytes(view[: EDGE_BYTES - len(self._head)])
        self._tail = (self._tail + bytes(view[-EDGE_BYTES:]))[-EDGE_BYTES:]


def _write(header: bytes, views: Sequence[memoryview]) -> list[memoryview]:
    """Write ``header`` to the beginning of ``views``; what is left of them."""
    left = []
    for view in views:
        count = min(len(header), len(view))
        view[:count] = header[:count]
        header = header[count:]
        if count < len(view):
            left.append(view[count:])
    return left


def _lies_in(header: bytes, spans: Sequence[_Span]) -> bool:
    for span in spans:
        count = min(len(header), len(span.view))
        if span.view[:count] != header[:count]:
            return False
        header = header[count:]
    return True


def _memory_fault(part: _Part) -> MemoryFault:
    return MemoryFault(
        f"What was to be stored as {part.upload.key} does not decrypt to what was read: a bit changed in the memory or "
        "in the processor of this machine",
        subject=part.upload.key,
        next_step="Nothing was committed. Test the memory (memtest86+, the logs of ECC errors) first: "
        "what this machine writes elsewhere is not checked like this",
    )


def _check_reproduced(known: Part, length: int, blake3: str) -> None:
    if (known.plain_bytes, known.plain_blake3) != (length, blake3):
        raise StreamNotReproducible(
            f"zfs send gave other bytes for part {known.index} than before the interruption",
            subject=known.key,
            next_step="The parts stored so far cannot be continued; a new backup begins from the start",
        )
