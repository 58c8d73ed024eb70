# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nothing reaches the receiver that the manifest does not cover, and never the end of a stream that is wrong."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import (
    EngineError,
    LocalStateError,
    ObjectArchived,
    PartDamaged,
    PartMissing,
    StoreUnavailable,
    StreamDamaged,
    WrongIdentity,
)
from zrb.plan.buffer_layout import count_chunks
from zrb.seal.age_keys import new_identity
from zrb.stream.part_downloads import Source
from zrb.stream.restore_pipeline import HELD_BACK_BYTES, RestorePipeline
from zrb.values.manifest import StreamDigest

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import (
    CHUNK,
    HANG_S,
    PART,
    Wanted,
    backup_pipeline,
    blake3,
    destination,
    fetch_bytes,
    fetch_into,
    manifest_of,
    random_bytes,
    restore_pipeline,
    store_bytes,
)

DATA = random_bytes(3 * PART + 9)


@pytest.fixture(scope="module")
def stored() -> tuple[Wanted, MemoryStore]:
    """A stream of four parts; only to be copied."""
    store = MemoryStore()
    pipeline = backup_pipeline()
    return manifest_of(store_bytes(pipeline, DATA, destination(store))), store


@pytest.fixture
def manifest(stored: tuple[Wanted, MemoryStore]) -> Wanted:
    return stored[0]


@pytest.fixture
def store(stored: tuple[Wanted, MemoryStore]) -> MemoryStore:
    """A copy of the repository with the stream."""
    copy = MemoryStore()
    for part in stored[0].parts:
        copy.put(part.key, stored[1].get(part.key, limit=part.bytes))
    copy.calls.clear()
    return copy


def fails(
    manifest: Wanted,
    store: MemoryStore,
    *,
    written: int = 0,
    pipeline: RestorePipeline | None = None,
) -> EngineError:
    """Fetch, which has to fail after exactly ``written`` bytes were handed out, and those are right."""
    taken = bytearray()
    with pytest.raises(EngineError) as caught:
        fetch_into(taken, pipeline or restore_pipeline(), manifest, store)
    assert bytes(taken) == DATA[:written]
    return caught.value


@pytest.mark.parametrize("position", [0, 100, PART // 2, -1])
def test_a_flipped_byte(manifest: Wanted, store: MemoryStore, position: int) -> None:
    store.corrupt("part-0", position)
    error = fails(manifest, store)
    assert type(error) is PartDamaged
    assert "part-0" in error.problem and "SHA-256" in error.problem
    assert error.answer.endswith(f"expected {manifest.parts[0].sha256}")
    assert "`zrb list`" in error.next_step


def test_a_flipped_byte_in_a_later_part(manifest: Wanted, store: MemoryStore) -> None:
    """What comes before it may be written: the receiver never sees the end."""
    store.corrupt("part-2")
    taken = bytearray()
    pipeline = restore_pipeline()
    with pytest.raises(PartDamaged, match="part-2"):
        fetch_into(taken, pipeline, manifest, store)
    assert len(taken) <= 2 * PART
    assert DATA.startswith(bytes(taken))


def test_the_first_damaged_part_is_named(manifest: Wanted, store: MemoryStore) -> None:
    """Even if a later one was there before it."""
    chunks = count_chunks(manifest.parts[1].bytes, CHUNK)
    arrived = threading.Semaphore(0)

    class Slow(MemoryStore):
        def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
            if (key, offset) == ("part-0", 0):
                for _ in range(chunks):
                    assert arrived.acquire(timeout=HANG_S)
            store.read_into(key, offset, buffer)
            if key == "part-1":
                arrived.release()

    store.corrupt("part-0", 9)
    store.corrupt("part-1", 9)
    error = fails(manifest, Slow(), pipeline=restore_pipeline(chunks=30, downloaders=6))
    assert (type(error), error.subject) == (PartDamaged, "part-0")


def test_a_swapped_part(manifest: Wanted, store: MemoryStore) -> None:
    other = store.get("part-1", limit=1 << 20)
    store.replace("part-0", other)
    assert type(fails(manifest, store)) is PartDamaged


def test_a_truncated_part(manifest: Wanted, store: MemoryStore) -> None:
    store.truncate("part-0", manifest.parts[0].bytes - 1)
    assert type(fails(manifest, store)) is PartDamaged


def test_a_missing_part(manifest: Wanted, store: MemoryStore) -> None:
    store.remove("part-0")
    error = fails(manifest, store)
    assert type(error) is PartMissing
    assert "part-0" in error.problem and store.location in error.problem
    assert "`zrb verify --depth exists`" in error.next_step


def test_an_archived_part(manifest: Wanted, store: MemoryStore) -> None:
    store.archive("part-0")
    assert type(fails(manifest, store)) is ObjectArchived


def test_a_store_that_fails(manifest: Wanted, store: MemoryStore) -> None:
    store.fail("read_into", nth=3, key_part="part-0")
    assert type(fails(manifest, store)) is StoreUnavailable


def test_the_wrong_identity(manifest: Wanted, store: MemoryStore) -> None:
    private, _ = new_identity()
    error = fails(manifest, store, pipeline=restore_pipeline(identities=(private,)))
    assert type(error) is WrongIdentity


def test_a_part_of_other_plaintext(manifest: Wanted, store: MemoryStore) -> None:
    """The object is as signed, but what is in it is not what the manifest says of it."""
    first = replace(manifest.parts[0], plain_blake3="0" * 64)
    taken = bytearray()
    pipeline = restore_pipeline()
    with pytest.raises(PartDamaged) as caught:
        fetch_into(taken, pipeline, replace(manifest, parts=(first, *manifest.parts[1:])), store)
    assert "part-0" in caught.value.problem
    assert len(taken) <= PART


def test_a_part_of_other_length(manifest: Wanted, store: MemoryStore) -> None:
    first = replace(manifest.parts[0], plain_bytes=PART - 1)
    pipeline = restore_pipeline()
    with pytest.raises(PartDamaged, match=r"part-0 .*decrypts"):
        fetch_bytes(pipeline, replace(manifest, parts=(first, *manifest.parts[1:])), store)


def test_the_end_is_held_back_until_the_whole_is_right(manifest: Wanted, store: MemoryStore) -> None:
    """Every part is right by itself, and the stream they make is not the signed one."""
    wrong = replace(manifest, stream=StreamDigest(len(DATA), "0" * 64))
    error = fails(wrong, store, written=len(DATA) - HELD_BACK_BYTES)
    assert type(error) is StreamDamaged
    assert manifest.backup_id in error.problem and "BLAKE3" in error.problem
    assert "`zrb list`" in error.next_step


def test_the_end_is_handed_out_last_and_at_once(manifest: Wanted, store: MemoryStore) -> None:
    pieces: list[bytes] = []
    pipeline = restore_pipeline()
    pipeline.fetch_stream(
        manifest, manifest.parts, Source(store, Path, lambda _count: None), lambda view: pieces.append(bytes(view))
    )
    assert b"".join(pieces) == DATA
    assert pieces[-1] == DATA[-HELD_BACK_BYTES:]
    assert max(len(piece) for piece in pieces) <= HELD_BACK_BYTES


@pytest.mark.parametrize("length", [1, HELD_BACK_BYTES - 1, HELD_BACK_BYTES, HELD_BACK_BYTES + 1])
def test_a_short_stream_is_held_back_whole(length: int) -> None:
    data, store = random_bytes(length), MemoryStore()
    pipeline = backup_pipeline()
    manifest = manifest_of(store_bytes(pipeline, data, destination(store)))
    wrong = replace(manifest, stream=StreamDigest(length, "0" * 64))
    taken = bytearray()
    pipeline = restore_pipeline()
    with pytest.raises(StreamDamaged):
        fetch_into(taken, pipeline, wrong, store)
    assert bytes(taken) == data[: max(0, length - HELD_BACK_BYTES)]


def test_fewer_parts_than_the_stream_has(manifest: Wanted, store: MemoryStore) -> None:
    """Parts left out at the end: all that remains is right, and still nothing passes for a whole stream."""
    fewer = replace(manifest, parts=manifest.parts[:-1])
    assert type(fails(fewer, store, written=len(DATA) - HELD_BACK_BYTES)) is StreamDamaged


def test_a_writer_that_raises(manifest: Wanted, store: MemoryStore) -> None:
    error = BrokenPipeError("the receiver is gone")

    def write(_view: memoryview) -> None:
        raise error

    pipeline = restore_pipeline()
    with pytest.raises(BrokenPipeError) as caught:
        pipeline.fetch_stream(manifest, manifest.parts, Source(store, Path, lambda _count: None), write)
    assert caught.value is error


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), MemoryError()])
def test_a_writer_that_is_interrupted(manifest: Wanted, store: MemoryStore, stop: BaseException) -> None:
    def write(_view: memoryview) -> None:
        raise stop

    pipeline = restore_pipeline()
    with pytest.raises(type(stop)):
        pipeline.fetch_stream(manifest, manifest.parts, Source(store, Path, lambda _count: None), write)
    assert fetch_bytes(pipeline, manifest, store) == DATA, "the next stream goes through"


def test_every_byte_fetched_is_told(manifest: Wanted, store: MemoryStore) -> None:
    moved: list[int] = []
    pipeline = restore_pipeline()
    pipeline.fetch_stream(manifest, manifest.parts, Source(store, Path, moved.append), lambda _view: None)
    assert sum(moved) == sum(part.bytes for part in manifest.parts)


def test_the_order_is_kept_when_the_first_parts_are_the_slowest(manifest: Wanted, store: MemoryStore) -> None:
    """The chunks of part 0 arrive when nothing else can be fetched any more."""
    others = threading.Semaphore(0)

    class Slow(MemoryStore):
        def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
            if key == "part-0" and offset == 0:
                others.acquire()
            store.read_into(key, offset, buffer)
            if (key, offset) == ("part-1", CHUNK):
                others.release()

    pipeline = restore_pipeline(chunks=30, downloaders=6)
    assert fetch_bytes(pipeline, manifest, Slow()) == DATA


class TestSpool:
    """Parts that the pool cannot hold whole wait on disk."""

    @pytest.mark.parametrize(("chunks", "spooled"), [(2, True), (10, True), (11, False)])
    def test_only_where_the_pool_is_too_small(
        self, manifest: Wanted, store: MemoryStore, tmp_path: Path, chunks: int, spooled: bool
    ) -> None:
        used: list[bool] = []

        def spool() -> Path:
            used.append(True)
            return tmp_path

        taken = bytearray()
        pipeline = restore_pipeline(chunks=chunks)
        pipeline.fetch_stream(manifest, manifest.parts, Source(store, spool, lambda _count: None), taken.extend)
        assert bytes(taken) == DATA
        assert bool(used) is spooled
        assert list(tmp_path.iterdir()) == []

    def test_it_never_holds_more_than_two_parts_and_others_cannot_read_them(
        self, store: MemoryStore, tmp_path: Path
    ) -> None:
        data, many = random_bytes(6 * PART), MemoryStore()
        pipeline = backup_pipeline()
        manifest = manifest_of(store_bytes(pipeline, data, destination(many)))
        seen: list[set[str]] = []
        modes: set[int] = set()
        taken = bytearray()

        def write(view: memoryview) -> None:
            files = list(tmp_path.iterdir())
            seen.append({path.name for path in files})
            modes.update(path.stat().st_mode & 0o777 for path in files)
            taken.extend(view)

        pipeline = restore_pipeline(chunks=2)
        pipeline.fetch_stream(manifest, manifest.parts, Source(many, lambda: tmp_path, lambda _count: None), write)
        assert bytes(taken) == data
        assert max(len(names) for names in seen) <= 2
        assert set().union(*seen) == {f"part-{index:06d}.age" for index in range(6)}
        assert modes == {0o600}

    def test_what_is_spooled_is_encrypted(self, manifest: Wanted, store: MemoryStore, tmp_path: Path) -> None:
        heads: set[bytes] = set()

        def write(_view: memoryview) -> None:
            heads.update(path.read_bytes()[:21] for path in tmp_path.iterdir())

        pipeline = restore_pipeline(chunks=2)
        pipeline.fetch_stream(manifest, manifest.parts, Source(store, lambda: tmp_path, lambda _count: None), write)
        assert b"age-encryption.org/v1" in heads

    def test_a_damaged_part_is_not_decrypted_and_leaves_nothing(
        self, manifest: Wanted, store: MemoryStore, tmp_path: Path
    ) -> None:
        store.corrupt("part-0", -1)
        taken = bytearray()
        pipeline = restore_pipeline(chunks=2)
        with pytest.raises(PartDamaged):
            fetch_into(taken, pipeline, manifest, store, tmp_path)
        assert not taken
        assert list(tmp_path.iterdir()) == []

    def test_a_failing_writer_leaves_nothing(self, manifest: Wanted, store: MemoryStore, tmp_path: Path) -> None:
        def write(_view: memoryview) -> None:
            raise BrokenPipeError

        pipeline = restore_pipeline(chunks=2)
        with pytest.raises(BrokenPipeError):
            pipeline.fetch_stream(manifest, manifest.parts, Source(store, lambda: tmp_path, lambda _count: None), write)
        assert list(tmp_path.iterdir()) == []

    def test_it_cannot_be_written(self, manifest: Wanted, store: MemoryStore, tmp_path: Path) -> None:
        pipeline = restore_pipeline(chunks=2)
        with pytest.raises(LocalStateError) as caught:
            fetch_bytes(pipeline, manifest, store, tmp_path / "gone")
        assert f"{tmp_path}/gone/part-000000.age" in caught.value.problem
        assert caught.value.answer == os.strerror(errno.ENOENT)
        assert "memory_limit" in caught.value.next_step

    def test_it_is_full(self, manifest: Wanted, store: MemoryStore, tmp_path: Path) -> None:
        (tmp_path / "part-000000.age").symlink_to("/dev/full")
        pipeline = restore_pipeline(chunks=2)
        with pytest.raises(LocalStateError, match=os.strerror(errno.ENOSPC)):
            fetch_bytes(pipeline, manifest, store, tmp_path)

    def test_it_cannot_be_made(self, manifest: Wanted, store: MemoryStore) -> None:
        error = LocalStateError("no spool", next_step="Make one")

        def spool() -> Path:
            raise error

        pipeline = restore_pipeline(chunks=2)
        with pytest.raises(LocalStateError) as caught:
            pipeline.fetch_stream(
                manifest, manifest.parts, Source(store, spool, lambda _count: None), lambda _view: None
            )
        assert caught.value is error

    def test_the_receiver_stops_while_a_third_part_waits_for_its_place(
        self, manifest: Wanted, store: MemoryStore, tmp_path: Path
    ) -> None:
        store.fail("read_into", key_part="part-1", nth=2)
        pipeline = restore_pipeline(chunks=2, downloaders=1)
        with pytest.raises(StoreUnavailable):
            fetch_bytes(pipeline, manifest, store, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_two_streams_through_one_pipeline(manifest: Wanted, store: MemoryStore, tmp_path: Path) -> None:
    pipeline = restore_pipeline(chunks=6)
    for _ in range(2):
        assert fetch_bytes(pipeline, manifest, store, tmp_path) == DATA


def test_the_hashes_are_those_of_the_format() -> None:
    """BLAKE3 of nothing, as its authors publish it."""
    assert blake3(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
