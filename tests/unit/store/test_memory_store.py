# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake store does what every store does, and has the faults it promises."""

from __future__ import annotations

import pytest
from zrb.errors import ObjectArchived, StoreDenied, StoreUnavailable

from tests.fakes.conformance_of_stores import KEY, StoreConformance, read_all
from tests.fakes.store import MemoryStore


class TestMemoryStore(StoreConformance):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()


def test_the_nth_call_fails_and_has_no_effect() -> None:
    store = MemoryStore()
    store.fail("put", nth=2)
    store.put("data/1", b"1")
    with pytest.raises(StoreUnavailable, match="SlowDown"):
        store.put("data/2", b"2")
    store.put("data/3", b"3")
    assert store.keys == ["data/1", "data/3"]


def test_a_chosen_error_for_chosen_keys() -> None:
    store = MemoryStore()
    store.fail("put", key_part="manifests/", error=StoreDenied("no", next_step="ask"))
    store.put("data/1", b"1")
    with pytest.raises(StoreDenied):
        store.put("manifests/1", b"1")


def test_a_lost_reply_has_its_effect() -> None:
    store = MemoryStore()
    store.lose_reply("put")
    with pytest.raises(StoreUnavailable):
        store.put(KEY, b"content")
    assert store.get(KEY, limit=7) == b"content"


def test_storage_that_lies() -> None:
    store = MemoryStore()
    checksum = store.put(KEY, b"content")
    store.corrupt(KEY, 1)
    assert read_all(store, KEY, 3) == b"c\x90n"
    head = store.head(KEY)
    assert head is not None
    assert head.checksum == checksum
    store.truncate(KEY, 2)
    assert store.get(KEY, limit=7) == b"c\x90"
    store.replace(KEY, b"forged")
    assert store.get(KEY, limit=7) == b"forged"
    store.remove(KEY)
    assert store.head(KEY) is None


def test_archived_objects() -> None:
    store = MemoryStore()
    store.put(KEY, b"content", storage_class="GLACIER")
    for prepare, readable, thawing in [
        (lambda: None, False, False),
        (lambda: store.thaw(KEY, done=False), False, True),
        (lambda: store.thaw(KEY), True, False),
        (lambda: store.archive(KEY), False, False),
    ]:
        prepare()
        head = store.head(KEY)
        assert head is not None
        assert (head.readable, head.thawing) == (readable, thawing)
        if not readable:
            with pytest.raises(ObjectArchived):
                store.get(KEY, limit=7)


def test_unfinished_uploads_show() -> None:
    store = MemoryStore()
    upload = store.open_upload(KEY, total_chunks=1)
    assert list(store.unfinished) == [upload.upload_id]
    upload.abort()
    assert not store.unfinished
    assert store.calls == [("open_upload", KEY)]
    assert (store.kind, store.location) == ("s3", "memory://repository/")
