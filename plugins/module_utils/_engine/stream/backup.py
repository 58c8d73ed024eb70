# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Store a stream: read, hash, cut into parts, encrypt, upload. Memory is bounded by the two buffer pools alone."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..errors import StreamNotReproducible
from ..plan.buffers import BufferLayout
from ..seal.hashing import Hasher, stream_hasher
from ..store.protocol import free_flow
from ..values.manifest import Part
from .buffers import FreeList, SharedBuffers
from .failure import Failure
from .pace import Pace
from .part_uploads import Destination, PartsInFlight, UploadContext
from .sealing import sealing_main
from .transfers import TransferThreads
from .workers import Worker, WorkerGroup

EDGE_BYTES = 312
"""Bytes kept of both ends of the stream: a ``zfs send`` stream begins and ends with a record of this size."""


@dataclass(frozen=True, slots=True)
class StoredStream:
    """What became of a stream. ``blake3`` is hex; the ledger knows each of the ``parts``."""

    stream_bytes: int
    blake3: str
    parts: int
    parts_resumed: int


class BackupPipeline:
    """The worker processes and buffers of a backup; stores one stream after another.

    Make it before any thread or network client exists, since it forks. Use it as a context manager.
    """

    def __init__(
        self,
        layout: BufferLayout,
        *,
        recipients: tuple[str, ...],
        uploaders: int,
        sealers: int = 1,
        bandwidth_limit: int = 0,
    ) -> None:
        self.blocks = SharedBuffers(count=layout.blocks, size=layout.block_bytes)
        self.chunks = SharedBuffers(count=layout.chunks, size=layout.chunk_bytes)
        self.uploaders = uploaders
        self.pace = Pace(bandwidth_limit)
        main = partial(sealing_main, blocks=self.blocks, chunks=self.chunks, recipients=recipients)
        self.workers = WorkerGroup(sealers, main, output_buffers=layout.chunks)

    def __enter__(self) -> BackupPipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.workers.close()

    def store_stream(
        self, source_fd: int, destination: Destination, *, at_end: Callable[[bytes, bytes], None]
    ) -> StoredStream:
        """Read ``source_fd`` to its end and store it.

        ``at_end`` is called with the first and last 312 bytes once the source has ended, and raises where it ended
        too early: the last, short part is then never counted as stored. On any failure everything stops, open
        uploads are aborted, the first error is raised, and this pipeline is used up.
        """
        run = _StreamRun(self, destination)
        try:
            return run.store(source_fd, at_end)
        finally:
            run.close()


class _StreamRun:
    """One stream on its way through a pipeline."""

    def __init__(self, pipeline: BackupPipeline, destination: Destination) -> None:
        self.pipeline = pipeline
        self.destination = destination
        self.failure = Failure()
        self.free_blocks = FreeList(range(pipeline.blocks.count), self.failure)
        self.threads = TransferThreads(pipeline.uploaders, self.failure)
        self.parts = PartsInFlight(UploadContext(destination, pipeline.chunks, self.threads, self.failure))
        destination.store.regulate(partial(pipeline.pace.wait_for, failure=self.failure))
        self._dispatchers = [
            threading.Thread(target=self._dispatch, args=(worker,), name="dispatch", daemon=True)
            for worker in pipeline.workers.workers
        ]
        for thread in self._dispatchers:
            thread.start()

    def store(self, source_fd: int, at_end: Callable[[bytes, bytes], None]) -> StoredStream:
        """Read the stream in this thread; all else happens in the others."""
        try:
            reader = _StreamReader(self, source_fd, at_end)
            reader.read_all()
            self.parts.wait_for(reader.parts_begun)
        except BaseException as error:
            self.failure.set(error)
            raise
        return StoredStream(
            stream_bytes=reader.stream_bytes,
            blake3=reader.blake3,
            parts=reader.parts_begun,
            parts_resumed=self.parts.resumed,
        )

    def close(self) -> None:
        """Stop all threads; after a failure also the workers, and abort what was not completed."""
        if self.failure.happened:
            self.pipeline.workers.kill()
        else:
            for worker in self.pipeline.workers.workers:
                worker.send("rest")
        for thread in self._dispatchers:
            thread.join()
        self.threads.stop()
        self.destination.store.regulate(free_flow)
        if self.failure.happened:
            self.parts.abort()
        self.failure.close()

    def _dispatch(self, worker: Worker) -> None:
        try:
            while True:
                message = worker.receive()
                match message[0]:
                    case "block":
                        self.free_blocks.give(message[1])
                    case "chunk":
                        self.parts.chunk(worker, *message[1:])
                    case "end":
                        self.parts.sealed(*message[1:])
                    case "resting":
                        return
        except BaseException as error:  # noqa: BLE001 - handed to the owner, who raises it
            self.failure.set(error)


class _StreamReader:
    """Reads the source into blocks, hashes in order, cuts parts."""

    def __init__(self, run: _StreamRun, source_fd: int, at_end: Callable[[bytes, bytes], None]) -> None:
        self._run = run
        self._at_end = at_end
        self._fd = source_fd
        self._poll = select.poll()
        self._poll.register(source_fd, select.POLLIN)
        self._poll.register(run.failure.wake_fd, select.POLLIN)
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
        part_size = self._run.destination.part_size
        known = self._run.destination.ledger.known(index)
        part_hash = stream_hasher()
        length = 0
        while length < part_size and not self._ended:
            block = self._run.free_blocks.take()
            wanted = min(self._run.pipeline.blocks.size, part_size - length)
            view = self._run.pipeline.blocks.view(block, wanted)
            filled = self._fill(view)
            self._ended = filled < wanted
            if filled:
                self._observe(view[:filled], part_hash)
            if filled and known is None:
                self._run.pipeline.workers.for_part(index).send("block", index, block, filled)
            else:
                self._run.free_blocks.give(block)
            length += filled
        if self._ended:
            self._at_end(self._head, self._tail)
        if not length:
            return False
        if known is None:
            self._run.parts.read(index, length, part_hash.hexdigest())
            self._run.pipeline.workers.for_part(index).send("end", index)
        else:
            _check_reproduced(known, length, part_hash.hexdigest())
            self._run.parts.resume(known)
        return True

    def _fill(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            self._poll.poll()
            self._run.failure.check()
            count = os.readv(self._fd, [view[filled:]])
            if count == 0:
                break
            filled += count
        return filled

    def _observe(self, view: memoryview, part_hash: Hasher) -> None:
        self._hash.update(view)
        part_hash.update(view)
        self.stream_bytes += len(view)
        if len(self._head) < EDGE_BYTES:
            self._head += bytes(view[: EDGE_BYTES - len(self._head)])
        self._tail = (self._tail + bytes(view[-EDGE_BYTES:]))[-EDGE_BYTES:]


def _check_reproduced(known: Part, length: int, blake3: str) -> None:
    if (known.plain_bytes, known.plain_blake3) != (length, blake3):
        raise StreamNotReproducible(
            f"zfs send gave other bytes for part {known.index} than before the interruption",
            subject=known.key,
            next_step="The parts stored so far cannot be continued; a new backup begins from the start",
        )
