# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A catalogue with a cache is the catalogue without one, whatever happened to the cache or, as far as a listing shows
it, to the objects."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zrb.errors import ManifestInvalid
from zrb.repository.catalogue import Catalogue, SummaryCache, read_catalogue
from zrb.run.list import list_backups
from zrb.run.verify import verify
from zrb.seal.signing import SigningKey
from zrb.state.catalogue_cache import CatalogueCache
from zrb.store.directory import DirectoryStore

from tests.fakes.fleet import Fleet
from tests.fakes.store import MemoryStore
from tests.fixtures.committed_repository import CommittedRepository
from tests.fixtures.retired_repository import KEY, RetiredRepository

OTHER = SigningKey.generate()
ENGINE = Path(__file__).parents[3] / "plugins" / "module_utils" / "_engine"


def facts(catalogue: Catalogue) -> object:
    """All that a catalogue says; two errors are the same if they say the same."""
    return replace(catalogue, problems=()), [problem.facts() for problem in catalogue.problems]


def caching(base_dir: Path, *trusted: str) -> Callable[[str], SummaryCache]:
    return lambda repository_id: CatalogueCache(base_dir, repository_id=repository_id, trusted=trusted or (KEY.public,))


def files(base_dir: Path) -> list[Path]:
    return sorted(path for path in base_dir.rglob("*") if not path.is_dir())


def damage(base_dir: Path, how: int, position: int) -> None:
    """Do something to every file of the cache."""
    for path in files(base_dir):
        if not path.is_file() or path.is_symlink():
            continue
        content = bytearray(path.read_bytes() or b" ")
        match how:
            case 0:
                content[position % len(content)] ^= 1 << position % 8
                path.write_bytes(content)
            case 1:
                path.write_bytes(content[: position % len(content)])
            case 2:
                path.write_bytes(b"0" * 64 + b"\n[]")
            case _:
                path.unlink()
                put = [os.mkfifo, Path.mkdir, partial(os.symlink, "/dev/zero"), lambda _path: shutil.rmtree(base_dir)]
                put[how - 3](path)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("remove"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("put"), st.integers(0, 4), st.integers(0, 4)),
        st.tuples(st.just("forge"), st.integers(0, 4), st.integers(0, 9)),
        st.tuples(st.just("retire"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("trust"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("damage"), st.integers(0, 6), st.integers(0, 10**6)),
        st.tuples(st.just("remove-list"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("other-host"), st.just(0), st.just(0)),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(STEPS)
def test_it_is_the_same_with_and_without(steps: list[tuple[str, int, int]]) -> None:
    repository = RetiredRepository([0, 1, 0, 0, 1])
    store = repository.store
    keys = [entry.key for entry in repository.entries]
    signed = [store.get(key, limit=10**6) for key in keys]
    trusted = [KEY.public]
    with tempfile.TemporaryDirectory() as name:
        base_dir = Path(name, "state")
        read_catalogue(store, trusted=trusted, open_cache=caching(base_dir, *trusted))
        for what, which, other in steps:
            if what == "remove":
                repository.remove(keys[which])
            elif what == "put":
                store.replace(keys[which], signed[other])
            elif what == "forge":
                store.replace(keys[which], bytes([*signed[which][:-other], other]))
            elif what == "retire":
                number = repository.entries[which].manifest.seq
                live = {one.manifest.seq for one in repository.read().manifests}
                needed = any(one.manifest.base for one in repository.read().manifests)
                if number in live and not needed and not repository.read().problems:
                    repository.retire(number)
            elif what == "trust":
                trusted = [[KEY.public], [OTHER.public], [KEY.public, OTHER.public]][which]
            elif what == "damage":
                damage(base_dir, which, other)
            elif what == "remove-list":
                repository.remove(keys[which].replace(".json", ".parts"))
            host = "nas1" if what == "other-host" else None
            cached = read_catalogue(store, trusted=trusted, host=host, open_cache=caching(base_dir, *trusted))
            assert facts(cached) == facts(read_catalogue(store, trusted=trusted, host=host))


def gets(store: MemoryStore) -> int:
    """How many manifests were read since the last time."""
    count = sum(operation == "get" and key.endswith(".json") and key != "zrb.json" for operation, key in store.calls)
    store.calls.clear()
    return count


def test_what_the_listing_shows_to_be_unchanged_is_not_read_again(tmp_path: Path) -> None:
    repository = RetiredRepository([0, 0, 0])
    for expected in (3, 0, 0):
        gets(repository.store)
        repository.read(open_cache=caching(tmp_path))
        assert gets(repository.store) == expected
    repository.store.replace(repository.entries[1].key, b"{}")
    repository.store.calls.clear()
    assert len(repository.read(open_cache=caching(tmp_path)).problems) == 1
    assert gets(repository.store) == 1


def test_what_is_gone_from_the_repository_goes_from_the_cache(tmp_path: Path) -> None:
    repository = RetiredRepository([0, 0, 0])
    repository.read(open_cache=caching(tmp_path))
    (path,) = files(tmp_path)
    before = path.stat().st_size
    repository.remove(repository.entries[1].key)
    repository.read(open_cache=caching(tmp_path))
    assert path.stat().st_size < before
    for entry in repository.entries:
        for key in repository.keys_of(entry):
            repository.remove(key)
    repository.read(host="nas2", open_cache=caching(tmp_path))
    assert files(tmp_path) == [path], "of another host nothing was listed"
    repository.read(host="nas1", open_cache=caching(tmp_path))
    assert files(tmp_path) == []


def test_whoever_reads_without_a_trusted_signer_remembers_nothing(tmp_path: Path) -> None:
    repository = RetiredRepository([0])
    repository.read(trusted=[], allow_unsigned=True, open_cache=caching(tmp_path))
    repository.read(allow_unsigned=True, open_cache=caching(tmp_path))
    assert files(tmp_path) == []


def test_a_store_whose_listing_shows_nothing_is_read_each_time(tmp_path: Path) -> None:
    repository = RetiredRepository([0, 0])
    repository.store = type(repository.store)(keeps_checksums=False)
    repository.__post_init__()
    for _ in range(2):
        repository.store.calls.clear()
        repository.read(open_cache=caching(tmp_path))
        assert gets(repository.store) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    repository = RetiredRepository([0, 0])
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory belongs")
    plain = facts(repository.read())
    for _ in range(2):
        assert facts(repository.read(open_cache=caching(blocked))) == plain


def test_two_at_once_do_not_spoil_it(tmp_path: Path) -> None:
    repository = RetiredRepository([0] * 6)
    expected = facts(repository.read())
    found: list[object] = []

    def read(number: int) -> None:
        for _ in range(5):
            cache = caching(tmp_path, KEY.public, *[OTHER.public] * (number % 2))
            trusted = [KEY.public, *[OTHER.public] * (number % 2)]
            found.append(facts(read_catalogue(repository.store, trusted=trusted, open_cache=cache)))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 20


@pytest.fixture
def committed(tmp_path: Path) -> CommittedRepository:
    return CommittedRepository(tmp_path / "repository")


class Counting(DirectoryStore):
    """Counts what is read."""

    reads: list[str]

    def get(self, key: str, *, limit: int) -> bytes:
        self.reads.append(key)
        return super().get(key, limit=limit)


def test_a_list_of_a_directory_reads_what_was_exchanged(committed: CommittedRepository) -> None:
    """Also if it has the same length, and somebody set its time back."""
    first, _second = committed.commit(), committed.commit()
    store = Counting(committed.path)
    context = committed.context(open_store=lambda: store)

    def read_by_list() -> list[str]:
        store.reads = []
        list_backups(context)
        return [key for key in store.reads if key != "zrb.json"]

    assert len(read_by_list()) == 2
    assert read_by_list() == []
    key = first.series.manifest_key(first.backup_id)
    path = committed.file_of(key)
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_by_list() == [key]


def test_only_what_shows_looks_at_it() -> None:
    """Whatever restores, verifies, commits or removes reads the store."""
    users = {path for path in ENGINE.rglob("*.py") if "CatalogueCache" in path.read_text()}
    showing = {ENGINE / "run" / "list" / "list.py", ENGINE / "run" / "cost" / "cost.py"}
    assert users == {ENGINE / "state" / "catalogue_cache.py", *showing}


def test_what_is_exchanged_behind_the_listing_is_found_by_verify(tmp_path: Path) -> None:
    """A list is out of date then, and says no more than what was true."""
    fleet = Fleet(tmp_path)
    key = fleet.back_up(0).manifest_key
    before = list_backups(fleet.context())
    fleet.store.corrupt(key, 100)
    assert list_backups(fleet.context()) == before
    assert verify(fleet.context(), depth="signature").exit_code == 5
    with pytest.raises(ManifestInvalid):
        fleet.restore()
