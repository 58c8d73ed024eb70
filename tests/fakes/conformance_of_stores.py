# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every store must do, whatever it is made of. Subclasses give the fixture ``store``: a store that is empty."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from zrb.errors import IntegrityError, ObjectExists, ObjectMissing, PartDamaged, StoreError
from zrb.store.protocol import BrokenOff, Store, free_flow
from zrb.values.manifest import Checksum

KEY = "data/nas1/pool/da%C3%A9ta/level0/20260131T020000Z-L0-5d41402a/snapshot.part-000000.age"
CHUNK = 5 * 1024 * 1024
"""The least that S3 takes for a chunk that is not the last."""

FOREIGN_KEYS = [
    *("", "/etc/passwd", "data/../../x", "data//x", "data/./x", "..", "data/", "data/ä", "data/a b", "data/a\nb"),
    *("data/a~", "data/" + "x" * 256, "data/a\\b", "data/a:b", "data/\x00"),
]


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Reproducible bytes without a pattern."""
    return random.Random(seed).randbytes(size)


def read_all(store: Store, key: str, size: int, offset: int = 0) -> bytes:
    """``size`` bytes from ``offset``."""
    buffer = bytearray(size)
    store.read_into(key, offset, memoryview(buffer))
    return bytes(buffer)


class StoreConformance:
    """The suite."""

    knows_when_uploads_began = True

    def test_what_is_put_can_be_read_headed_and_listed(self, store: Store) -> None:
        content = some_bytes(1000)
        checksum = store.put(KEY, content)
        assert store.get(KEY, limit=1000) == content
        head = store.head(KEY)
        assert head is not None
        assert (head.key, head.bytes, head.storage_class, head.readable) == (KEY, 1000, "STANDARD", True)
        assert head.checksum == checksum
        assert head.modified is not None
        assert [(entry.key, entry.bytes) for entry in store.list("")] == [(KEY, 1000)]

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
    def test_every_kind_of_buffer_is_taken(self, store: Store, wrap: Callable[[bytes], bytes]) -> None:
        store.put(KEY, wrap(b"content"))
        assert store.get(KEY, limit=7) == b"content"

    def test_a_hash_that_the_caller_has_is_taken(self, store: Store) -> None:
        digest = hashlib.sha256(b"content").digest()
        with_it = store.put("data/1", b"content", sha256=digest)
        assert with_it == store.put("data/2", b"content")
        uploads = [store.open_upload(f"data/3-{known}", total_chunks=1) for known in (True, False)]
        for upload, sha256 in zip(uploads, (digest, None), strict=True):
            upload.put_chunk(0, 0, b"content", sha256=sha256)
        assert uploads[0].complete() == uploads[1].complete()

    def test_a_key_is_written_once(self, store: Store) -> None:
        store.put(KEY, b"first")
        with pytest.raises(ObjectExists) as caught:
            store.put(KEY, b"other")
        assert KEY in caught.value.explain()
        assert caught.value.subject == KEY
        assert store.get(KEY, limit=10) == b"first"

    def test_the_same_content_again_is_success(self, store: Store) -> None:
        assert store.put(KEY, b"same") == store.put(KEY, b"same")

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        store.put("manifests/empty", b"")
        assert store.get("manifests/empty", limit=0) == b""
        store.read_into("manifests/empty", 0, memoryview(bytearray()))

    def test_what_is_absent_is_said_to_be(self, store: Store) -> None:
        assert store.head(KEY) is None
        assert store.holds(KEY, size=1, sha256="00" * 32, expected=Checksum("none", "")) is None
        assert list(store.list("manifests/")) == []
        with pytest.raises(ObjectMissing) as caught:
            store.get(KEY, limit=10)
        assert caught.value.subject == KEY
        with pytest.raises(ObjectMissing):
            read_all(store, KEY, 1)

    def test_get_refuses_what_is_longer_than_expected(self, store: Store) -> None:
        store.put(KEY, b"12345")
        assert store.get(KEY, limit=5) == b"12345"
        with pytest.raises(IntegrityError, match="longer than"):
            store.get(KEY, limit=4)

    def test_ranges(self, store: Store) -> None:
        content = some_bytes(3_000_000)
        store.put(KEY, content)
        for offset, size in [(0, 3_000_000), (0, 1), (2_999_999, 1), (1_000_000, 1_500_001)]:
            assert read_all(store, KEY, size, offset) == content[offset : offset + size]

    @pytest.mark.parametrize(("offset", "size"), [(0, 11), (9, 2), (10, 1), (500, 1)])
    def test_reading_beyond_the_end_is_damage(self, store: Store, offset: int, size: int) -> None:
        store.put(KEY, b"0123456789")
        with pytest.raises(PartDamaged) as caught:
            read_all(store, KEY, size, offset)
        assert KEY in caught.value.explain()

    def test_the_flow_is_asked_for_every_byte_that_moves(self, store: Store) -> None:
        asked: list[int] = []
        store.put("manifests/before", b"unregulated")
        store.regulate(asked.append)
        content = some_bytes(CHUNK + 100_000)
        store.put(KEY + ".age", content[:3_000_000])
        assert sum(asked) == 3_000_000
        upload = store.open_upload(KEY, total_chunks=2)
        upload.put_chunk(0, 0, content[:CHUNK])
        upload.put_chunk(1, CHUNK, content[CHUNK:])
        upload.complete()
        assert sum(asked) == 3_000_000 + len(content)
        assert read_all(store, KEY, CHUNK, 1000) == content[1000 : 1000 + CHUNK]
        assert sum(asked) == 3_000_000 + len(content) + CHUNK
        store.regulate(free_flow)
        read_all(store, KEY, 1000)
        assert sum(asked) == 3_000_000 + len(content) + CHUNK

    def test_a_flow_breaks_transfers_off_in_their_midst(self, store: Store) -> None:
        content = some_bytes(CHUNK)
        store.put(KEY + ".age", content)
        left = 2_000_000

        def flow(length: int) -> None:
            nonlocal left
            left -= length
            if left < 0:
                raise BrokenOff

        store.regulate(flow)
        with pytest.raises(BrokenOff):
            store.put(KEY, content)
        upload = store.open_upload(KEY, total_chunks=1)
        with pytest.raises(BrokenOff):
            upload.put_chunk(0, 0, content)
        upload.abort()
        with pytest.raises(BrokenOff):
            read_all(store, KEY + ".age", CHUNK)
        assert store.head(KEY) is None
        store.regulate(free_flow)
        store.put(KEY, content)
        assert read_all(store, KEY, CHUNK) == content

    def test_chunks_in_any_order_from_many_threads(self, store: Store) -> None:
        content = some_bytes(2 * CHUNK + 777)
        upload = store.open_upload(KEY, total_chunks=3)
        with ThreadPoolExecutor(3) as pool:
            done = [
                pool.submit(upload.put_chunk, number, number * CHUNK, content[number * CHUNK : (number + 1) * CHUNK])
                for number in (2, 0, 1)
            ]
            for future in done:
                future.result()
        assert store.head(KEY) is None, "nothing may be visible before the end"
        assert list(store.list("")) == []
        checksum = upload.complete()
        head = store.head(KEY)
        assert head is not None
        assert (head.bytes, head.checksum) == (len(content), checksum)
        assert read_all(store, KEY, len(content)) == content
        upload.abort()
        assert store.head(KEY) == head, "abort after complete does nothing"

    def test_an_upload_of_one_chunk_and_unknown_length(self, store: Store) -> None:
        upload = store.open_upload(KEY, total_chunks=None)
        upload.put_chunk(0, 0, b"only")
        upload.complete()
        assert store.get(KEY, limit=4) == b"only"

    def test_a_chunk_that_is_written_again_replaces_the_first(self, store: Store) -> None:
        upload = store.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"fails")
        upload.put_chunk(0, 0, b"works")
        upload.complete()
        assert store.get(KEY, limit=5) == b"works"

    @pytest.mark.parametrize(
        ("written", "total"),
        [
            ([(0, 0), (2, 8)], 3),
            ([(1, 4)], None),
            ([], None),
            ([(0, 0)], 2),
            ([(0, 0), (1, 5)], 2),
            ([(0, 0), (1, 4)], 1),
        ],
    )
    def test_holes_are_never_published(self, store: Store, written: list[tuple[int, int]], total: int | None) -> None:
        upload = store.open_upload(KEY, total_chunks=total)
        for number, offset in written:
            upload.put_chunk(number, offset, b"1234")
        with pytest.raises(StoreError, match="hole"):
            upload.complete()
        upload.abort()
        assert store.head(KEY) is None

    def test_an_upload_over_other_content_is_refused(self, store: Store) -> None:
        upload = store.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"second")
        store.put(KEY, b"first!")
        with pytest.raises(ObjectExists, match="exists already"):
            upload.complete()
        assert store.get(KEY, limit=6) == b"first!"

    def test_two_uploads_of_the_same_content_both_succeed(self, store: Store) -> None:
        content = some_bytes(CHUNK + 1)
        uploads = [store.open_upload(KEY, total_chunks=2) for _ in range(2)]
        for upload in uploads:
            upload.put_chunk(1, CHUNK, content[CHUNK:])
            upload.put_chunk(0, 0, content[:CHUNK])
        assert uploads[0].complete() == uploads[1].complete()
        assert read_all(store, KEY, len(content)) == content

    def test_abort_leaves_nothing_and_may_be_repeated(self, store: Store) -> None:
        upload = store.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        upload.abort()
        upload.abort()
        assert list(store.list("")) == []
        with pytest.raises(StoreError):
            upload.put_chunk(0, 0, b"content")

    def test_an_upload_of_a_dead_process_is_aborted_by_its_name(self, store: Store) -> None:
        upload = store.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        store.abort_upload(KEY, upload.upload_id)
        store.abort_upload(KEY, upload.upload_id)
        with pytest.raises(StoreError):
            upload.complete()
        assert list(store.list("")) == []

    def test_unfinished_uploads_are_shown_until_they_end(self, store: Store) -> None:
        keys = [f"data/{name}/object" for name in "abcd"]
        uploads = {key: store.open_upload(key, total_chunks=1) for key in (*keys, "other/object")}
        for upload in uploads.values():
            upload.put_chunk(0, 0, b"content")
        shown = {one.upload_id: one for one in store.uploads("data/")}
        assert shown.keys() == {uploads[key].upload_id for key in keys}
        assert {one.bytes for one in shown.values()} <= {None, len(b"content")}
        ages = [datetime.now(UTC) - one.started for one in shown.values()]
        assert min(ages) > -timedelta(days=1), "what is not younger than now may be removed too late, and not too early"
        assert max(ages) < timedelta(days=1) or not self.knows_when_uploads_began
        for key in keys[:2]:
            one = shown[uploads[key].upload_id]
            assert one.key.rpartition("/")[0] == key.rpartition("/")[0]
            store.abort_upload(one.key, one.upload_id)
        uploads[keys[2]].complete()
        uploads[keys[3]].abort()
        uploads["other/object"].abort()
        assert list(store.uploads("")) == []
        assert [item.key for item in store.list("")] == keys[2:3]

    def test_holds_proves_content(self, store: Store) -> None:
        content = some_bytes(2 * CHUNK)
        upload = store.open_upload(KEY, total_chunks=2)
        upload.put_chunk(0, 0, content[:CHUNK])
        upload.put_chunk(1, CHUNK, content[CHUNK:])
        checksum = upload.complete()
        sha256 = hashlib.sha256(content).hexdigest()
        assert store.holds(KEY, size=len(content), sha256=sha256, expected=Checksum("none", "")) == checksum
        with pytest.raises(ObjectExists):
            store.holds(KEY, size=len(content) - 1, sha256=sha256, expected=Checksum("none", ""))
        with pytest.raises(ObjectExists):
            store.holds(KEY, size=len(content), sha256="00" * 32, expected=Checksum("none", ""))
        small = store.put("zrb.json", b"small")
        assert small == store.holds(
            "zrb.json", size=5, sha256=hashlib.sha256(b"small").hexdigest(), expected=Checksum("none", "")
        )

    def test_listing_is_in_key_order_and_by_prefix(self, store: Store) -> None:
        keys = ["data/a-b/1", "data/a.b", "data/a/2", "data/a/10", "data/a%20b/1", "data/aB", "zrb.json"]
        for key in reversed(keys):
            store.put(key, b"x")
        assert [entry.key for entry in store.list("")] == sorted(keys)
        assert [entry.key for entry in store.list("data/a/")] == ["data/a/10", "data/a/2"]
        assert [entry.key for entry in store.list("data/a")] == [
            key for key in sorted(keys) if key.startswith("data/a")
        ]
        assert [entry.key for entry in store.list("data/a-")] == ["data/a-b/1"]
        assert [entry.key for entry in store.list("zrb.json")] == ["zrb.json"]
        assert list(store.list("zrb.json/")) == []
        assert list(store.list("none/")) == []

    def test_a_long_listing_is_whole(self, store: Store) -> None:
        keys = [f"manifests/nas1/pool/{number:04d}.json" for number in range(1005)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: store.put(key, b"{}"), keys))
        assert [entry.key for entry in store.list("manifests/")] == keys

    @pytest.mark.parametrize("key", FOREIGN_KEYS)
    def test_a_key_outside_the_format_is_refused(self, store: Store, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.put(key, b""),
            lambda: store.open_upload(key, total_chunks=1),
            lambda: store.abort_upload(key, "x"),
            lambda: store.holds(key, size=0, sha256="00" * 32, expected=Checksum("none", "")),
            lambda: store.head(key),
            lambda: store.get(key, limit=10),
            lambda: store.read_into(key, 0, memoryview(bytearray(1))),
        ]
        for call in calls:
            with pytest.raises(IntegrityError, match="key of a repository"):
                call()

    def test_a_prefix_outside_the_format_is_refused(self, store: Store) -> None:
        with pytest.raises(IntegrityError, match="key of a repository"):
            list(store.list("../"))

    def test_many_threads_write_one_key_and_one_content_wins(self, store: Store) -> None:
        def write(number: int) -> bytes | None:
            content = b"%d" % number
            try:
                store.put("zrb.json", content)
            except ObjectExists:
                return None
            return content

        with ThreadPoolExecutor(4) as pool:
            winners = [content for content in pool.map(write, range(8)) if content is not None]
        assert winners == [store.get("zrb.json", limit=10)]

    def test_closing_twice_is_fine(self, store: Store) -> None:
        store.close()
        store.close()
