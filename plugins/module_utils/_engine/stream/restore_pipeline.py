# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch a stream: the mirror of backup.py. This file is the way of a block from verified parts to the receiver.

::

    transfer threads        fill chunks, hash each part whole (SHA-256), in the pool or in the spool (part_downloads.py)
    the cutter (a thread)   waits for the next part, opens its header, cuts it into blocks: for each takes a free
                            buffer and queues it, over the borders of parts
    open threads            decrypt a block straight from the chunks, or from a stretch of the spool; chunks that were
                            decrypted to their end are free again
    the writer              (the calling thread) takes the blocks in order, hashes them (BLAKE3 of the part and of the
                            stream), hands them out, and gives them back

Nothing is handed out that the manifest's hashes do not cover, and the last 64 KiB are held back until the hash of the
whole stream is right: a receiver that is then stopped has not seen the end of its stream and commits nothing.

**Nothing waits for ever.** Chunks are taken in the order of the stream, by one thread, and so are blocks, by another:
the part, and the block, that is needed first has what it needs. A transfer and a decryption wait for nobody.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ..errors import PartDamaged, StreamDamaged
from ..plan.buffer_layout import BufferLayout, sealed_bytes
from ..seal.age import HEAD_BYTES, AgeOpener, PartOpening
from ..seal.hashing import stream_hasher
from ..store.protocol import free_flow
from ..values.manifest import Manifest, Part
from .bandwidth import break_off_after
from .buffer_pool import BufferPool
from .first_failure import Failure
from .part_downloads import Downloads, FetchedPart, Source
from .threads import Threads

HELD_BACK_BYTES = 64 * 1024

Write = Callable[[memoryview], object]


class RestorePipeline:
    """Fetches one stream after another. Holds no buffer and no thread between two."""

    def __init__(self, layout: BufferLayout, *, opener: AgeOpener, downloaders: int) -> None:
        self.layout = layout
        self.opener = opener
        self.downloaders = downloaders

    def fetch_stream(
        self, manifest: Manifest, parts: Iterable[Part], source: Source, write: Write, *, start: int = 0
    ) -> None:
        """Give the stream of ``manifest`` to ``write``, in order, in pieces of at most a block. ``parts`` are those of
        its proven list; three threads read them, each for itself. They begin at byte ``start`` of the stream: if that
        is not its first one, the hash of the whole stream cannot be checked, and those of the parts are.

        Raises ``PartMissing``, ``PartDamaged``, ``StreamDamaged``, ``WrongIdentity``, or what ``write`` and the store
        raise. On any failure everything stops.
        """
        stream = _Stream(self, parts, source, _OrderedWriter(manifest, write, start=start))
        try:
            stream.fetch()
        finally:
            stream.close()


class _Stream:
    """One stream on its way: its buffers and its threads."""

    def __init__(
        self,
        pipeline: RestorePipeline,
        parts: Iterable[Part],
        source: Source,
        out: _OrderedWriter,
    ) -> None:
        layout = pipeline.layout
        self._opener = pipeline.opener
        self._parts = parts
        self._store = source.store
        self._failure = Failure()
        self._chunks = BufferPool(layout.chunks, layout.chunk_bytes, self._failure)
        self._blocks = BufferPool(layout.blocks, layout.block_bytes, self._failure)
        self._scratch = _Scratch(sealed_bytes(layout.block_bytes))
        self._transfers = Threads(pipeline.downloaders, self._failure, name="transfer")
        self._opens = Threads(layout.threads, self._failure, name="open")
        self._planners = Threads(2, self._failure, name="plan")
        self._downloads = Downloads(parts, source, chunks=self._chunks, threads=self._transfers, failure=self._failure)
        self._ahead: deque[_Block] = deque()
        """Blocks that are decrypted, or will be, in the order of the stream."""

        self._out = out
        source.store.regulate(lambda _length: break_off_after(self._failure))

    def fetch(self) -> None:
        """Write the stream in this thread; all else happens in the others."""
        self._planners.submit(self._downloads.run)
        self._planners.submit(self._cut_all)
        try:
            for part in self._parts:
                self._write_part(part)
            self._out.finish()
        except BaseException as error:
            self._failure.set(error)
            raise

    def close(self) -> None:
        """Stop all threads, empty the spool, and free the buffers."""
        ended = [threads.stop() for threads in (self._planners, self._transfers, self._opens)]
        self._store.regulate(free_flow)
        self._downloads.remove_spooled()
        if all(ended):  # else a request that hangs still fills one of them
            self._chunks.close()
            self._blocks.close()
        self._failure.close()

    def _cut_all(self) -> None:
        """The cutter's work: blocks of one verified part after the other."""
        for part in self._parts:
            fetched = self._downloads.wait_for(part)
            opening = self._open_header(fetched)
            start, plain_left = opening.header_bytes, opening.plain_bytes
            last = False
            while not last:
                plain_bytes = min(self._blocks.size, plain_left)
                plain_left -= plain_bytes
                last = not plain_left
                length = part.bytes - start if last else sealed_bytes(plain_bytes)
                block = _Block(fetched, opening, start, length, self._blocks.take(), plain_bytes, last)
                self._ahead.append(block)
                self._opens.submit(partial(self._open, block))
                start += length

    def _open_header(self, fetched: FetchedPart) -> PartOpening:
        part = fetched.part
        head = b"".join(fetched.read(0, min(HEAD_BYTES, part.bytes), lambda: self._scratch.view))
        opening = self._opener.begin(memoryview(head), part_bytes=part.bytes)
        if opening.plain_bytes != part.plain_bytes:
            raise _other_plaintext(part)
        fetched.forget(0, opening.header_bytes)
        return opening

    def _open(self, block: _Block) -> None:
        """An open thread's way with a block."""
        sealed = block.fetched.read(block.start, block.length, lambda: self._scratch.view)
        block.opening.open(block.start, sealed, block.plain)
        block.fetched.forget(block.start, block.length)
        with self._failure.changed:
            block.opened = True
            self._failure.changed.notify_all()

    def _write_part(self, part: Part) -> None:
        part_hash = stream_hasher()
        last = False
        while not last:
            block = self._next_block()
            part_hash.update(block.plain)
            self._out.write(block.plain)
            self._blocks.give(block.buffer)
            last = block.last
        if part_hash.hexdigest() != part.plain_blake3:
            raise _other_plaintext(part)
        self._downloads.consumed(part)

    def _next_block(self) -> _Block:
        with self._failure.changed:
            self._failure.wait_until(lambda: self._ahead and self._ahead[0].opened)
            return self._ahead.popleft()


@dataclass(slots=True)
class _Block:
    """A stretch of a part, ``length`` bytes from ``start``, and the buffer that its plaintext is decrypted into."""

    fetched: FetchedPart
    opening: PartOpening
    start: int
    length: int
    buffer: memoryview
    plain_bytes: int
    last: bool
    opened: bool = False

    @property
    def plain(self) -> memoryview:
        """Its plaintext, when it is ``opened``."""
        return self.buffer[: self.plain_bytes]


class _Scratch(threading.local):
    """Where a thread reads from the spool: every thread has its own ``view``."""

    def __init__(self, size: int) -> None:
        self.view = memoryview(bytearray(size))


class _OrderedWriter:
    """Hands out the stream, and holds its end back until the whole is known to be right."""

    def __init__(self, manifest: Manifest, write: Write, *, start: int) -> None:
        self._manifest = manifest
        self._write = write
        self._start = start
        self._hash = stream_hasher()
        self._open_bytes = max(0, manifest.stream.bytes - HELD_BACK_BYTES)
        self._seen = start
        self._held = bytearray()

    def write(self, view: memoryview) -> None:
        """The next bytes of the stream."""
        self._hash.update(view)
        allowed = max(0, min(len(view), self._open_bytes - self._seen))
        if allowed:
            self._write(view[:allowed])
        self._held += view[allowed:]
        self._seen += len(view)

    def finish(self) -> None:
        """Hand out the end, if all is as the manifest states."""
        stream = self._manifest.stream
        if self._seen != stream.bytes or (not self._start and self._hash.hexdigest() != stream.blake3):
            raise StreamDamaged(
                f"The stream of backup {self._manifest.backup_id} does not have the BLAKE3 that its manifest states",
                subject=self._manifest.backup_id,
                next_step="Nothing of it was committed; choose an earlier backup with `zrb list`",
            )
        self._write(memoryview(self._held))


def _other_plaintext(part: Part) -> PartDamaged:
    return PartDamaged(
        f"{part.key} decrypts to other bytes than the manifest states",
        subject=part.key,
        next_step="The backup is not what was signed: choose an earlier backup with `zrb list`",
    )
