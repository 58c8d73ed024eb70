# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts on their way from the store: chunks in parallel, every part whole and hashed before it is handed on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import LocalStateError, ObjectMissing, PartDamaged, PartMissing
from ..plan.buffer_layout import count_chunks
from ..seal.hashing import part_hasher
from ..store.protocol import Store
from ..values.manifest import Part
from .buffer_pool import BufferPool
from .first_failure import Failure
from .threads import Threads

SPOOLED_PARTS = 2
"""One is being decrypted while the next one is fetched; the spool never holds more."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where parts come from. ``moved`` is told of every chunk that arrived (bytes)."""

    store: Store
    spool: Callable[[], Path]
    """The directory for parts too large for the pool; made when it is first needed."""
    moved: Callable[[int], None]


class Downloads:
    """Fetches ``parts`` in order. Chunk buffers are taken in the order of the stream, so that the part which is
    needed first always gets what it needs."""

    def __init__(
        self, parts: Iterable[Part], source: Source, *, chunks: BufferPool, threads: Threads, failure: Failure
    ) -> None:
        self._parts = parts
        self._source = replace(source, store=source.store.until(failure))
        self._chunks = chunks
        self._threads = threads
        self._failure = failure
        self._fetched: dict[int, FetchedPart] = {}
        self._spooled: dict[int, Path] = {}

    def run(self) -> None:
        """Begin every download as soon as there is room for it; takes a thread until the last one has begun."""
        for part in self._parts:
            fetched = FetchedPart(part, self._chunks, self._spool_path(part))
            for number in range(fetched.chunk_count):
                buffer = self._chunks.take()
                self._threads.submit(partial(self._fetch_chunk, fetched, number, buffer))

    def wait_for(self, part: Part) -> FetchedPart:
        """``part``, whole and with the right hash. Raises the pipeline's failure.

        Raises :class:`PartDamaged` if it has another hash than the manifest states. Not before it is needed: so the
        damaged part that comes first in the stream is the one that is named."""
        with self._failure.changed:
            self._failure.wait_until(lambda: part.index in self._fetched)
            fetched = self._fetched.pop(part.index)
        fetched.check()
        return fetched

    def consumed(self, part: Part) -> None:
        """The part was decrypted whole; its place in the spool is free."""
        with self._failure.changed:
            path = self._spooled.pop(part.index, None)
            self._failure.changed.notify_all()
        if path is not None:
            path.unlink(missing_ok=True)

    def remove_spooled(self) -> None:
        """Remove what a failure left in the spool."""
        for path in self._spooled.values():
            path.unlink(missing_ok=True)
        self._spooled.clear()

    def _spool_path(self, part: Part) -> Path | None:
        if count_chunks(part.bytes, self._chunks.size) <= self._chunks.count:
            return None
        path = self._source.spool() / f"part-{part.index:06d}.age"
        with self._failure.changed:
            self._failure.wait_until(lambda: len(self._spooled) < SPOOLED_PARTS)
            self._spooled[part.index] = path
        return path

    def _fetch_chunk(self, fetched: FetchedPart, number: int, buffer: memoryview) -> None:
        part, store = fetched.part, self._source.store
        offset, length = fetched.extent(number)
        try:
            store.read_into(part.key, offset, buffer[:length])
        except ObjectMissing as error:
            raise PartMissing(
                f"Part {part.index} ({part.key}) is not in {store.location}",
                subject=part.key,
                next_step="This backup cannot be restored without it; `zrb verify --depth exists` shows which can",
            ) from error
        self._source.moved(length)
        if fetched.arrived(number, buffer):
            with self._failure.changed:
                self._fetched[part.index] = fetched
                self._failure.changed.notify_all()


class FetchedPart:
    """One part as it is stored: in buffers of the pool, or in the spool at ``path``.

    First its chunks arrive, in any order; they are hashed in order, by whichever thread brings the next one. Then it
    is read, any stretch by any thread, and a buffer is free again when all that lies in it was read.
    """

    def __init__(self, part: Part, chunks: BufferPool, path: Path | None) -> None:
        self.part = part
        self.chunk_count = count_chunks(part.bytes, chunks.size)
        self._chunks = chunks
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[int, memoryview] = {}
        self._hashing = False
        self._hashed = 0
        self._hash = part_hasher()
        self._buffers: dict[int, memoryview] = {}
        self._unread: dict[int, int] = {}

    def extent(self, number: int) -> tuple[int, int]:
        """Offset and length of a chunk."""
        offset = number * self._chunks.size
        return offset, min(self._chunks.size, self.part.bytes - offset)

    def arrived(self, number: int, buffer: memoryview) -> bool:
        """Chunk ``number`` lies in ``buffer``. True for exactly one chunk: the one with which the part was whole."""
        with self._lock:
            self._waiting[number] = buffer
            if self._hashing:
                return False  # the thread that hashes comes to it
            self._hashing = True
        while True:
            with self._lock:
                chunk = self._waiting.pop(self._hashed, None)
                if chunk is None:
                    self._hashing = False
                    break
            self._take(self._hashed, chunk)
            self._hashed += 1
        return self._hashed == self.chunk_count

    def check(self) -> None:
        """Raise :class:`PartDamaged` if the whole part has another hash than the manifest states."""
        if self._hash.hexdigest() != self.part.sha256:
            raise PartDamaged(
                f"{self.part.key} has another SHA-256 than its signed manifest states",
                subject=self.part.key,
                answer=f"found {self._hash.hexdigest()}, expected {self.part.sha256}",
                next_step="Nothing of this backup was committed; choose an earlier one with `zrb list`, "
                "and look for the cause in the storage",
            )

    def read(self, start: int, length: int, scratch: Callable[[], memoryview]) -> list[memoryview]:
        """The stored bytes from ``start``: where they lie in the pool, or in ``scratch`` as the spool gave them."""
        if self._path is not None:
            view = scratch()[:length]
            _read_spool(self._path, view, start)
            return [view]
        views = []
        for number, within, count in self._stretches(start, length):
            views.append(self._buffers[number][within : within + count])
        return views

    def forget(self, start: int, length: int) -> None:
        """These bytes are not needed any more."""
        if self._path is not None:
            return
        for number, _within, count in self._stretches(start, length):
            with self._lock:
                self._unread[number] -= count
                buffer = None if self._unread[number] else self._buffers.pop(number)
            if buffer is not None:
                self._chunks.give(buffer)

    def _stretches(self, start: int, length: int) -> Sequence[tuple[int, int, int]]:
        """Chunk, offset in it, and length of what lies at ``start``."""
        found = []
        end = start + length
        while start < end:
            number, within = divmod(start, self._chunks.size)
            count = min(end - start, self._chunks.size - within)
            found.append((number, within, count))
            start += count
        return found

    def _take(self, number: int, buffer: memoryview) -> None:
        """The next chunk in order."""
        offset, length = self.extent(number)
        self._hash.update(buffer[:length])
        if self._path is None:
            self._buffers[number] = buffer
            self._unread[number] = length
        else:
            _write_spool(self._path, buffer[:length], offset)
            self._chunks.give(buffer)


def _write_spool(path: Path, view: memoryview, offset: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(view):
                written += os.pwrite(descriptor, view[written:], offset + written)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _spool_error(path, "spooled to", error) from error


def _read_spool(path: Path, view: memoryview, offset: int) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            count = 1
            filled = 0
            while filled < len(view) and count:
                count = os.preadv(descriptor, [view[filled:]], offset + filled)
                filled += count
        finally:
            os.close(descriptor)
        if filled < len(view):
            raise OSError(f"it ends at byte {offset + filled}")
    except OSError as error:
        raise _spool_error(path, "read back from", error) from error


def _spool_error(path: Path, done: str, error: OSError) -> LocalStateError:
    return LocalStateError(
        f"A part could not be {done} {path}",
        subject=str(path),
        answer=error.strerror or str(error),
        next_step="Give base_dir room for two parts, or raise memory_limit above part_size, then run again",
    )
