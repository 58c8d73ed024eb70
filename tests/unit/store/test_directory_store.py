# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository in a directory."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import (
    EngineError,
    IntegrityError,
    NoSuchRepository,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from zrb.store.directory import DirectoryRemover, DirectoryStore
from zrb.store.protocol import Removed
from zrb.values.manifest import Checksum

from tests.fakes.conformance_of_stores import KEY, StoreConformance


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    return path


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


class TestDirectoryStore(StoreConformance):
    """The suite, with the module's ``store``."""


class TestDirectoryStoreWithoutHardLinks(StoreConformance):
    """The suite, as on exFAT."""

    @pytest.fixture(autouse=True)
    def no_links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))


def failing(number: int) -> Callable[..., Any]:
    """A function that fails as the kernel would."""

    def fail(*args: object, **kwargs: object) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


def files_below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_kind_and_location(store: DirectoryStore, root: Path) -> None:
    assert (store.kind, store.location) == ("directory", str(root))


def test_files_and_directories_are_private(store: DirectoryStore, root: Path) -> None:
    old = os.umask(0)
    try:
        store.put(KEY, b"content")
    finally:
        os.umask(old)
    assert (root / KEY).stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_dir()} == {0o700}


def test_a_missing_root_is_never_made(store: DirectoryStore, root: Path) -> None:
    root.rmdir()
    calls: list[Callable[[], object]] = [
        lambda: store.put(KEY, b""),
        lambda: store.open_upload(KEY, total_chunks=1),
        lambda: store.abort_upload(KEY, ".tmp-" + "0" * 32 + "~"),
        lambda: store.holds(KEY, size=0, sha256="", expected=Checksum("none", "")),
        lambda: store.head(KEY),
        lambda: store.get(KEY, limit=1),
        lambda: store.read_into(KEY, 0, memoryview(bytearray(1))),
        lambda: list(store.list("")),
    ]
    for call in calls:
        with pytest.raises(NoSuchRepository, match="Mount"):
            call()
    assert not root.exists()


def test_a_root_that_vanishes_under_way_is_named(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"x")

    def unmounted(*args: object) -> None:
        for path in sorted(root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        root.rmdir()
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "link", unmounted)
    with pytest.raises(NoSuchRepository):
        upload.complete()


def test_everything_is_on_the_disk_before_success(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    names: dict[int, str] = {}
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append("file" if path.name.startswith(".tmp-") else f"dir {path.relative_to(root)}")
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        events.append("link")
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    store.put("data/a/b", b"content")
    assert events == ["dir .", "dir data", "file", "link", "dir data/a"]
    assert not names


def test_a_directory_that_was_removed_meanwhile_is_made_again(store: DirectoryStore, root: Path) -> None:
    store.put("data/a/b", b"1")
    (root / "data/a/b").unlink()
    (root / "data/a").rmdir()
    store.put("data/a/b", b"2")
    assert files_below(root) == ["data/a/b"]


def test_unfinished_files_are_never_listed(store: DirectoryStore, root: Path) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    assert [path.rpartition("/")[2] for path in files_below(root)] == [upload.upload_id]
    assert list(store.list("")) == []
    store.abort_upload(KEY, upload.upload_id)
    assert files_below(root) == []


def test_a_damaged_upload_id_touches_nothing(store: DirectoryStore, root: Path) -> None:
    store.put(KEY, b"content")
    for upload_id in ("../" * 9 + "etc/passwd", "snapshot.part-000000.age", ""):
        with pytest.raises(StoreError, match="unfinished upload"):
            store.abort_upload(KEY, upload_id)
    assert files_below(root) == [KEY]


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("real"))


FOREIGN: list[Callable[[Path], object]] = [_link, os.mkfifo, Path.mkdir]


@pytest.mark.parametrize("make", FOREIGN)
def test_what_is_no_regular_file_is_damage(store: DirectoryStore, root: Path, make: Callable[[Path], object]) -> None:
    """It is neither followed nor waited for, and it is never replaced."""
    store.put("data/real", b"1")
    make(root / "data/object")
    with pytest.raises(IntegrityError):
        store.get("data/object", limit=10)
    with pytest.raises(IntegrityError):
        store.read_into("data/object", 0, memoryview(bytearray(1)))
    with pytest.raises(IntegrityError):
        store.holds("data/object", size=1, sha256="0" * 64, expected=Checksum("none", ""))
    assert store.head("data/object") is None
    with pytest.raises(IntegrityError):
        store.put("data/object", b"1")
    assert (root / "data/real").read_bytes() == b"1"


@pytest.mark.parametrize("make", [_link, os.mkfifo])
def test_what_is_no_regular_file_is_listed_and_not_withheld(
    store: DirectoryStore, root: Path, make: Callable[[Path], object]
) -> None:
    store.put("data/real", b"1")
    make(root / "data/object")
    assert [entry.key for entry in store.list("")] == ["data/object", "data/real"]


def test_a_directory_that_is_a_link_leads_nowhere(store: DirectoryStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "object").write_bytes(b"1")
    (root / "data").symlink_to(outside)
    for use in (lambda: store.get("data/object", limit=10), lambda: store.put("data/new", b"2")):
        with pytest.raises(IntegrityError):
            use()
    assert [path.name for path in outside.iterdir()] == ["object"]


def test_a_root_that_is_a_link_is_the_administrators(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    store = DirectoryStore(tmp_path / "link")
    store.put("data/object", b"1")
    assert store.get("data/object", limit=10) == b"1"


def test_of_what_is_replaced_while_it_is_listed_one_is_seen(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is read in the order of a hash: what is new may stand before what was read already."""
    for key in ("data/1", "data/2"):
        store.put(key, b"")
    scandir, looks = os.scandir, []

    def read(path: str) -> nullcontext[list[os.DirEntry[str]]]:
        with scandir(path) as found:
            entries = list(found)
        if not looks:
            store.put("data/3", b"")
            (root / "data/2").unlink()
        looks.append(path)
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", read)
    assert [item.key for item in store.list("data/")] == ["data/1", "data/3"]


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, StoreFull, "Free space"),
        (errno.EDQUOT, StoreFull, "Free space"),
        (errno.EACCES, StoreDenied, "ls -ld"),
        (errno.EROFS, StoreDenied, "findmnt"),
        (errno.EIO, StoreUnavailable, "dmesg"),
        (errno.ESTALE, StoreUnavailable, "dmesg"),
        (errno.EMFILE, StoreError, "Check the file system"),
        (errno.ENOTDIR, StoreError, "this name"),
    ],
)
def test_what_the_system_says_is_explained(
    store: DirectoryStore,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[EngineError],
    words: str,
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(number))
    with pytest.raises(kind) as caught:
        store.put(KEY, b"content")
    assert type(caught.value) is kind
    assert os.strerror(number) in caught.value.explain()
    assert words in caught.value.explain()
    assert files_below(root) == [], "the temporary file must be gone"


def test_a_disk_that_is_full_only_at_the_end(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    with pytest.raises(StoreFull):
        upload.complete()
    assert files_below(root) == []
    assert store.head(KEY) is None


def test_a_full_disk_frees_at_once_what_was_written(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.open_upload(KEY, total_chunks=2)
    upload.put_chunk(0, 0, b"content")
    monkeypatch.setattr(os, "pwrite", failing(errno.ENOSPC))
    with pytest.raises(StoreFull):
        upload.put_chunk(1, 7, b"content")
    assert files_below(root) == []


def test_short_writes_are_continued(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: real(descriptor, data[:3], offset))
    store.put(KEY, b"0123456789")
    assert store.get(KEY, limit=10) == b"0123456789"


def test_short_reads_are_continued(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(KEY, b"0123456789")
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda descriptor, views, offset: real(descriptor, [views[0][:3]], offset))
    buffer = bytearray(8)
    store.read_into(KEY, 1, memoryview(buffer))
    assert buffer == b"12345678"


def test_a_file_system_without_directory_sync_is_good_enough(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.put(KEY, b"content")
    assert store.get(KEY, limit=7) == b"content"


def test_a_directory_sync_that_fails_is_not_success(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().is_dir():
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreUnavailable):
        upload.complete()


def test_without_hard_links_a_name_is_given_under_the_lock_of_the_repository(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[bool] = []
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        other = os.open(root, os.O_RDONLY)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            locked.append(True)
        finally:
            os.close(other)
        return real(self, target)

    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    monkeypatch.setattr(Path, "rename", rename)
    store.put(KEY, b"content")
    assert locked == [True]
    assert files_below(root) == [KEY]


def test_a_link_that_fails_for_another_reason_is_an_error(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EIO))
    with pytest.raises(StoreUnavailable):
        store.put(KEY, b"content")
    assert files_below(root) == []


def test_a_directory_where_an_object_should_be(store: DirectoryStore, root: Path) -> None:
    (root / KEY).mkdir(parents=True)
    with pytest.raises(IntegrityError, match=f"{KEY}.*symbolic link"):
        store.put(KEY, b"content")
    with pytest.raises(IntegrityError, match=f"{KEY}.*symbolic link"):
        store.get(KEY, limit=1)
    assert store.head(KEY) is None


def test_a_file_where_a_directory_should_be(store: DirectoryStore, root: Path) -> None:
    (root / "data").write_bytes(b"")
    assert store.head(KEY) is None
    assert list(store.list("data/nas1/")) == []
    with pytest.raises(StoreError, match=f"{KEY}.*this name"):
        store.put(KEY, b"content")


def test_content_of_the_same_length_is_compared_to_its_end(store: DirectoryStore) -> None:
    content = bytes(3 << 20)
    store.put(KEY, content)
    store.put(KEY, content)
    with pytest.raises(ObjectExists, match=f"{KEY}.*content"):
        store.put(KEY, content[:-1] + b"\x01")


def test_the_file_stays_open_while_a_thread_writes(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    writing, go_on = threading.Event(), threading.Event()
    real = os.pwrite
    failures: list[BaseException] = []

    def slow(descriptor: int, data: memoryview, offset: int) -> int:
        writing.set()
        go_on.wait(10)
        return real(descriptor, data, offset)

    def write() -> None:
        try:
            upload.put_chunk(0, 0, b"content")
        except BaseException as error:
            failures.append(error)

    monkeypatch.setattr(os, "pwrite", slow)
    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(10)
    upload.abort()
    go_on.set()
    thread.join(10)
    assert failures == [], "the write went to its own file, not to whatever took its number"
    assert files_below(root) == []
    with pytest.raises(StoreError, match="last chunk"):
        upload.put_chunk(0, 0, b"content")


def test_a_missing_object_in_a_directory_that_is_there(store: DirectoryStore) -> None:
    store.put("data/other", b"")
    with pytest.raises(ObjectMissing, match="repository"):
        store.get("data/this", limit=1)


def test_files_are_removed_and_with_the_last_part_its_directory(root: Path, store: DirectoryStore) -> None:
    other = KEY.replace("000000", "000001")
    manifest = "manifests/nas1/pool/a.json"
    for key in (KEY, other, manifest):
        store.put(key, b"x")
    remover = DirectoryRemover(root)
    assert remover.remove([KEY]) == Removed()
    assert [item.key for item in store.list("")] == [other, manifest]
    assert remover.remove([KEY, other, "data/never/there"]) == Removed()
    assert not (root / KEY).parent.exists()
    store.put(KEY, b"again")
    remover.close()


def test_what_cannot_be_removed_is_told_and_the_rest_goes(root: Path, store: DirectoryStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("not ours")
    (root / "data").mkdir()
    (root / "data" / "link").symlink_to(outside)
    (root / "data" / "directory").mkdir()
    store.put(KEY, b"x")
    failures = DirectoryRemover(root).remove(["data/link/file", "data/directory", KEY]).failures
    assert [(type(failure), failure.subject) for failure in failures] == [
        (IntegrityError, "data/link/file"),
        (StoreError, "data/directory"),
    ]
    assert store.head(KEY) is None
    assert (outside / "file").exists()


@pytest.mark.parametrize("key", ["../outside", "/etc/passwd", "data/../../x", ""])
def test_nothing_is_removed_outside_of_the_repository(root: Path, key: str) -> None:
    with pytest.raises(IntegrityError):
        DirectoryRemover(root).remove([key])


def test_nothing_is_removed_below_a_missing_mount(tmp_path: Path) -> None:
    with pytest.raises(NoSuchRepository):
        DirectoryRemover(tmp_path / "unmounted").remove([KEY])
