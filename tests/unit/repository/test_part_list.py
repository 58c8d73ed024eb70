# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of parts in a repository: written as a stream, and believed only whole and as it was signed."""

from __future__ import annotations

import hashlib
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from zrb.errors import (
    EngineError,
    LocalStateError,
    ManifestInvalid,
    ObjectArchived,
    ObjectExists,
    PartDamaged,
    PartMissing,
    StoreUnavailable,
    ThawNeeded,
)
from zrb.repository import part_list
from zrb.repository.part_list import open_part_list, write_part_list
from zrb.store.directory import DirectoryStore
from zrb.values.manifest import Manifest, Part
from zrb.values.part_list_json import encode_part

from tests.fakes.store import MemoryStore
from tests.fixtures.sample_manifests import sample_manifest, sample_part, sample_parts, with_parts

PARTS = sample_parts(sample_manifest())
MANIFEST = with_parts(sample_manifest(), PARTS)
KEY = MANIFEST.parts.key
CONTENT = b"".join(map(encode_part, PARTS))


def written(store: MemoryStore) -> MemoryStore:
    store.put(KEY, CONTENT)
    return store


def read(store: MemoryStore, manifest: Manifest = MANIFEST) -> list[Part]:
    with open_part_list(store, manifest) as parts:
        return list(parts)


def refused(store: MemoryStore, manifest: Manifest = MANIFEST) -> EngineError:
    with pytest.raises(EngineError) as caught:
        read(store, manifest)
    assert caught.value.subject == KEY
    return caught.value


@pytest.mark.parametrize("piece", [len(CONTENT) + 1, len(CONTENT), len(CONTENT) - 1, 100, 7])
def test_what_is_written_is_read_whatever_is_moved_at_once(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(part_list, "PIECE_BYTES", piece)
    store = MemoryStore()
    assert write_part_list(store, KEY, iter(PARTS), storage_class="STANDARD") == MANIFEST.parts
    assert store.get(KEY, limit=1 << 20) == CONTENT
    assert not store.unfinished
    assert write_part_list(store, KEY, iter(PARTS), storage_class="STANDARD") == MANIFEST.parts, "a run repeated"
    assert read(store) == PARTS


@pytest.mark.parametrize("block", [1, 2, 300, 10_000])
def test_lines_are_whole_wherever_a_block_ends(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(part_list, "_BLOCK_BYTES", block)
    assert read(written(MemoryStore())) == PARTS


def test_it_can_be_read_again_and_by_several_at_once() -> None:
    with open_part_list(written(MemoryStore()), MANIFEST) as parts:
        one, two = iter(parts), iter(parts)
        assert [next(one), next(one)] == PARTS[:2]
        assert list(two) == PARTS
        assert list(one) == PARTS[2:]


def test_it_needs_its_store_no_longer() -> None:
    store = written(MemoryStore())
    with open_part_list(store, MANIFEST) as parts:
        store.remove(KEY)
        assert list(parts) == PARTS


@pytest.mark.parametrize("position", range(0, len(CONTENT), 37))
def test_no_byte_may_differ(position: int) -> None:
    store = written(MemoryStore())
    store.corrupt(KEY, position)
    assert type(refused(store)) is PartDamaged


@pytest.mark.parametrize("size", [0, 1, len(CONTENT) // 2, len(CONTENT) - 1])
def test_it_may_not_be_cut(size: int) -> None:
    store = written(MemoryStore())
    store.truncate(KEY, size)
    assert type(refused(store)) is PartDamaged


@pytest.mark.parametrize("more", [b"\n", b"{}\n", encode_part(PARTS[0])])
def test_it_may_not_have_grown(more: bytes) -> None:
    store = MemoryStore()
    store.put(KEY, CONTENT + more)
    assert type(refused(store)) is PartDamaged


def test_it_may_not_be_missing() -> None:
    assert type(refused(MemoryStore())) is PartMissing


def test_one_that_is_archived_has_to_be_thawed() -> None:
    store = written(MemoryStore())
    store.archive(KEY)
    assert type(refused(store)) is ThawNeeded


def test_one_that_ends_while_it_is_read_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    store = written(MemoryStore())
    monkeypatch.setattr(part_list, "PIECE_BYTES", 100)
    monkeypatch.setattr(store, "read_into", cut_off_after(store.read_into, 3))
    assert type(refused(store)) is PartMissing


def cut_off_after(read_into: Callable[..., None], calls: int) -> Callable[..., None]:
    """``read_into`` of a store from which the object is removed after some calls."""
    left = iter(range(calls))

    def until_then(key: str, offset: int, buffer: memoryview) -> None:
        if next(left, None) is None:
            raise part_list.ObjectMissing("gone", subject=key, next_step="Look")
        read_into(key, offset, buffer)

    return until_then


@pytest.mark.parametrize(
    "parts",
    [
        PARTS[:2],
        PARTS[1:],
        [PARTS[0], PARTS[2], PARTS[1]],
        [*PARTS, PARTS[2]],
        [replace(PARTS[0], key=PARTS[1].key), *PARTS[1:]],
        [replace(PARTS[0], plain_bytes=99), *PARTS[1:]],
        [replace(PARTS[0], bytes=317), *PARTS[1:]],
    ],
)
def test_one_that_was_signed_and_breaks_the_rules_is_refused(parts: list[Part]) -> None:
    content = b"".join(map(encode_part, parts))
    summary = replace(MANIFEST.parts, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    store = MemoryStore()
    store.put(KEY, content)
    assert type(refused(store, replace(MANIFEST, parts=summary))) is ManifestInvalid


@pytest.mark.parametrize("content", [b"\n" * 1000, b"x" * 100_000, CONTENT[:-1], CONTENT + b"x", b"\xff" * 10])
def test_one_that_was_signed_and_is_no_list_is_refused(content: bytes) -> None:
    summary = replace(MANIFEST.parts, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    store = MemoryStore()
    store.put(KEY, content)
    assert type(refused(store, replace(MANIFEST, parts=summary))) is ManifestInvalid


def test_another_list_is_not_overwritten() -> None:
    store = written(MemoryStore())
    with pytest.raises(ObjectExists):
        write_part_list(store, KEY, iter(PARTS[:2]), storage_class="STANDARD")
    assert read(store) == PARTS


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_chunk_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    monkeypatch.setattr(part_list, "PIECE_BYTES", 400)
    store = MemoryStore()
    store.fail("put_chunk", nth=nth)
    with pytest.raises(StoreUnavailable):
        write_part_list(store, KEY, iter(PARTS), storage_class="STANDARD")
    assert (store.keys, store.unfinished) == ([], {})


def test_parts_that_end_with_an_error_are_not_listed() -> None:
    def broken() -> Iterator[Part]:
        yield PARTS[0]
        raise PartMissing("gone", next_step="Look")

    store = MemoryStore()
    with pytest.raises(PartMissing):
        write_part_list(store, KEY, broken(), storage_class="STANDARD")
    assert store.keys == []


def test_without_room_for_a_copy_it_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    for action in (read, lambda store: write_part_list(store, KEY, PARTS, storage_class="STANDARD")):
        with pytest.raises(LocalStateError) as caught:
            action(written(MemoryStore()))
        assert str(tmp_path / "none") in caught.value.problem


def test_memory_does_not_grow_with_the_number_of_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(part_list, "PIECE_BYTES", 64 * 1024)
    manifest = sample_manifest()

    def many(count: int) -> Iterator[Part]:
        return (sample_part(manifest, index, 100) for index in range(count))

    def peak(count: int) -> int:
        store = DirectoryStore(tmp_path / str(count))
        (tmp_path / str(count)).mkdir()
        tracemalloc.start()
        try:
            summary = write_part_list(store, KEY, many(count), storage_class="STANDARD")
            facts = {"stream": replace(manifest.stream, bytes=100 * count), "parts": summary}
            with open_part_list(store, replace(manifest, **facts)) as parts:
                assert sum(1 for _part in parts) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is made once
    assert peak(5000) < peak(500) + 128 * 1024


def test_reading_some_reads_no_further() -> None:
    with open_part_list(written(MemoryStore()), MANIFEST) as parts:
        assert list(islice(parts, 1)) == PARTS[:1]


def test_the_errors_of_the_store_come_through() -> None:
    store = written(MemoryStore())
    store.fail("read_into", error=ObjectArchived("archived", subject=KEY, next_step="Thaw"))
    assert type(refused(store)) is ThawNeeded
