# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes out comes back, for every length that sits on an edge and every way to cut it."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pyrage
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from zrb.store.directory import DirectoryStore
from zrb.values.manifest import Checksum

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import (
    CHUNK,
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
    opened,
    random_bytes,
    restore_pipeline,
    store_bytes,
)

AGE = 64 * KIB
EDGES = [1, AGE - 1, AGE, AGE + 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 7]
LENGTHS = st.one_of(st.sampled_from(EDGES), st.integers(1, 4 * PART))


def assert_parts_are_right(store: MemoryStore, data: bytes, stored: Stored) -> None:
    pieces = cut(data)
    assert (stored.stream_bytes, stored.blake3) == (len(data), blake3(data))
    assert [part.index for part in stored.parts] == list(range(len(pieces)))
    assert [part.plain_bytes for part in stored.parts] == [len(piece) for piece in pieces]
    for part, piece in zip(stored.parts, pieces, strict=True):
        sealed = store.get(part.key, limit=part.bytes)
        assert (part.bytes, part.sha256) == (len(sealed), hashlib.sha256(sealed).hexdigest())
        assert part.plain_blake3 == blake3(piece)
        assert part.checksum.kind in {"sha256", "sha256-composite"}
        assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(IDENTITY)]) == piece
    assert store.keys == sorted(part.key for part in stored.parts)
    assert not store.unfinished


@pytest.mark.parametrize("chunk", [CHUNK, AGE, 256 * KIB], ids=["small", "age's own", "a part in one PUT"])
def test_every_length_comes_back(chunk: int) -> None:
    """One pipeline of each kind carries all the streams, one after another."""
    with (
        backup_pipeline(chunk, sealers=2, chunks=5) as backup,
        restore_pipeline(chunk, openers=2, chunks=12) as restore,
    ):

        @settings(max_examples=15, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
        @given(length=LENGTHS, seed=st.integers(0, 1000))
        def comes_back(length: int, seed: int) -> None:
            data, store, ledger = random_bytes(length, seed), MemoryStore(), Ledger()
            stored = store_bytes(backup, data, destination(store, ledger))
            assert_parts_are_right(store, data, stored)
            indices = {part.index for part in stored.parts}
            assert ledger.indices("sealed") == ledger.indices("stored") == indices
            assert fetch_bytes(restore, manifest_of(stored), store) == data

        for length in EDGES:
            comes_back = example(length=length, seed=length)(comes_back)
        comes_back()


def test_a_part_that_is_exactly_one_chunk_is_a_single_put(store: MemoryStore) -> None:
    with backup_pipeline() as pipeline:
        (part,) = store_bytes(pipeline, random_bytes(100), destination(store)).parts
    # The chunk is full to its last byte only when it is as long as the sealed part.
    exact = MemoryStore()
    for chunk in (part.bytes, part.bytes - 1):
        with backup_pipeline(chunk) as pipeline:
            (other,) = store_bytes(pipeline, random_bytes(100), destination(exact, part_size=PART)).parts
        assert other.checksum.kind == ("sha256" if other.bytes <= chunk else "sha256-composite")
        exact.remove(other.key)
    assert [call for call, _ in store.calls] == ["put"]


def test_the_ledger_knows_before_the_store_does(store: MemoryStore) -> None:
    ledger = Ledger()
    with backup_pipeline() as pipeline:
        store_bytes(pipeline, random_bytes(2 * PART), destination(store, ledger))
    for index in (0, 1):
        events = [name for name, of in ledger.events if of == index]
        assert events == ["known", "opened", "sealed", "stored"]


def test_every_byte_moved_is_told(store: MemoryStore) -> None:
    moved: list[int] = []
    with backup_pipeline() as pipeline:
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

                def put_chunk(self, number: int, offset: int, data: memoryview) -> None:
                    with turn:
                        if number == 0:
                            turn.wait_for(lambda: len(numbers) >= 2)
                        upload.put_chunk(number, offset, data)
                        numbers.add(number)
                        turn.notify_all()

            return Upload()

    data = random_bytes(3 * PART)
    store = LateFirst(tmp_path)
    with backup_pipeline(uploaders=4) as pipeline:
        stored = store_bytes(pipeline, data, destination(store))
    assert all(part.checksum == Checksum("none", "") for part in stored.parts)
    assert [opened(store, part) for part in stored.parts] == list(cut(data))
    with restore_pipeline() as pipeline:
        assert fetch_bytes(pipeline, manifest_of(stored), store) == data


def test_an_empty_stream_makes_no_part(store: MemoryStore) -> None:
    edges: list[tuple[bytes, bytes]] = []
    with backup_pipeline() as pipeline:
        stored = store_bytes(pipeline, b"", destination(store), at_end=lambda *both: edges.append(both))
    assert (stored.stream_bytes, stored.parts, store.keys) == (0, (), [])
    assert edges == [(b"", b"")]


@pytest.mark.parametrize("length", [1, 311, 312, 313, 48 * KIB + 5, PART, PART + 200])
def test_the_edges_of_the_stream_are_shown(store: MemoryStore, length: int) -> None:
    data, edges = random_bytes(length), []
    with backup_pipeline() as pipeline:
        store_bytes(pipeline, data, destination(store), at_end=lambda head, tail: edges.append((head, tail)))
    assert edges == [(data[:312], data[-312:])]


def test_parts_open_for_every_recipient(store: MemoryStore) -> None:
    from zrb.seal.age import new_identity

    private, public = new_identity()
    data = random_bytes(PART + 1)
    with backup_pipeline(recipients=(RECIPIENT, public)) as pipeline:
        stored = store_bytes(pipeline, data, destination(store))
    for identity in (private, IDENTITY):
        with restore_pipeline(identities=(identity,)) as restore:
            assert fetch_bytes(restore, manifest_of(stored), store) == data
