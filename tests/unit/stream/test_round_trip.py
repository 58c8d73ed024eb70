# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes out comes back, for every length that sits on an edge and every way to cut it."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from zrb.plan.buffer_layout import sealed_bytes
from zrb.seal.age import AgeSealer
from zrb.seal.age_keys import new_identity
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import Flow
from zrb.stream.backup_pipeline import BackupPipeline
from zrb.stream.part_downloads import Source
from zrb.stream.restore_pipeline import RestorePipeline
from zrb.values.manifest import Checksum

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import (
    IDENTITY,
    KIB,
    PART,
    RECIPIENT,
    Ledger,
    Stored,
    backup_pipeline,
    blake3,
    cut,
    destination,
    fetch_bytes,
    manifest_of,
    no_spool,
    opened,
    random_bytes,
    restore_pipeline,
    store_bytes,
    trickling,
    with_parts,
)

PIECE = 64 * KIB
HEADER = len(AgeSealer([RECIPIENT]).begin().header)


@dataclass(frozen=True)
class Sizes:
    """One way to cut a stream into blocks, chunks and parts."""

    block: int
    chunk: int
    part: int
    threads: int = 3
    blocks: int = 4
    spare_chunks: int = 0

    @property
    def borders(self) -> list[int]:
        """Lengths of streams that end at a border, and just before and behind it."""
        a_chunk = next(n for n in range(max(1, self.chunk - HEADER - 100), self.chunk) if self.sealed(n) >= self.chunk)
        ends = {PIECE, self.block, 2 * self.block, a_chunk, self.part, self.part + self.block, 2 * self.part}
        return sorted({0, 1, *(end + step for end in ends for step in (-1, 0, 1)), 3 * self.part + 7})

    @staticmethod
    def sealed(length: int) -> int:
        """The length of a part that holds ``length`` bytes."""
        return HEADER + sealed_bytes(length)

    def backup(self) -> BackupPipeline:
        """The pipeline with these sizes, and no chunk more than it needs."""
        return backup_pipeline(
            self.chunk,
            block=self.block,
            threads=self.threads,
            blocks=self.blocks,
            uploaders=2,
            chunks=self.spare_chunks,
        )

    def restore(self, *, room: int) -> RestorePipeline:
        """The pipeline with ``room`` for so many bytes of parts."""
        return restore_pipeline(
            self.chunk, block=self.block, threads=self.threads, blocks=self.blocks, chunks=max(2, room // self.chunk)
        )


SIZES = {
    "many chunks a block": Sizes(block=PIECE, chunk=16 * KIB, part=160 * KIB),
    "a chunk is a piece": Sizes(block=PIECE, chunk=PIECE, part=192 * KIB, blocks=2, threads=2),
    "a block is larger than a chunk": Sizes(block=2 * PIECE, chunk=100_000, part=300_001),
    "many blocks a chunk": Sizes(block=PIECE, chunk=256 * KIB, part=640 * KIB, threads=8, blocks=18),
    "a part is a chunk": Sizes(block=PIECE, chunk=256 * KIB, part=160 * KIB, spare_chunks=6),
    "one of all": Sizes(block=PIECE, chunk=96 * KIB, part=256 * KIB, threads=1, blocks=2),
    "a part is less than a piece": Sizes(block=PIECE, chunk=40_000, part=30_000),
}


def assert_parts_are_right(store: MemoryStore, data: bytes, stored: Stored, part_size: int) -> None:
    pieces = cut(data, part_size)
    assert (stored.stream_bytes, stored.blake3) == (len(data), blake3(data))
    assert [part.index for part in stored.parts] == list(range(len(pieces)))
    assert [part.plain_bytes for part in stored.parts] == [len(piece) for piece in pieces]
    for part, piece in zip(stored.parts, pieces, strict=True):
        sealed = store.get(part.key, limit=part.bytes)
        assert (part.bytes, part.sha256) == (len(sealed), hashlib.sha256(sealed).hexdigest())
        assert part.bytes == Sizes.sealed(part.plain_bytes)
        assert part.plain_blake3 == blake3(piece)
        assert part.checksum.kind in {"sha256", "sha256-composite"}
        assert opened(store, part) == piece
    assert store.keys == sorted(part.key for part in stored.parts)
    assert not store.unfinished


@pytest.mark.parametrize("proof", [True, False], ids=["proof", "no proof"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_length_comes_back(sizes: Sizes, proof: bool, tmp_path: Path) -> None:
    """One pipeline of each kind carries all the streams, one after another; parts go through the pool and the spool."""
    backup = sizes.backup()
    backup.proof = proof
    lengths = st.one_of(st.sampled_from(sizes.borders), st.integers(0, 4 * sizes.part))

    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(length=lengths, seed=st.integers(0, 1000), room=st.integers(0, 3 * sizes.part))
    def comes_back(length: int, seed: int, room: int) -> None:
        data, store, ledger = random_bytes(length, seed), MemoryStore(), Ledger()
        stored = store_bytes(backup, data, destination(store, ledger, part_size=sizes.part))
        assert_parts_are_right(store, data, stored, sizes.part)
        indices = {part.index for part in stored.parts}
        assert ledger.indices("sealed") == ledger.indices("stored") == indices
        restore = sizes.restore(room=room)
        assert fetch_bytes(restore, manifest_of(stored), store, tmp_path) == data
        assert list(tmp_path.iterdir()) == []

    for length in sizes.borders:
        comes_back = example(length=length, seed=length, room=length % 2 * 3 * sizes.part)(comes_back)
    comes_back()


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_source_that_gives_little_at_a_time(sizes: Sizes) -> None:
    """Wherever a read ends, blocks are full, and the last one is known."""
    data, store = random_bytes(sizes.part + sizes.block), MemoryStore()
    with trickling(data, [1, 311, PIECE - 1, 7, PIECE + 1]) as source_fd:
        where = destination(store, part_size=sizes.part)
        stored = with_parts(
            sizes.backup().store_stream(source_fd, where, at_end=lambda _head, _tail: None), where.ledger
        )
    assert_parts_are_right(store, data, stored, sizes.part)


def test_a_slow_store_and_a_slow_receiver() -> None:
    """Every buffer is full for most of the time, in both directions."""

    class SlowStore(MemoryStore):
        def regulate(self, flow: Flow) -> None:
            super().regulate(lambda length: (time.sleep(0.002), flow(length)))

    data, store = random_bytes(6 * PART + 1), SlowStore()
    stored = store_bytes(backup_pipeline(), data, destination(store))
    taken = bytearray()

    def write(view: memoryview) -> None:
        time.sleep(0.002)
        taken.extend(view)

    restore_pipeline().fetch_stream(
        manifest_of(stored), stored.parts, Source(store, no_spool, lambda _count: None), write
    )
    assert bytes(taken) == data


def test_a_part_that_is_exactly_one_chunk_is_a_single_put(store: MemoryStore) -> None:
    pipeline = backup_pipeline()
    (part,) = store_bytes(pipeline, random_bytes(100), destination(store)).parts
    # The chunk is full to its last byte only when it is as long as the sealed part.
    exact = MemoryStore()
    for chunk in (part.bytes, part.bytes - 1):
        pipeline = backup_pipeline(chunk)
        (other,) = store_bytes(pipeline, random_bytes(100), destination(exact, part_size=PART)).parts
        assert other.checksum.kind == ("sha256" if other.bytes <= chunk else "sha256-composite")
        exact.remove(other.key)
    assert [call for call, _ in store.calls] == ["put"]


def test_the_ledger_knows_before_the_store_does(store: MemoryStore) -> None:
    ledger = Ledger()
    pipeline = backup_pipeline()
    store_bytes(pipeline, random_bytes(2 * PART), destination(store, ledger))
    for index in (0, 1):
        events = [name for name, of in ledger.events if of == index]
        assert events == ["known", "opened", "sealed", "stored"]


def test_every_byte_moved_is_told(store: MemoryStore) -> None:
    moved: list[int] = []
    pipeline = backup_pipeline()
    stored = store_bytes(pipeline, random_bytes(PART + 5), destination(store, moved=moved.append))
    assert sum(moved) == sum(part.bytes for part in stored.parts)


def test_chunks_may_arrive_in_any_order(tmp_path: Path) -> None:
    """The first chunk of every upload waits until the last one of its part has arrived."""
    turn = threading.Condition()
    arrived: dict[str, set[int]] = {}

    class LateFirst(DirectoryStore):
        def open_upload(self, key: str, **more: object) -> object:  # type: ignore[override]
            upload = super().open_upload(key, total_chunks=None)
            numbers = arrived.setdefault(key, set())

            class Upload:
                upload_id = upload.upload_id
                expected_checksum = staticmethod(upload.expected_checksum)
                complete = staticmethod(upload.complete)
                abort = staticmethod(upload.abort)

                def put_chunk(self, number: int, offset: int, data: memoryview, *, sha256: bytes | None) -> None:
                    with turn:
                        if number == 0:
                            turn.wait_for(lambda: len(numbers) >= 2)
                        upload.put_chunk(number, offset, data)
                        numbers.add(number)
                        turn.notify_all()

            return Upload()

    data = random_bytes(3 * PART)
    store = LateFirst(tmp_path)
    pipeline = backup_pipeline(uploaders=4)
    stored = store_bytes(pipeline, data, destination(store))
    assert all(part.checksum == Checksum("none", "") for part in stored.parts)
    assert [opened(store, part) for part in stored.parts] == list(cut(data))
    pipeline = restore_pipeline()
    assert fetch_bytes(pipeline, manifest_of(stored), store) == data


def test_an_empty_stream_makes_no_part(store: MemoryStore) -> None:
    edges: list[tuple[bytes, bytes]] = []
    pipeline = backup_pipeline()
    stored = store_bytes(pipeline, b"", destination(store), at_end=lambda *both: edges.append(both))
    assert (stored.stream_bytes, stored.parts, store.keys) == (0, (), [])
    assert edges == [(b"", b"")]


@pytest.mark.parametrize("length", [1, 311, 312, 313, PIECE + 5, PART, PART + 200])
def test_the_edges_of_the_stream_are_shown(store: MemoryStore, length: int) -> None:
    data, edges = random_bytes(length), []
    pipeline = backup_pipeline()
    store_bytes(pipeline, data, destination(store), at_end=lambda head, tail: edges.append((head, tail)))
    assert edges == [(data[:312], data[-312:])]


def test_parts_open_for_every_recipient(store: MemoryStore) -> None:
    private, public = new_identity()
    data = random_bytes(PART + 1)
    pipeline = backup_pipeline(recipients=(RECIPIENT, public))
    stored = store_bytes(pipeline, data, destination(store))
    for identity in (private, IDENTITY):
        restore = restore_pipeline(identities=(identity,))
        assert fetch_bytes(restore, manifest_of(stored), store) == data
