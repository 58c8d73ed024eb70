# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetch a stream: download parts in parallel, verify each whole, decrypt, and hand out the bytes in order.

Nothing is handed out that the manifest's hashes do not cover, and the last 64 KiB are held back until the hash of
the whole stream is right: a receiver that is then stopped has not seen the end of its stream and commits nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import PartDamaged, StreamDamaged
from ..plan.buffers import BufferLayout
from ..seal.hashing import stream_hasher
from ..store.protocol import Store, free_flow
from ..values.manifest import Manifest, Part
from .buffers import FreeList, SharedBuffers
from .failure import Failure
from .opening import opening_main
from .pace import break_off_after
from .part_downloads import Download, PartDownloads
from .transfers import TransferThreads
from .workers import Worker, WorkerGroup

HELD_BACK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Where parts come from. ``moved`` is told of every chunk that arrived (bytes)."""

    store: Store
    spool: Callable[[], Path]
    """The directory for parts too large for the pool; made when it is first needed."""
    moved: Callable[[int], None]


class RestorePipeline:
    """The worker processes and buffers of a restore; fetches one stream after another.

    Make it before any thread or network client exists, since it forks. Use it as a context manager.
    """

    def __init__(
        self, layout: BufferLayout, *, identities: tuple[str, ...], downloaders: int, openers: int = 1
    ) -> None:
        self.layout = layout
        self.blocks = SharedBuffers(count=layout.blocks, size=layout.block_bytes)
        self.chunks = SharedBuffers(count=layout.chunks, size=layout.chunk_bytes)
        self.downloaders = downloaders
        main = partial(opening_main, blocks=self.blocks, chunks=self.chunks, identities=identities)
        self.workers = WorkerGroup(openers, main, output_buffers=layout.blocks)

    def __enter__(self) -> RestorePipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    def fetch_stream(
        self, manifest: Manifest, parts: Iterable[Part], source: Source, write: Callable[[memoryview], object]
    ) -> None:
        """Give the stream of ``manifest`` to ``write``, in order, in pieces of at most a block. ``parts`` are those of
        its proven list; they are read twice, by two threads.

        Raises ``PartMissing``, ``PartDamaged``, ``StreamDamaged``, ``WrongIdentity``, or what ``write`` and the store
        raise. On any failure everything stops and this pipeline is used up.
        """
        run = _FetchRun(self, manifest, parts, source, write)
        try:
            run.fetch()
        except BaseException as error:
            run.failure.set(error)
            raise
        finally:
            run.close()


class _FetchRun:
    """One stream on its way through a pipeline."""

    def __init__(
        self,
        pipeline: RestorePipeline,
        manifest: Manifest,
        parts: Iterable[Part],
        source: Source,
        write: Callable[[memoryview], object],
    ) -> None:
        self.failure = Failure()
        self._pipeline = pipeline
        self._store = source.store
        self._parts = parts
        self._free_chunks = FreeList(range(pipeline.chunks.count), self.failure)
        self._threads = TransferThreads(pipeline.downloaders, self.failure)
        self._out = _OrderedWriter(manifest, write)
        self._downloads = PartDownloads(
            parts,
            Download(source.store, source.spool, source.moved, pipeline.chunks),
            free=self._free_chunks,
            threads=self._threads,
            failure=self.failure,
            ready=self._hand_to_worker,
        )
        source.store.regulate(lambda _length: break_off_after(self.failure))
        self._scheduler = threading.Thread(target=self._downloads.run, name="downloads", daemon=True)
        self._scheduler.start()

    def fetch(self) -> None:
        """Write the stream in this thread; all else happens in the others."""
        for part in self._parts:
            self._downloads.wait_until_ready(part.index)
            self._write_part(part, self._pipeline.workers.for_part(part.index))
        self._out.finish()

    def close(self) -> None:
        """Stop all threads; after a failure also the workers."""
        if self.failure.happened:
            self._pipeline.workers.kill()
        self._scheduler.join()
        self._threads.stop()
        self._store.regulate(free_flow)
        self._downloads.remove_spooled()
        self.failure.close()

    def _hand_to_worker(self, part: Part, kind: str, where: object) -> None:
        self._pipeline.workers.for_part(part.index).send(kind, part.index, where)

    def _write_part(self, part: Part, worker: Worker) -> None:
        part_hash = stream_hasher()
        length = 0
        while True:
            message = worker.receive()
            match message[0]:
                case "chunk":
                    self._free_chunks.give(message[1])
                case "block":
                    _kind, _part, block, filled = message
                    view = self._pipeline.blocks.view(block, filled)
                    part_hash.update(view)
                    length += filled
                    self._out.write(view)
                    worker.give_back(block)
                case "end":
                    break
        if (length, part_hash.hexdigest()) != (part.plain_bytes, part.plain_blake3):
            raise PartDamaged(
                f"{part.key} decrypts to other bytes than the manifest states",
                subject=part.key,
                next_step="The backup is not what was signed: choose an earlier backup with `zrb list`",
            )
        self._downloads.consumed(part)


class _OrderedWriter:
    """Hands out the stream, and holds its end back until the whole is known to be right."""

    def __init__(self, manifest: Manifest, write: Callable[[memoryview], object]) -> None:
        self._manifest = manifest
        self._write = write
        self._hash = stream_hasher()
        self._open_bytes = max(0, manifest.stream.bytes - HELD_BACK_BYTES)
        self._seen = 0
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
        if (self._seen, self._hash.hexdigest()) != (stream.bytes, stream.blake3):
            raise StreamDamaged(
                f"The stream of backup {self._manifest.backup_id} does not have the BLAKE3 that its manifest states",
                subject=self._manifest.backup_id,
                next_step="Nothing of it was committed; choose an earlier backup with `zrb list`",
            )
        self._write(memoryview(self._held))
