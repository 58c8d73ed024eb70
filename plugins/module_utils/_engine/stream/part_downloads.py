# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts on their way from the store: chunks in parallel, every part whole and hashed before it is handed on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import LocalStateError, ObjectMissing, PartDamaged, PartMissing
from ..plan.buffers import count_chunks
from ..seal.hashing import part_hasher
from ..store.protocol import Store
from ..values.manifest import Part
from .buffers import FreeList, SharedBuffers
from .failure import Failure
from .transfers import TransferThreads

SPOOLED_PARTS = 2
"""One is being decrypted while the next one is fetched; the spool never holds more."""

Ready = Callable[[Part, str, object], None]


@dataclass(frozen=True, slots=True)
class Download:
    """What every download of one stream shares."""

    store: Store
    spool: Callable[[], Path]
    moved: Callable[[int], None]
    chunks: SharedBuffers


class PartDownloads:
    """Fetches ``parts`` in order. Chunk buffers are taken in the order of the stream, so that the part which is
    needed first always gets what it needs."""

    def __init__(
        self,
        parts: Iterable[Part],
        download: Download,
        *,
        free: FreeList,
        threads: TransferThreads,
        failure: Failure,
        ready: Ready,
    ) -> None:
        self._parts = parts
        self._download = download
        self._free = free
        self._threads = threads
        self._failure = failure
        self._ready = ready
        self._changed = threading.Condition()
        self._fetched: dict[int, _PartFetch] = {}
        self._spooled: dict[int, Path] = {}
        self._handed_on = 0
        failure.on_failure(self._wake)

    def run(self) -> None:
        """Begin every download as soon as there is room for it; the body of the scheduler's thread."""
        try:
            for part in self._parts:
                fetch = self._begin(part)
                for number in range(fetch.chunk_count):
                    buffer = self._free.take()
                    self._threads.submit(partial(self._fetch_chunk, fetch, number, buffer))
        except BaseException as error:  # noqa: BLE001 - handed to the owner, who raises it
            self._failure.set(error)

    def wait_until_ready(self, index: int) -> None:
        """Return when part ``index`` was verified and handed on. Raises the pipeline's failure."""
        with self._changed:
            while self._handed_on <= index:
                self._failure.check()
                self._changed.wait()

    def consumed(self, part: Part) -> None:
        """The part was decrypted and written; its place in the spool is free."""
        with self._changed:
            path = self._spooled.pop(part.index, None)
            self._changed.notify_all()
        if path is not None:
            path.unlink(missing_ok=True)

    def remove_spooled(self) -> None:
        """Remove what a failure left in the spool."""
        for path in self._spooled.values():
            path.unlink(missing_ok=True)
        self._spooled.clear()

    def _begin(self, part: Part) -> _PartFetch:
        chunks = self._download.chunks
        path = None
        if count_chunks(part.bytes, chunks.size) > chunks.count:
            path = self._spool_path(part)
        return _PartFetch(part, chunks, path)

    def _spool_path(self, part: Part) -> Path:
        path = self._download.spool() / f"part-{part.index:06d}.age"
        with self._changed:
            while len(self._spooled) >= SPOOLED_PARTS:
                self._failure.check()
                self._changed.wait()
            self._failure.check()
            self._spooled[part.index] = path
        return path

    def _fetch_chunk(self, fetch: _PartFetch, number: int, buffer: int) -> None:
        offset, length = fetch.extent(number)
        try:
            self._download.store.read_into(fetch.part.key, offset, self._download.chunks.view(buffer, length))
        except ObjectMissing as error:
            raise PartMissing(
                f"Part {fetch.part.index} ({fetch.part.key}) is not in {self._download.store.location}",
                subject=fetch.part.key,
                next_step="This backup cannot be restored without it; `zrb verify --depth exists` shows which can",
            ) from error
        self._download.moved(length)
        for freed in fetch.arrived(number, buffer):
            self._free.give(freed)
        if fetch.complete:
            self._hand_on(fetch)

    def _hand_on(self, fetch: _PartFetch) -> None:
        fetch.check()
        with self._changed:
            self._fetched[fetch.part.index] = fetch
            while (fetch_in_turn := self._fetched.pop(self._handed_on, None)) is not None:
                self._ready(fetch_in_turn.part, *fetch_in_turn.whereabouts())
                self._handed_on += 1
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _PartFetch:
    """One part while its chunks arrive, in any order; hashed in order. In the pool, or in the spool at ``path``."""

    def __init__(self, part: Part, chunks: SharedBuffers, path: Path | None) -> None:
        self.part = part
        self.chunk_count = count_chunks(part.bytes, chunks.size)
        self._chunks = chunks
        self._path = path
        self._lock = threading.Lock()
        self._waiting: dict[int, int] = {}
        self._buffers: list[int] = []
        self._hashed = 0
        self._hash = part_hasher()

    @property
    def complete(self) -> bool:
        """True for exactly one caller: the one whose chunk completed the part."""
        with self._lock:
            if self._hashed < self.chunk_count:
                return False
            self._hashed = -1
            return True

    def extent(self, number: int) -> tuple[int, int]:
        """Offset and length of a chunk."""
        offset = number * self._chunks.size
        return offset, min(self._chunks.size, self.part.bytes - offset)

    def arrived(self, number: int, buffer: int) -> list[int]:
        """Chunk ``number`` lies in ``buffer``; the buffers that are free again."""
        freed = []
        with self._lock:
            self._waiting[number] = buffer
            while self._hashed in self._waiting:
                in_turn = self._waiting.pop(self._hashed)
                offset, length = self.extent(self._hashed)
                view = self._chunks.view(in_turn, length)
                self._hash.update(view)
                if self._path is None:
                    self._buffers.append(in_turn)
                else:
                    _write_spool(self._path, view, offset)
                    freed.append(in_turn)
                self._hashed += 1
        return freed

    def check(self) -> None:
        """Raise :class:`PartDamaged` where the whole part has another hash than the manifest states."""
        if self._hash.hexdigest() != self.part.sha256:
            raise PartDamaged(
                f"{self.part.key} has another SHA-256 than its signed manifest states",
                subject=self.part.key,
                answer=f"found {self._hash.hexdigest()}, expected {self.part.sha256}",
                next_step="Nothing of this backup was committed; choose an earlier one with `zrb list`, "
                "and look for the cause in the storage",
            )

    def whereabouts(self) -> tuple[str, object]:
        """Where a worker finds the part."""
        if self._path is not None:
            return "spool", str(self._path)
        lengths = (self.extent(number)[1] for number in range(self.chunk_count))
        return "pool", list(zip(self._buffers, lengths, strict=True))


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
        raise _spool_error(path, error) from error


def _spool_error(path: Path, error: OSError) -> LocalStateError:
    return LocalStateError(
        f"A part could not be spooled to {path}",
        subject=str(path),
        answer=error.strerror or str(error),
        next_step="Give base_dir room for two parts, or raise memory_limit above part_size, then run again",
    )
