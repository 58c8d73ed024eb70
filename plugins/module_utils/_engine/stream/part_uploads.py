# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Uploads parts: counts the chunks that have arrived, completes parts, and notes them in the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from ..seal.hashing import Hasher, part_hasher
from ..store.protocol import Store, Upload
from ..values.manifest import Checksum, Part
from .buffer_pool import BufferPool
from .first_failure import Failure
from .threads import Threads


class PartLedger(Protocol):
    """Remembers parts across a crash. ``sealed`` and ``stored`` are durable when they return."""

    def known(self, index: int) -> Part | None:
        """The part as an earlier run stored it."""

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """A chunked upload has begun."""

    def sealed(self, part: Part) -> None:
        """All bytes of the part were sent; its object may become visible from now on. ``part.checksum`` is the
        checksum that the store should return."""

    def stored(self, part: Part) -> None:
        """The store acknowledged the part."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where parts go. ``moved`` is called with the bytes of every chunk that arrived, and of every resumed part."""

    store: Store
    key_of: Callable[[int], str]
    storage_class: str
    part_size: int
    ledger: PartLedger
    moved: Callable[[int], None]


@dataclass(slots=True)
class Chunk:
    """What one request carries: the first ``length`` bytes of ``buffer``, which begin at ``offset`` of the part.
    ``sha256`` is their hash, if one was computed."""

    number: int
    offset: int
    buffer: memoryview
    length: int = 0
    hasher: Hasher = field(default_factory=part_hasher)
    sha256: bytes | None = None

    @property
    def content(self) -> memoryview:
        """The bytes to move."""
        return self.buffer[: self.length]


class Uploads:
    """The uploads of one stream: takes full chunks, puts them into the store and gives their buffers back."""

    def __init__(self, destination: Destination, chunks: BufferPool, threads: Threads, failure: Failure) -> None:
        self.destination = replace(destination, store=destination.store.until(failure))
        self.chunks = chunks
        self.threads = threads
        self._failure = failure
        self._unfinished: dict[int, PartUpload] = {}
        self._stored = 0
        self.resumed = 0

    def begin(self, index: int) -> PartUpload:
        """Begin the upload of part ``index``. Nothing is sent yet."""
        upload = PartUpload(self, index)
        with self._failure.changed:
            self._unfinished[index] = upload
        return upload

    def resume(self, part: Part) -> None:
        """An earlier run stored the part."""
        self.resumed += 1
        self.destination.moved(part.plain_bytes)
        self.stored(part)

    def stored(self, part: Part) -> None:
        """The store acknowledged the part, and the ledger has noted it."""
        with self._failure.changed:
            self._unfinished.pop(part.index, None)
            self._stored += 1
            self._failure.changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until ``count`` parts are stored. Raises if the pipeline has failed."""
        with self._failure.changed:
            self._failure.wait_until(lambda: self._stored == count)

    def abort(self) -> None:
        """Discard unfinished uploads."""
        for upload in list(self._unfinished.values()):
            upload.abort()


class PartUpload:
    """The upload of one part: a single PUT if it is one chunk long, else a chunked upload."""

    def __init__(self, uploads: Uploads, index: int) -> None:
        self.index = index
        self.key = uploads.destination.key_of(index)
        self._uploads = uploads
        self._destination = uploads.destination
        self._lock = threading.Lock()
        self._upload: Upload | None = None
        self._arrived = 0
        self._chunks = 0
        self._part: Part | None = None

    def put(self, chunk: Chunk) -> None:
        """Upload a full chunk that is not the last one."""
        self._uploads.threads.submit(partial(self._put_chunk, chunk))

    def put_last(self, chunk: Chunk, part: Part) -> None:
        """Upload the last chunk, after :meth:`put` got all others; ``part`` describes them all together."""
        if chunk.number == 0:
            self._uploads.threads.submit(partial(self._put_whole, chunk, part))
        else:
            with self._lock:
                self._part, self._chunks = part, chunk.number + 1
            self.put(chunk)

    def abort(self) -> None:
        """Discard an unfinished chunked upload."""
        if self._upload is not None:
            self._upload.abort()

    def _put_chunk(self, chunk: Chunk) -> None:
        upload = self._open()
        upload.put_chunk(chunk.number, chunk.offset, chunk.content, sha256=chunk.sha256)
        self._arrived_in_store(chunk)
        with self._lock:
            self._arrived += 1
            part = self._part if self._arrived == self._chunks else None
        if part is not None:
            self._finish(replace(part, checksum=upload.expected_checksum()), upload.complete)

    def _open(self) -> Upload:
        with self._lock:
            if self._upload is None:
                destination = self._destination
                self._upload = destination.store.open_upload(
                    self.key, total_chunks=None, storage_class=destination.storage_class
                )
                destination.ledger.opened(self.index, self.key, self._upload.upload_id)
            return self._upload

    def _put_whole(self, chunk: Chunk, part: Part) -> None:
        def put() -> Checksum:
            destination = self._destination
            checksum = destination.store.put(
                self.key, chunk.content, storage_class=destination.storage_class, sha256=chunk.sha256
            )
            self._arrived_in_store(chunk)
            return checksum

        self._finish(part, put)

    def _arrived_in_store(self, chunk: Chunk) -> None:
        self._uploads.chunks.give(chunk.buffer)
        self._destination.moved(chunk.length)

    def _finish(self, part: Part, publish: Callable[[], Checksum]) -> None:
        self._destination.ledger.sealed(part)
        part = replace(part, checksum=publish())
        self._destination.ledger.stored(part)
        self._uploads.stored(part)
