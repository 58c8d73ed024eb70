# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: what was written is read again, whatever a crash left of it; nothing is resumed that does not fit."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import stat
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zrb.errors import LocalStateError, ObjectExists, StoreDenied, StoreUnavailable
from zrb.state.journal import Binding, Journal, JournalDamaged, backup_id_of, journals_in
from zrb.values.json_records import write_record
from zrb.values.manifest import Checksum, Part
from zrb.values.progress import Silent
from zrb.values.repository_names import BackupId, Series

from tests.fakes.fleet import Recorded
from tests.fakes.store import MemoryStore
from tests.fixtures.sample_manifests import RECIPIENT

OTHER_RECIPIENT = RECIPIENT.translate(str.maketrans("qp", "pq"))
ID = BackupId("20260131T020000Z-L1-5d41402a")
BINDING = Binding(
    repository_id="0123456789abcdef" * 2,
    backup_id=ID,
    host="nas1",
    dataset="tank/dätä",
    dataset_guid="4242",
    snapshot="tank/dätä@zrb_level1_20260131T020000Z",
    snapshot_guid="18446744073709551615",
    base_id="20260130T020000Z-L0-00000001",
    base_guid="7",
    level=1,
    level_requested=2,
    reason="level 2 is not possible",
    flags=("-L", "-c"),
    zfs_version="zfs-2.3.2",
    part_size=65536,
    recipients=(RECIPIENT, OTHER_RECIPIENT),
    storage_class="STANDARD",
)
OTHER: dict[str, Any] = {
    "repository_id": "f" * 32,
    "host": "nas2",
    "dataset": "tank/other",
    "dataset_guid": "4243",
    "base_id": None,
    "base_guid": None,
    "level": 2,
    "flags": ("-L",),
    "part_size": 65537,
    "recipients": (OTHER_RECIPIENT, RECIPIENT),
    "storage_class": "GLACIER",
}
"""Another value for each field that shapes bytes or says what they are."""

OWN: dict[str, Any] = {
    "zfs_version": "zfs-2.3.3",
    "backup_id": "20260131T020000Z-L1-00000000",
    "snapshot": "",
    "snapshot_guid": "",
    "level_requested": 1,
    "reason": "",
}
"""Another value for each field that only names this backup, or shapes how it is moved."""


def part(index: int, content: bytes = b"sealed") -> Part:
    digest = hashlib.sha256(content).hexdigest()
    key = Series("nas1", "tank/dätä").part_key(ID, 1, index)
    return Part(index, key, 65536, "b" * 64, len(content), digest, Checksum("none", ""))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.create(tmp_path, BINDING)


class TestBinding:
    def test_the_tables_are_complete(self) -> None:
        assert {field.name for field in fields(Binding)} == {*OTHER, *OWN, "journal"}

    @pytest.mark.parametrize("name", OTHER)
    def test_what_shapes_bytes_has_to_be_the_same(self, name: str) -> None:
        other = replace(BINDING, **{name: OTHER[name]})
        assert other != BINDING
        assert not BINDING.fits(other)
        assert not other.fits(BINDING)

    def test_what_names_this_backup_may_differ(self) -> None:
        other = replace(BINDING, **OWN)
        assert BINDING.fits(BINDING)
        assert BINDING.fits(other)
        assert other.fits(BINDING)


def test_what_was_written_is_read_again(journal: Journal) -> None:
    stored = replace(part(0), checksum=Checksum("sha256", "abc="))
    journal.opened(0, part(0).key, "upload-1")
    journal.sealed(part(0))
    journal.stored(stored)
    journal.sealed(part(1))
    again = Journal.load(journal.path)
    assert again.binding == BINDING
    assert again.path == journal.path
    assert again.known(0) == stored
    assert (again.known(1), again.known(2), again.stored_parts) == (None, None, 1)


def test_parts_come_in_order_however_they_were_stored(journal: Journal) -> None:
    for index in (3, 0, 5, 1):
        journal.stored(part(index))
    for one in (journal, Journal.load(journal.path)):
        assert [found.index for found in one.parts()] == [0, 1, 3, 5]
        assert one.stored_parts == 4
        assert one.known(3) == part(3)
        assert one.known(2) is one.known(4) is one.known(6) is None


def test_a_part_is_read_when_it_is_asked_for(journal: Journal) -> None:
    """Nothing of it stays in memory; a file that was changed meanwhile is noticed."""
    journal.stored(part(0))
    content = journal.path.read_bytes()
    journal.path.write_bytes(content.replace(b'{"stored":', b'{"broken":'))
    with pytest.raises(LocalStateError, match="changed"):
        journal.known(0)
    journal.path.unlink()
    with pytest.raises(LocalStateError, match="could not be read"):
        journal.known(0)


def test_memory_does_not_grow_with_the_lines(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = Journal.create(tmp_path / str(count), BINDING).path
        line = json.dumps({"stored": write_record(part(0))}).encode() + b"\n"
        with path.open("ab") as file:
            for index in range(count):
                file.write(line.replace(b'"index": 0', b'"index": %d' % index))
        tracemalloc.start()
        try:
            journal = Journal.load(path)
            assert sum(1 for _part in journal.parts()) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for count in (10, 100, 2000):
        (tmp_path / str(count)).mkdir()
    peak(10)  # what is made once
    assert peak(2000) < peak(100) + 64 * 1024


def test_it_is_readable_json_lines_and_private(journal: Journal) -> None:
    journal.sealed(part(0))
    first, second = journal.path.read_text().splitlines()
    assert json.loads(first)["journal"] == 1
    assert json.loads(first)["dataset"] == "tank/dätä"
    assert list(json.loads(second)) == ["sealed"]
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert journal.path.name == f"{ID}.journal"
    assert backup_id_of(journal.path) == ID


def test_every_line_is_on_disk_when_it_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(journal.path.read_bytes())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    journal.stored(part(3))
    assert synced == [journal.path.read_bytes()]


class TestDamage:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
    @given(data=st.data())
    def test_torn_anywhere_what_was_whole_counts(self, tmp_path: Path, data: st.DataObject) -> None:
        path = tmp_path / f"{ID}.journal"
        path.unlink(missing_ok=True)
        written = Journal.create(tmp_path, BINDING)
        ends = [path.stat().st_size]
        for index in range(3):
            written.stored(part(index))
            ends.append(path.stat().st_size)
        cut = data.draw(st.integers(ends[0], ends[-1]))
        torn = path.read_bytes()[:cut]
        path.write_bytes(torn)
        again = Journal.load(path)
        whole = sum(end <= cut for end in ends) - 1
        assert again.stored_parts == whole
        assert path.read_bytes() == torn, "reading, as --dry-run does, changes nothing"
        again.stored(part(7))
        assert path.read_bytes().startswith(torn[: ends[whole]])
        reread = Journal.load(path)
        assert (reread.stored_parts, reread.known(7)) == (whole + 1, part(7))

    @pytest.mark.parametrize("content", [b"", b'{"journal":1', b"\n", b"nonsense\n", b"[]\n", b"{}\n", b"1\n"])
    def test_without_a_first_line_nothing_can_be_continued(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / f"{ID}.journal"
        path.write_bytes(content)
        with pytest.raises(JournalDamaged, match="its first line"):
            Journal.load(path)

    @pytest.mark.parametrize(
        "change",
        [{"journal": 2}, {"journal": None}, {"unknown": 1}, {"flags": None}, {"recipients": 5}],
        ids=str,
    )
    def test_another_format(self, journal: Journal, change: dict[str, Any]) -> None:
        record = json.loads(journal.path.read_text()) | change
        journal.path.write_text(json.dumps(record) + "\n")
        with pytest.raises(JournalDamaged, match="first line"):
            Journal.load(journal.path)

    def test_a_field_is_missing(self, journal: Journal) -> None:
        record = json.loads(journal.path.read_text())
        del record["part_size"]
        journal.path.write_text(json.dumps(record) + "\n")
        with pytest.raises(JournalDamaged, match="part_size"):
            Journal.load(journal.path)

    @pytest.mark.parametrize(
        "line",
        [
            b"nonsense",
            b"",
            b"[]",
            b"{}",
            b'{"sealed":{}}',
            b'{"stored":null}',
            b'{"stored":1,"sealed":2}',
            b'{"opened":{"index":"x","key":"k","upload_id":"u"}}',
            b'{"opened":{"index":0}}',
            b"\xff\xfe",
        ],
    )
    def test_a_line_in_the_middle_that_is_none(self, journal: Journal, line: bytes) -> None:
        journal.path.write_bytes(journal.path.read_bytes() + line + b"\n")
        journal.stored(part(0))
        with pytest.raises(JournalDamaged, match="lines"):
            Journal.load(journal.path)

    def test_a_kind_of_line_that_a_later_version_may_add_is_passed_over(self, journal: Journal) -> None:
        journal.path.write_bytes(journal.path.read_bytes() + b'{"noted":{"by":"a later version"}}\n')
        journal.stored(part(0))
        assert Journal.load(journal.path).stored_parts == 1


class TestPlace:
    def test_journals_in_a_directory(self, tmp_path: Path) -> None:
        assert list(journals_in(tmp_path / "none")) == []
        later = replace(BINDING, backup_id="20260201T020000Z-L1-00000000")
        paths = [Journal.create(tmp_path, one).path for one in (later, BINDING)]
        (tmp_path / ".lock").touch()
        assert list(journals_in(tmp_path)) == paths[::-1]

    def test_it_never_overwrites_another(self, journal: Journal, tmp_path: Path) -> None:
        with pytest.raises(LocalStateError) as caught:
            Journal.create(tmp_path, BINDING)
        assert caught.value.subject == str(journal.path)
        assert caught.value.answer == "File exists"
        assert "base_dir" in caught.value.next_step

    def test_the_directory_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(LocalStateError, match=r"written.*No such file"):
            Journal.create(tmp_path / "none", BINDING)
        with pytest.raises(LocalStateError, match=r"read.*No such file"):
            Journal.load(tmp_path / "none.journal")

    def test_a_link_is_not_followed(self, journal: Journal, tmp_path: Path) -> None:
        link = tmp_path / "20260131T020000Z-L1-00000000.journal"
        link.symlink_to(journal.path)
        with pytest.raises(LocalStateError, match=r"read.*symbolic links"):
            Journal.load(link)
        before = journal.path.read_bytes()
        with pytest.raises(LocalStateError, match=r"written.*symbolic links"):
            Journal(link, BINDING).stored(part(0))
        assert journal.path.read_bytes() == before

    def test_removing_it(self, journal: Journal) -> None:
        journal.remove()
        assert not journal.path.exists()
        journal.remove()

    def test_it_cannot_be_removed(self, journal: Journal) -> None:
        journal.path.unlink()
        journal.path.mkdir()
        with pytest.raises(LocalStateError, match=r"removed.*(Is a directory|not permitted)"):
            journal.remove()


@contextmanager
def room_for(path: Path, count: int) -> Iterator[None]:
    """Files of this process grow by ``count`` bytes beyond the length of ``path``, and no further."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("count", "said"), [(0, "File too large"), (10, "No space left on device")])
def test_a_line_that_finds_no_room_leaves_nothing(journal: Journal, count: int, said: str) -> None:
    journal.stored(part(0))
    before = journal.path.read_bytes()
    with room_for(journal.path, count), pytest.raises(LocalStateError) as caught:
        journal.stored(part(1))
    assert caught.value.answer == said
    assert journal.path.read_bytes() == before
    journal.stored(part(2))
    again = Journal.load(journal.path)
    assert (again.stored_parts, again.known(1), again.known(2)) == (2, None, part(2))


class TestReconcile:
    """What became of the parts that were on their way."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    def test_a_part_that_arrived_is_counted(self, journal: Journal, store: MemoryStore) -> None:
        journal.sealed(part(0))
        journal.sealed(part(1))
        checksum = store.put(part(0).key, b"sealed")
        resumed = Journal.load(journal.path)
        resumed.reconcile(store, Silent())
        arrived = replace(part(0), checksum=checksum)
        assert (resumed.known(0), resumed.known(1), resumed.stored_parts) == (arrived, None, 1)
        assert Journal.load(journal.path).known(0) == arrived

    def test_what_is_stored_is_not_asked_for(self, journal: Journal, store: MemoryStore) -> None:
        checksum = store.put(part(0).key, b"sealed")
        store.calls.clear()
        journal.opened(0, part(0).key, "upload-1")
        journal.sealed(part(0))
        journal.stored(replace(part(0), checksum=checksum))
        assert Journal.load(journal.path).reconcile(store, Silent()) == 0
        assert {call for call, _key in store.calls} <= {"list"}

    @pytest.mark.parametrize("gone", [set(), {0}, {1, 2}, {3}, {0, 1, 2, 3}], ids=str)
    def test_what_a_listing_does_not_show_at_its_length_is_not_stored(
        self, journal: Journal, store: MemoryStore, gone: set[int]
    ) -> None:
        for index in (1, 0, 3, 2):
            store.put(part(index).key, b"sealed")
            journal.stored(part(index))
        for index in gone:
            store.truncate(part(index).key, 5) if index % 2 else store.remove(part(index).key)
        again = Journal.load(journal.path)
        assert again.reconcile(store, Silent()) == len(gone)
        assert {one.index for one in again.parts()} == {0, 1, 2, 3} - gone
        assert again.stored_parts == 4 - len(gone)
        other = replace(part(1), bytes=7)
        again.stored(other)
        assert again.known(1) == other
        assert Journal.load(journal.path).known(1) == other, "the last line of a part counts"

    def test_a_part_that_was_on_its_way_again_is_asked_for(self, journal: Journal, store: MemoryStore) -> None:
        journal.stored(part(0))
        journal.opened(0, part(0).key, "upload-2")
        again = replace(part(0), sha256=hashlib.sha256(b"second").hexdigest())
        journal.sealed(again)
        store.put(part(0).key, b"second")
        resumed = Journal.load(journal.path)
        assert resumed.reconcile(store, Silent()) == 0
        assert (found := resumed.known(0)) is not None
        assert found.sha256 == again.sha256

    def test_other_content_under_the_key(self, journal: Journal, store: MemoryStore) -> None:
        journal.sealed(part(0))
        store.put(part(0).key, b"something else")
        with pytest.raises(ObjectExists, match=part(0).key):
            Journal.load(journal.path).reconcile(store, Silent())

    def test_a_store_that_does_not_answer(self, journal: Journal, store: MemoryStore) -> None:
        journal.sealed(part(0))
        store.fail("holds")
        with pytest.raises(StoreUnavailable):
            Journal.load(journal.path).reconcile(store, Silent())

    def test_unfinished_uploads_are_thrown_away(self, journal: Journal, store: MemoryStore) -> None:
        uploads = [store.open_upload(part(index).key, total_chunks=None) for index in range(3)]
        for index, upload in enumerate(uploads):
            journal.opened(index, part(index).key, upload.upload_id)
        uploads[0].put_chunk(0, 0, b"sealed")
        journal.sealed(part(0))
        uploads[0].complete()
        journal.stored(part(0))
        Journal.load(journal.path).abort_uploads(store, Silent())
        assert not store.unfinished
        assert [call for call in store.calls if call[0] == "abort_upload"] == [
            ("abort_upload", part(index).key) for index in (1, 2)
        ]

    def test_an_upload_that_cannot_be_thrown_away_is_a_warning(self, journal: Journal, store: MemoryStore) -> None:
        uploads = [store.open_upload(part(index).key, total_chunks=None) for index in range(2)]
        for index, upload in enumerate(uploads):
            journal.opened(index, part(index).key, upload.upload_id)
        store.fail("abort_upload", error=StoreDenied("Abort failed", answer="AccessDenied", next_step="Allow it"))
        progress = Recorded()
        journal = Journal.load(journal.path)
        journal.reconcile(store, progress)
        assert set(store.unfinished) == {uploads[0].upload_id}, "the others are thrown away all the same"
        (warning,) = progress.warnings
        assert "AccessDenied" in warning

    def test_a_store_that_is_down_does_not_look_like_one_that_refuses(
        self, journal: Journal, store: MemoryStore
    ) -> None:
        journal.opened(0, part(0).key, "upload-1")
        store.fail("abort_upload")
        with pytest.raises(StoreUnavailable):
            Journal.load(journal.path).abort_uploads(store, Silent())

    def test_an_upload_that_was_completed_without_an_answer(self, journal: Journal, store: MemoryStore) -> None:
        upload = store.open_upload(part(0).key, total_chunks=None)
        journal.opened(0, part(0).key, upload.upload_id)
        upload.put_chunk(0, 0, b"sealed")
        journal.sealed(part(0))
        upload.complete()
        resumed = Journal.load(journal.path)
        resumed.reconcile(store, Silent())
        assert resumed.stored_parts == 1
        assert "abort_upload" not in {call for call, _ in store.calls}
