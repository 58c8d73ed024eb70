# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of every kind of call that a pipeline makes, one after the other fails: the error comes out, nothing hangs, nothing
is left, and the next run completes what was begun."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from zrb.store.protocol import Buffer
from zrb.stream.backup_pipeline import BackupPipeline
from zrb.stream.part_downloads import Source
from zrb.stream.restore_pipeline import RestorePipeline
from zrb.values.manifest import Checksum, Part

from tests.fakes.store import MemoryStore, MemoryUpload
from tests.unit.stream.piping import (
    IDENTITY,
    KIB,
    PART,
    RECIPIENT,
    Ledger,
    Wanted,
    backup_pipeline,
    destination,
    manifest_of,
    opened,
    random_bytes,
    restore_pipeline,
    store_bytes,
    with_parts,
)
from tests.unit.stream.watched_age import WatchedOpener, WatchedSealer

DATA = random_bytes(2 * PART + 70 * KIB)
CHUNK = 48 * KIB


class Injected(Exception):
    """The failure of one call."""


@dataclass
class Calls:
    """Counts calls by kind; the one at ``fatal`` raises."""

    fatal: tuple[str, int] = ("", 0)
    counts: Counter[str] = field(default_factory=Counter)
    error: Injected = field(default_factory=Injected)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, kind: str, *_: Any) -> None:
        with self.lock:
            self.counts[kind] += 1
            if (kind, self.counts[kind]) == self.fatal:
                raise self.error

    def watched(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, counted."""

        def counted(*args: Any, **more: Any) -> Any:
            self(kind)
            return call(*args, **more)

        return counted


class WatchedStore(MemoryStore):
    """Tells of every call before it does anything."""

    watch: Callable[..., None] = staticmethod(lambda *_: None)

    def put(self, key: str, data: Buffer, **more: Any) -> Checksum:
        self.watch("put")
        return super().put(key, data, **more)

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        self.watch("read_into")
        super().read_into(key, offset, buffer)

    def open_upload(self, key: str, **more: Any) -> MemoryUpload:
        self.watch("open_upload")
        upload = super().open_upload(key, **more)
        watch = self.watch

        class Watched:
            upload_id = upload.upload_id
            abort = staticmethod(upload.abort)

            def put_chunk(self, *args: Any, **more: Any) -> None:
                watch("put_chunk")
                upload.put_chunk(*args, **more)

            def expected_checksum(self) -> Checksum:
                watch("expected_checksum")
                return upload.expected_checksum()

            def complete(self) -> Checksum:
                watch("complete")
                return upload.complete()

        made: Any = Watched()
        return made


@dataclass
class WatchedLedger(Ledger):
    """Tells of every call before it remembers anything; what is stored, the next run knows."""

    watch: Callable[..., None] = lambda *_: None

    def _event(self, name: str, index: int) -> None:
        self.watch(name)
        super()._event(name, index)

    def stored(self, part: Part) -> None:
        super().stored(part)
        self.parts[part.index] = part


@contextmanager
def piped(data: bytes) -> Iterator[int]:
    """A pipe with ``data``; whoever writes it ends when nobody reads any more."""
    read_fd, write_fd = os.pipe()

    def write() -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(write_fd, view) :]
        except BrokenPipeError:
            pass
        finally:
            os.close(write_fd)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield read_fd
    finally:
        os.close(read_fd)
        writer.join()


def store(calls: Calls, store: WatchedStore, ledger: WatchedLedger, threads: int, chunk: int) -> Any:
    """Store ``DATA``; every call is counted."""
    store.watch = ledger.watch = calls
    pipeline = backup_pipeline(chunk, threads=threads, chunks=5)
    watched = BackupPipeline(pipeline.layout, sealer=WatchedSealer([RECIPIENT], calls), uploaders=2)
    where = destination(store, ledger, moved=lambda _count: calls("moved"))
    try:
        with piped(DATA) as source_fd:
            return with_parts(
                watched.store_stream(source_fd, where, at_end=lambda _head, _tail: calls("at_end")), ledger
            )
    finally:
        store.watch = ledger.watch = lambda *_: None


CHUNKED = {"opened", "open_upload", "put_chunk", "expected_checksum", "complete"}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("chunk", "sends"), [(CHUNK, CHUNKED), (256 * KIB, {"put"})], ids=["chunks", "whole parts"])
def test_any_call_of_a_backup(threads: int, chunk: int, sends: set[str]) -> None:
    every = Calls()
    store(every, WatchedStore(), WatchedLedger(), threads, chunk)
    seals = {"begin", "cut", "seal", "run sealed", "prove", "proved"}
    assert set(every.counts) == seals | {"known", "sealed", "stored", "moved", "at_end"} | sends
    for kind, count in every.counts.items():
        for nth in range(1, count + 1):
            repository, ledger, calls = WatchedStore(), WatchedLedger(), Calls((kind, nth))
            with pytest.raises(Injected) as caught:
                store(calls, repository, ledger, threads, chunk)
            assert caught.value is calls.error
            assert not repository.unfinished
            # A part may have arrived without being known to: the next run finds the same key with other bytes.
            for index in {int(key.partition("-")[2]) for key in repository.keys} - set(ledger.parts):
                assert index in ledger.indices("sealed")
                repository.remove(f"part-{index}")
            known = len(ledger.parts)
            stored = store(Calls(), repository, ledger, threads, chunk)
            assert stored.parts_resumed == known
            assert b"".join(opened(repository, part) for part in stored.parts) == DATA


def fetch(calls: Calls, manifest: Wanted, repository: WatchedStore, spool: Path, *, chunks: int) -> bytearray:
    """Fetch the stream; every call is counted. What was written comes out, also after a failure."""
    repository.watch = calls
    pipeline = restore_pipeline(CHUNK, chunks=chunks)
    watched = RestorePipeline(pipeline.layout, opener=WatchedOpener([IDENTITY], calls), downloaders=2)
    taken = bytearray()

    def write(view: memoryview) -> None:
        calls("write")
        taken.extend(view)

    source = Source(repository, calls.watched("spool", lambda: spool), lambda _count: calls("moved"))
    try:
        watched.fetch_stream(manifest, manifest.parts, source, write)
    except Injected as error:
        assert error is calls.error
    return taken


@pytest.mark.parametrize("chunks", [8, 2], ids=["pool", "spool"])
def test_any_call_of_a_restore(tmp_path: Path, chunks: int) -> None:
    repository = WatchedStore()
    manifest = manifest_of(store_bytes(backup_pipeline(CHUNK), DATA, destination(repository)))
    every = Calls()
    assert fetch(every, manifest, repository, tmp_path, chunks=chunks) == DATA
    assert {"begin", "open", "read_into", "moved", "write"} <= set(every.counts)
    assert ("spool" in every.counts) is (chunks == 2)
    for kind, count in every.counts.items():
        for nth in range(1, count + 1):
            calls = Calls((kind, nth))
            taken = fetch(calls, manifest, repository, tmp_path, chunks=chunks)
            assert calls.counts[kind] >= nth
            assert DATA.startswith(bytes(taken))
            assert len(taken) < len(DATA), "the end was held back"
            assert list(tmp_path.iterdir()) == []
