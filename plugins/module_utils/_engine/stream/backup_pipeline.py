# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stores a stream. This file moves blocks of plaintext from the pipe into full chunks of ciphertext.

::

    the reader              takes a free block, fills it, hashes it (BLAKE3 of the stream and of the part), and cuts
    (the calling thread)    it off the part: this fixes the position of its ciphertext in the part. Takes the chunks
                            at that position, and queues the block.
    seal threads            encrypt the block into its chunks; the block is free again.
                            In turn: SHA-256 of the part.
                            In turn, so that another thread can have the first one: SHA-256 of the chunk.
                            The proof: decrypt the contents of the chunks into a scratch buffer of the thread.
                            In turn: BLAKE3 of what was decrypted, compared with the reader's at the end of the part.
                            Chunks that are full now go to the uploads.
    transfer threads        put chunks into the store and give them back (part_uploads.py).

**The proof** finds bits that flip in memory or in a processor. If a bit flips after a block was hashed and before its
encryption ends, the chunks decrypt to other bytes than were read. If it flips in the ciphertext before or after its
SHA-256 is computed, decryption fails. If it flips later, the chunk no longer has the SHA-256 that the store gets with
it, if the store keeps checksums. In each case nothing is committed.

**Ownership.** Only the reader takes buffers. A block belongs to the reader until it is queued, then to one seal
thread. Several seal threads may write one chunk at once, each in its own range. A full chunk belongs to the uploads;
the thread whose turn reaches its end hands it over.

**No deadlock.** There are only three waits. *The reader waits for a free buffer*: blocks that it queued have all their
buffers, so they get done; and a pool has at least as many chunks as one block can touch. *A seal thread waits for its
turn*: blocks are begun in the order of the stream, so other threads work on the earlier ones, and the first of these
waits for nothing. *The reader waits for the last part.* The first failure ends all three.
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
"""Linux allows any user this size. It makes fewer and longer reads than the 64 KiB of a new pipe."""

AtEnd = Callable[[bytes, bytes], None]


@dataclass(frozen=True, slots=True)
class StoredStream:
    """The result for one stream. ``blake3`` is hex; the ledger knows each of the ``parts``."""

    stream_bytes: int
    blake3: str
    parts: int
    parts_resumed: int


class BackupPipeline:
    """Stores one stream after another, and holds no buffer and no thread between two. Pipelines may share a
    ``bandwidth``. All streams end when the failure happens that they are ``within``."""

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

        Calls ``at_end`` with the first and last 312 bytes once the source has ended. It raises if the stream ended too
        early: then the last, short part never counts as stored. After any failure, stops everything, aborts open
        uploads, and raises the first error.
        """
        stream = _Stream(self, destination)
        try:
            return stream.store(source_fd, at_end)
        finally:
            stream.close()


class _Stream:
    """One stream in progress: its buffers, its threads, and what a seal thread does with a block."""

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
        self._chunk_hashing = Turns(self.failure)
        self._proving = Turns(self.failure)
        self._seals = Threads(layout.threads, self.failure, name="seal")
        self._transfers = Threads(
            pipeline.uploaders, self.failure, name="transfer", begin=partial(pipeline.bandwidth.join, self.failure)
        )
        self.uploads = Uploads(destination, self.chunks, self._transfers, self.failure)
        # A directory keeps no checksums, so the hash of a chunk would be wasted.
        self._chunk_hashes = destination.store.kind == "s3"
        destination.store.regulate(pipeline.bandwidth.flow)

    def store(self, source_fd: int, at_end: AtEnd) -> StoredStream:
        """Read the stream in this thread. All else happens in the others."""
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
        if all(ended):  # otherwise a hanging request still reads one of them
            self.blocks.close()
            self.chunks.close()
        self.failure.close()

    def begin_part(self, index: int) -> _Part:
        """Begin a part that has to be sealed."""
        return _Part(self._sealer, self.uploads, index)

    def cut(self, part: _Part, buffer: memoryview, length: int, *, last: bool) -> None:
        """The reader's last step: ``buffer`` has the next ``length`` bytes of ``part``. Decide where their ciphertext
        goes, and queue them."""
        run = part.seal.cut(length, last=last)
        header = part.seal.header
        if run.offset > len(header):
            header = b""  # an earlier block has it
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
        """Yield where the bytes ``start`` to ``end`` of ``part`` go. Takes a chunk whenever a new one begins."""
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
        """All that a seal thread does with a block."""
        part, run = block.part, block.run
        run.seal(block.buffer[: run.plain_bytes], block.sealed)
        self.blocks.give(block.buffer)
        with self._hashing.turn(block.number):
            for span in block.spans:
                part.sha256.update(span.view)
                if span.full and span.chunk.number == 0:
                    span.chunk.sha256 = part.sha256.digest()  # so far, part and chunk are the same bytes
        with self._chunk_hashing.turn(block.number):
            if self._chunk_hashes:
                _hash_chunks(block.spans)
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

    def _prove(self, block: _Block, proof: memoryview) -> None:
        try:
            block.run.prove(block.sealed, proof)
        except EngineError as error:
            raise _memory_fault(block.part) from error
        if not _lies_in(block.header, block.spans):
            raise _memory_fault(block.part)

    def _hand_over(self, block: _Block) -> None:
        """Everything up to the end of this block is proved: upload the chunks that end in it."""
        part = block.part
        *full, final = block.spans
        for span in full:
            part.upload.put(span.chunk)
        if block.last:
            part.upload.put_last(final.chunk, part.sealed(final.chunk))
        elif final.full:
            part.upload.put(final.chunk)


def _hash_chunks(spans: Sequence[_Span]) -> None:
    """SHA-256 of each chunk. The first one of a part has that of the part."""
    for chunk, view, full in ((span.chunk, span.view, span.full) for span in spans if span.chunk.number):
        chunk.hasher.update(view)
        if full:
            chunk.sha256 = chunk.hasher.digest()


class _Part:
    """One part while it is sealed. The reader writes the first group of attributes, seal threads the rest, in turn."""

    def __init__(self, sealer: AgeSealer, uploads: Uploads, index: int) -> None:
        self.seal = sealer.begin()
        self.chunk: Chunk
        """The chunk that the reader took last."""
        self.plain_bytes = 0
        self.plain_blake3 = ""
        """Both are final when the last block is queued."""

        self.upload = uploads.begin(index)
        self.sha256 = part_hasher()
        self.proof = stream_hasher()

    def sealed(self, last: Chunk) -> Part:
        """The part for the manifest, still without the store's answer; ``last`` is its last chunk."""
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
    """A stretch of ciphertext in one chunk. It is ``full`` if it is the last one of that chunk."""

    chunk: Chunk
    view: memoryview
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A block that was cut off its part: plaintext in ``buffer``, and the place of its ciphertext in the chunks.

    ``spans`` include the header if this is the first block of its part; ``sealed`` never does."""

    part: _Part
    number: int
    last: bool
    run: Run
    buffer: memoryview
    header: bytes
    spans: Sequence[_Span]
    sealed: Sequence[memoryview]


class _Scratch(threading.local):
    """A buffer to decrypt into. Every thread has its own ``view``, which stays in the cache of its core."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))


class _Reader:
    """Reads the source into blocks, hashes them in order, cuts parts."""

    def __init__(self, stream: _Stream, destination: Destination, source_fd: int, at_end: AtEnd) -> None:
        self._stream = stream
        self._destination = destination
        self._fd = source_fd
        with suppress(OSError):  # not a pipe, or over this user's limit: only slower
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
        """BLAKE3 of all bytes read so far, hex."""
        return self._hash.hexdigest()

    def read_all(self) -> None:
        """Read part after part to the end of the stream. If it ends on a boundary, no empty part follows."""
        while not self._ended:
            if self._read_part(self.parts_begun):
                self.parts_begun += 1

    def _read_part(self, index: int) -> bool:
        """Read one part; false if the stream ended before it. Reads one block ahead, because the last block of a part
        is sealed in another way."""
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
        """Read the next block of at most ``room`` bytes, as full as the stream allows; ``None`` at its end."""
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
    """Write ``header`` to the beginning of ``views``, and return what is left of them."""
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
        f"The ciphertext of {part.upload.key} does not decrypt to what was read: a bit flipped in the memory or the "
        "processor of this machine",
        subject=part.upload.key,
        next_step="Nothing was committed. First test the memory (memtest86+, the logs of ECC errors): other programs "
        "of this machine do not notice such faults",
    )


def _check_reproduced(known: Part, length: int, blake3: str) -> None:
    if (known.plain_bytes, known.plain_blake3) != (length, blake3):
        raise StreamNotReproducible(
            f"zfs send gave other bytes for part {known.index} than before the interruption",
            subject=known.key,
            next_step="This backup cannot be resumed; a new one begins from the start",
        )
