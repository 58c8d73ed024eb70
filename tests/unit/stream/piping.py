# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the pipelines share: sources, ledgers, manifests, and what must not be left behind."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pyrage
from zrb.plan.buffer_layout import BufferLayout
from zrb.seal.age import AgeOpener, AgeSealer
from zrb.seal.age_keys import new_identity
from zrb.seal.hashing import stream_hasher
from zrb.store.protocol import Store
from zrb.stream.backup_pipeline import BackupPipeline, StoredStream
from zrb.stream.part_downloads import Source
from zrb.stream.part_uploads import Destination
from zrb.stream.restore_pipeline import RestorePipeline
from zrb.values.manifest import Part, StreamDigest

from tests.fixtures.sample_manifests import sample_manifest

KIB = 1024
PART = 160 * KIB
"""Not a multiple of age's 64 KiB, nor of a block."""

BLOCK = 64 * KIB
CHUNK = 16 * KIB
IDENTITY, RECIPIENT = new_identity()
HANG_S = 60


def random_bytes(length: int, seed: int = 1) -> bytes:
    """The same bytes for the same seed."""
    return Random(seed).randbytes(length)


def backup_pipeline(
    chunk: int = CHUNK,
    *,
    recipients: tuple[str, ...] = (RECIPIENT,),
    threads: int = 3,
    block: int = BLOCK,
    blocks: int = 4,
    chunks: int = 12,
    uploaders: int = 3,
    **more: Any,
) -> BackupPipeline:
    """A pipeline with small buffers: room for a part and a bit, and never fewer chunks than one block touches."""
    buffers = BufferLayout(block, blocks, chunk, max(chunks, 2 + (block + 2 * KIB) // chunk), threads)
    return BackupPipeline(buffers, sealer=AgeSealer(recipients), uploaders=uploaders, **more)


def restore_pipeline(
    chunk: int = CHUNK,
    *,
    identities: tuple[str, ...] = (IDENTITY,),
    threads: int = 3,
    block: int = BLOCK,
    blocks: int = 4,
    chunks: int = 16,
    downloaders: int = 3,
) -> RestorePipeline:
    """A pipeline with small buffers, that has room for a part and a bit."""
    buffers = BufferLayout(block, blocks, chunk, chunks, threads)
    return RestorePipeline(buffers, opener=AgeOpener(identities), downloaders=downloaders)


@dataclass
class Ledger:
    """A :class:`zrb.stream.part_uploads.PartLedger` in memory; ``events`` has every call in order."""

    parts: dict[int, Part] = field(default_factory=dict)
    """What an earlier run stored."""
    acknowledged: dict[int, Part] = field(default_factory=dict)
    events: list[tuple[str, int]] = field(default_factory=list)
    refuse: dict[str, BaseException] = field(default_factory=dict)

    def known(self, index: int) -> Part | None:
        self._event("known", index)
        return self.parts.get(index)

    def opened(self, index: int, key: str, upload_id: str) -> None:
        self._event("opened", index)

    def sealed(self, part: Part) -> None:
        self._event("sealed", part.index)

    def stored(self, part: Part) -> None:
        self._event("stored", part.index)
        self.acknowledged[part.index] = part

    def indices(self, event: str) -> set[int]:
        """Which parts an event happened to."""
        return {index for name, index in self.events if name == event}

    def _event(self, name: str, index: int) -> None:
        self.events.append((name, index))
        if (name, index) != ("known", 0) and name in self.refuse:
            raise self.refuse[name]


def destination(
    store: Store, ledger: Ledger | None = None, *, part_size: int = PART, moved: Callable[[int], None] | None = None
) -> Destination:
    """Parts named ``part-N`` in ``store``."""
    return Destination(
        store=store,
        key_of=lambda index: f"part-{index}",
        storage_class="STANDARD",
        part_size=part_size,
        ledger=ledger or Ledger(),
        moved=moved or (lambda _count: None),
    )


@contextmanager
def readable(data: bytes) -> Iterator[int]:
    """A file descriptor that gives ``data`` and then its end."""
    with os.fdopen(os.memfd_create("stream"), "w+b") as file:
        file.write(data)
        file.seek(0)
        yield file.fileno()


@contextmanager
def trickling(data: bytes, lengths: Sequence[int]) -> Iterator[int]:
    """A pipe that gives ``data`` in writes of ``lengths``, again and again."""
    read_fd, write_fd = os.pipe()

    def write() -> None:
        view = memoryview(data)
        for length in cycle(lengths):
            if not view:
                break
            os.write(write_fd, view[:length])
            view = view[length:]
        os.close(write_fd)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield read_fd
    finally:
        writer.join()
        os.close(read_fd)


@contextmanager
def stalled(data: bytes) -> Iterator[int]:
    """A pipe that gives ``data`` and then nothing more, and does not end."""
    read_fd, write_fd = os.pipe()
    writer = threading.Thread(target=_write_until_closed, args=(write_fd, data))
    writer.start()
    try:
        yield read_fd
    finally:
        os.close(read_fd)  # whatever was not read: the writer gets EPIPE
        writer.join()
        os.close(write_fd)


def _write_until_closed(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BrokenPipeError:
            return


def store_bytes(
    pipeline: BackupPipeline,
    data: bytes,
    where: Destination,
    *,
    at_end: Callable[[bytes, bytes], None] = lambda _head, _tail: None,
) -> Stored:
    """Store ``data`` through ``pipeline``."""
    with readable(data) as source_fd:
        return with_parts(pipeline.store_stream(source_fd, where, at_end=at_end), where.ledger)


@dataclass(frozen=True)
class Stored:
    """What became of a stream, and the parts that its ledger knows."""

    stream_bytes: int
    blake3: str
    parts: tuple[Part, ...]
    parts_resumed: int


def with_parts(stream: StoredStream, ledger: Any) -> Stored:
    """``stream`` with the parts that ``ledger`` knows."""
    known = {**ledger.parts, **ledger.acknowledged}
    return Stored(
        stream.stream_bytes, stream.blake3, tuple(known[index] for index in range(stream.parts)), stream.parts_resumed
    )


@dataclass(frozen=True)
class Wanted:
    """What a pipeline looks at of a manifest, and the parts of its list."""

    backup_id: str
    stream: StreamDigest
    parts: tuple[Part, ...]


def manifest_of(stored: Stored, **changes: Any) -> Wanted:
    """What is to be fetched again."""
    return replace(
        Wanted(sample_manifest().backup_id, StreamDigest(stored.stream_bytes, stored.blake3), stored.parts), **changes
    )


def fetch_bytes(pipeline: RestorePipeline, manifest: Wanted, store: Store, spool: Path | None = None) -> bytes:
    """What ``pipeline`` gives to its writer."""
    taken = bytearray()
    fetch_into(taken, pipeline, manifest, store, spool)
    return bytes(taken)


def fetch_into(
    taken: bytearray, pipeline: RestorePipeline, manifest: Wanted, store: Store, spool: Path | None = None
) -> None:
    """Append what ``pipeline`` gives to its writer, also where it fails in the end."""
    source = Source(store, (lambda: spool) if spool else no_spool, lambda _count: None)
    pipeline.fetch_stream(manifest, manifest.parts, source, taken.extend)


def no_spool() -> Path:
    """The spool of a stream that needs none."""
    raise AssertionError("this stream needs no spool")


def opened(store: Any, part: Part) -> bytes:
    """The plaintext of a part, by another implementation of age."""
    sealed = store.get(part.key, limit=part.bytes)
    return bytes(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(IDENTITY)]))


def blake3(data: bytes) -> str:
    """BLAKE3 in hex."""
    hasher = stream_hasher()
    hasher.update(data)
    return hasher.hexdigest()


def cut(data: bytes, size: int = PART) -> Sequence[bytes]:
    """``data`` in pieces of ``size``."""
    return [data[offset : offset + size] for offset in range(0, len(data), size)]


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@contextmanager
def nothing_left_running() -> Iterator[None]:
    """No thread and no file descriptor more afterwards than before."""
    threads, descriptors = set(threading.enumerate()), _descriptors()
    yield
    left = (
        set(threading.enumerate()) - threads,
        {number: target for number, target in _descriptors().items() if number not in descriptors},
    )
    assert not any(left), f"left behind: threads, descriptors {left}"


def _descriptors() -> dict[str, str]:
    found = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[link.name] = str(link.readlink())
    return found


@contextmanager
def no_hang() -> Iterator[None]:
    """A test that waits for ever fails instead."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it hung for {HANG_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
