# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts on their way to the store: which chunks have arrived, which parts are complete, and who remembers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from ..seal.hashing import part_hasher
from ..store.protocol import Store, Upload
from ..values.manifest import Checksum, Part
from .buffers import SharedBuffers
from .failure import Failure
from .transfers import TransferThreads
from .workers import Worker


class PartLedger(Protocol):
    """Who remembers parts across a crash. ``sealed`` and ``stored`` are durable when they return."""

    def known(self, index: int) -> Part | None:
        """The part as an earlier run stored it."""

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """A chunked upload has begun."""

    def sealed(self, part: Part) -> None:
        """All bytes of the part are on their way; its object may become visible from now on. ``part.checksum`` is the
        one that the store is expected to return."""

    def stored(self, part: Part) -> None:
        """The store acknowledged the part."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where parts go. ``moved`` is told of every chunk that arrived, and of every resumed part (bytes)."""

    store: Store
    key_of: Callable[[int], str]
    storage_class: str
    part_size: int
    ledger: PartLedger
    moved: Callable[[int], None]


@dataclass(frozen=True, slots=True)
class UploadContext:
    """What every part upload of one stream shares."""

    destination: Destination
    chunks: SharedBuffers
    threads: TransferThreads
    failure: Failure


class PartsInFlight:
    """Which chunks and parts have arrived where. All methods may be called by any thread."""

    def __init__(self, context: UploadContext) -> None:
        self._context = context
        self._changed = threading.Condition()
        self._uploads: dict[int, _PartUpload] = {}
        self._stored = 0
        self.resumed = 0
        context.failure.on_failure(self._wake)

    def resume(self, part: Part) -> None:
        """The part was stored by an earlier run."""
        self.resumed += 1
        self._context.destination.moved(part.plain_bytes)
        self._store()

    def read(self, index: int, plain_bytes: int, plain_blake3: str) -> None:
        """The reader has seen all of the part."""
        self._upload(index).plain = (plain_bytes, plain_blake3)

    def chunk(self, worker: Worker, index: int, number: int, offset: int, buffer: int, length: int) -> None:
        """A chunk is ready to be uploaded."""
        self._upload(index).add_chunk(worker, number, offset, buffer, length)

    def sealed(self, index: int, chunks: int, size: int) -> None:
        """The part is encrypted to its end."""
        self._upload(index).seal(chunks, size)

    def _finished(self, part: Part) -> None:
        """The store acknowledged the part, and the ledger knows."""
        with self._changed:
            del self._uploads[part.index]
        self._store()

    def wait_for(self, count: int) -> None:
        """Return as soon as ``count`` parts are stored. Raises the pipeline's failure."""
        with self._changed:
            while self._stored < count:
                self._context.failure.check()
                self._changed.wait()
            self._context.failure.check()

    def abort(self) -> None:
        """Throw away unfinished uploads."""
        for upload in list(self._uploads.values()):
            upload.abort()

    def _upload(self, index: int) -> _PartUpload:
        with self._changed:
            if index not in self._uploads:
                self._uploads[index] = _PartUpload(self._context, index, self._finished)
            return self._uploads[index]

    def _store(self) -> None:
        with self._changed:
            self._stored += 1
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _PartUpload:
    """One part on its way to the store: a single PUT where it is one chunk long, else a chunked upload."""

    def __init__(self, context: UploadContext, index: int, finished: Callable[[Part], None]) -> None:
        self._context = context
        self._destination = context.destination
        self._index = index
        self._finished = finished
        self._key = context.destination.key_of(index)
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._upload: Upload | None = None
        self._first: tuple[Worker, int, int] | None = None
        self._arrived = 0
        self._chunks: int | None = None
        self._size = 0
        self._hash = part_hasher()
        self.plain = (0, "")

    def add_chunk(self, worker: Worker, number: int, offset: int, buffer: int, length: int) -> None:
        """A full chunk, in order: it is hashed here, since the process that encrypts is the slowest stage. The first
        one waits until it is known whether another follows."""
        self._hash.update(self._context.chunks.view(buffer, length))
        if number == 0:
            self._first = (worker, buffer, length)
            return
        self._release_first()
        self._submit(worker, number, offset, buffer, length)

    def seal(self, chunks: int, size: int) -> None:
        """No chunk follows."""
        if chunks > 1:
            self._release_first()
        with self._lock:
            self._chunks, self._size = chunks, size
            complete = self._arrived == chunks
        if chunks == 1 and self._first is not None:
            self._context.threads.submit(partial(self._put_whole, *self._first))
        elif complete:
            self._context.threads.submit(self._complete)

    def abort(self) -> None:
        """Throw away an unfinished chunked upload."""
        if self._upload is not None:
            self._upload.abort()

    def _release_first(self) -> None:
        if self._first is not None:
            worker, buffer, length = self._first
            self._first = None
            self._submit(worker, 0, 0, buffer, length)

    def _submit(self, worker: Worker, number: int, offset: int, buffer: int, length: int) -> None:
        self._context.threads.submit(partial(self._put_chunk, worker, number, offset, buffer, length))

    def _put_chunk(self, worker: Worker, number: int, offset: int, buffer: int, length: int) -> None:
        upload = self._open()
        upload.put_chunk(number, offset, self._context.chunks.view(buffer, length))
        worker.give_back(buffer)
        self._destination.moved(length)
        with self._lock:
            self._arrived += 1
            complete = self._arrived == self._chunks
        if complete:
            self._complete()

    def _open(self) -> Upload:
        with self._opening:
            if self._upload is None:
                destination = self._destination
                self._upload = destination.store.open_upload(
                    self._key, total_chunks=None, storage_class=destination.storage_class
                )
                destination.ledger.opened(self._index, self._key, self._upload.upload_id)
            return self._upload

    def _complete(self) -> None:
        upload = self._open()
        self._finish(upload.complete, expected=upload.expected_checksum())

    def _put_whole(self, worker: Worker, buffer: int, length: int) -> None:
        view = self._context.chunks.view(buffer, length)
        put = partial(self._destination.store.put, self._key, view, storage_class=self._destination.storage_class)
        self._finish(put, expected=Checksum("none", ""))
        worker.give_back(buffer)
        self._destination.moved(length)

    def _finish(self, publish: Callable[[], Checksum], *, expected: Checksum) -> None:
        plain_bytes, plain_blake3 = self.plain
        part = Part(
            index=self._index,
            key=self._key,
            plain_bytes=plain_bytes,
            plain_blake3=plain_blake3,
            bytes=self._size,
            sha256=self._hash.hexdigest(),
            checksum=expected,
        )
        self._destination.ledger.sealed(part)
        part = replace(part, checksum=publish())
        self._destination.ledger.stored(part)
        self._finished(part)
