# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every ZFS does, real or fake: one suite, run against both.

A test module imports all of this and brings a fixture ``zfs_under_test`` that gives a :class:`Laboratory`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from zrb.errors import (
    EngineError,
    NoSuchDataset,
    NoSuchPool,
    NoSuchSnapshot,
    ReceiveFailed,
    SendFailed,
    TargetExists,
    UsageError,
    ZfsError,
    ZfsUnable,
)
from zrb.zfs.protocol import ReceiveProcess, SendProcess, Zfs
from zrb.zfs.stream_records import RECORD_BYTES, parse_begin, parse_end

TAG = "zrb:daily"


@dataclass(frozen=True)
class Laboratory:
    """A ZFS with a pool that a test may fill. ``restore`` is a parent for received datasets."""

    zfs: Zfs
    pool: str
    restore: str
    add_filesystem: Callable[[str], str]
    """Make a filesystem by its path below the pool; its full name."""
    write: Callable[[str, bytes], None]
    """Replace what is in a filesystem."""
    read: Callable[[str], bytes]
    """What is in the newest snapshot of a filesystem, mounted or not."""

    def snapshot(self, dataset: str, short_name: str) -> str:
        """Take a snapshot; its full name."""
        return self.zfs.create_snapshots([f"{dataset}@{short_name}"])[0].name


def whole_stream(process: SendProcess) -> bytes:
    """Read a send to its end."""
    stream = read_all(process.fileno())
    process.wait()
    return stream


def read_all(descriptor: int) -> bytes:
    """Read a pipe to its end; it stays open."""
    with open(descriptor, "rb", closefd=False) as pipe:
        return pipe.read()


def feed(process: ReceiveProcess, stream: bytes) -> None:
    """Write a stream; a receive that gives up shows in finish()."""
    try:
        with open(process.fileno(), "wb", closefd=False) as pipe:
            pipe.write(stream)
    except BrokenPipeError:
        pass


def give_up(lab: Laboratory, target: str) -> None:
    """Give up what was received of a stream that was cut off, if this ZFS kept it."""
    if lab.zfs.exists(target) and (point := lab.zfs.resume_point(target)):
        assert lab.zfs.capabilities.receive_resumable
        assert (point.object, point.offset) >= (1, 0)
        lab.zfs.abort_receive(target)


def receive(lab: Laboratory, stream: bytes, target: str, *, first: bool) -> None:
    """Receive a whole stream and make ready for the next."""
    process = lab.zfs.receive(target, type="filesystem", first=first)
    feed(process, stream)
    process.finish()
    lab.zfs.protect_received(target, type="filesystem")


class TestReading:
    def test_a_dataset_has_a_stable_guid_of_its_own(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        dataset = lab.zfs.dataset(name)
        assert (dataset.name, dataset.type, dataset.encrypted) == (name, "filesystem", False)
        assert dataset.guid.isdecimal()
        assert dataset.guid not in {lab.zfs.pool(lab.pool).guid, lab.zfs.dataset(lab.pool).guid}
        assert lab.zfs.dataset(name) == dataset

    def test_a_pool_is_known_by_name_and_guid(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        pool = lab.zfs.pool(lab.pool)
        assert pool.name == lab.pool
        assert pool.guid.isdecimal()

    def test_what_is_missing_is_said_by_its_kind(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        with pytest.raises(NoSuchPool):
            lab.zfs.pool("zrbtest-missing")
        with pytest.raises(NoSuchPool):
            lab.zfs.dataset("zrbtest-missing/a")
        with pytest.raises(NoSuchDataset):
            lab.zfs.dataset(f"{lab.pool}/missing")
        with pytest.raises(NoSuchDataset):
            lab.zfs.snapshots(f"{lab.pool}/missing")
        with pytest.raises(NoSuchDataset):
            lab.zfs.descendants(f"{lab.pool}/missing")

    def test_existence_of_datasets_snapshots_and_bookmarks(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        snapshot = lab.snapshot(name, "one")
        assert lab.zfs.exists(name)
        assert lab.zfs.exists(snapshot)
        assert not lab.zfs.exists(f"{name}@two")
        assert not lab.zfs.exists(f"{name}#one")
        assert not lab.zfs.exists(f"{name}/b")
        assert not lab.zfs.exists("zrbtest-missing/a@one")

    def test_descendants_come_after_their_parents(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        for path in ("a/b/c", "a/d", "a-z"):
            lab.add_filesystem(path)
        found = lab.zfs.descendants(f"{lab.pool}/a")
        assert sorted(found) == [f"{lab.pool}/{path}" for path in ("a", "a/b", "a/b/c", "a/d")]
        assert all(found.index(name.rpartition("/")[0]) < found.index(name) for name in found[1:])

    @pytest.mark.parametrize("name", ["-r", "", "tank//a", "tank/a@b", "tank/../a", "tänk", "tank/a\tb"])
    def test_names_that_zfs_would_not_take_never_reach_it(self, zfs_under_test: Laboratory, name: str) -> None:
        with pytest.raises(UsageError):
            zfs_under_test.zfs.dataset(name)


class TestSnapshots:
    def test_snapshots_of_one_dataset_alone_oldest_first(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name, below = lab.add_filesystem("a"), lab.add_filesystem("a/below")
        for short_name in ("z", "y", "x"):
            lab.snapshot(name, short_name)
        lab.snapshot(below, "other")
        found = lab.zfs.snapshots(name)
        assert [snapshot.short_name for snapshot in found] == ["z", "y", "x"]
        assert sorted({snapshot.createtxg for snapshot in found}) == [snapshot.createtxg for snapshot in found]
        assert len({snapshot.guid for snapshot in found}) == 3
        assert all(snapshot.creation.tzinfo and snapshot.dataset_name == name for snapshot in found)

    def test_taken_snapshots_are_returned_as_they_are_listed(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        assert lab.zfs.create_snapshots([f"{name}@one"]) == lab.zfs.snapshots(name)

    def test_several_datasets_at_one_instant_and_no_others(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        names = [lab.add_filesystem(path) for path in ("a", "a/b", "a/b/c", "d")]
        wanted = [names[0], names[2]]
        taken = lab.zfs.create_snapshots([f"{name}@now" for name in wanted])
        assert [snapshot.dataset_name for snapshot in taken] == wanted
        assert len({snapshot.createtxg for snapshot in taken}) == 1
        assert [name for name in lab.zfs.descendants(lab.pool) if lab.zfs.exists(f"{name}@now")] == sorted(wanted)

    def test_several_snapshots_are_taken_all_or_none(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        first, second = lab.add_filesystem("a"), lab.add_filesystem("a/b")
        lab.snapshot(second, "now")
        with pytest.raises(ZfsError, match="exists"):
            lab.zfs.create_snapshots([f"{first}@now", f"{second}@now"])
        with pytest.raises(NoSuchDataset):
            lab.zfs.create_snapshots([f"{first}@later", f"{first}/missing@later"])
        assert lab.zfs.snapshots(first) == []

    def test_one_instant_is_one_pool(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        with pytest.raises(ZfsUnable, match="one pool"):
            lab.zfs.create_snapshots([f"{name}@now", "zrbtest-other/a@now"])
        with pytest.raises(ZfsUnable, match="one pool"):
            lab.zfs.create_snapshots([])

    def test_a_snapshot_that_exists_is_not_taken_again(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        snapshot = lab.snapshot(lab.add_filesystem("a"), "one")
        with pytest.raises(ZfsError, match="exists"):
            lab.zfs.create_snapshots([snapshot])


class TestHolds:
    def test_hold_and_release_may_be_repeated(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        snapshot = lab.snapshot(name, "one")
        lab.zfs.hold(snapshot, TAG)
        lab.zfs.hold(snapshot, TAG)
        assert lab.zfs.snapshots(name)[0].user_holds == 1
        lab.zfs.hold(snapshot, "zrb:weekly")
        assert lab.zfs.snapshots(name)[0].user_holds == 2
        assert lab.zfs.release(snapshot, TAG) is True
        assert lab.zfs.release(snapshot, TAG) is False
        assert lab.zfs.snapshots(name)[0].user_holds == 1
        assert lab.zfs.release(snapshot, "zrb:weekly") is True

    def test_a_missing_snapshot_cannot_be_held_or_released(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        with pytest.raises(NoSuchSnapshot):
            lab.zfs.hold(f"{name}@missing", TAG)
        with pytest.raises(NoSuchSnapshot):
            lab.zfs.release(f"{name}@missing", TAG)

    @pytest.mark.parametrize("tag", ["", "-r", ".hidden", "two words", "x" * 256])
    def test_a_tag_that_zfs_would_not_take_never_reaches_it(self, zfs_under_test: Laboratory, tag: str) -> None:
        lab = zfs_under_test
        snapshot = lab.snapshot(lab.add_filesystem("a"), "one")
        with pytest.raises(UsageError, match="hold tag"):
            lab.zfs.hold(snapshot, tag)


class TestBookmarks:
    def test_a_bookmark_remembers_the_guid(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        first, second = lab.snapshot(name, "one"), lab.snapshot(name, "two")
        if not lab.zfs.capabilities.bookmarks:
            with pytest.raises(ZfsUnable, match="no bookmarks"):
                lab.zfs.bookmark(first, f"{name}#one")
            assert lab.zfs.bookmarks(name) == []
            return
        lab.zfs.bookmark(second, f"{name}#two")
        lab.zfs.bookmark(first, f"{name}#one")
        lab.zfs.bookmark(first, f"{name}#one")
        assert [each.name for each in lab.zfs.bookmarks(name)] == [f"{name}#one", f"{name}#two"]
        assert [each.guid for each in lab.zfs.bookmarks(name)] == [each.guid for each in lab.zfs.snapshots(name)]
        assert lab.zfs.exists(f"{name}#one")
        with pytest.raises(ZfsError, match="exists"):
            lab.zfs.bookmark(second, f"{name}#one")

    def test_an_incremental_starts_from_a_bookmark(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        if not lab.zfs.capabilities.bookmarks:
            pytest.skip("this ZFS has no bookmarks")
        name = lab.add_filesystem("a")
        first = lab.snapshot(name, "one")
        lab.zfs.bookmark(first, f"{name}#one")
        second = lab.snapshot(name, "two")
        stream = whole_stream(lab.zfs.send(second, base=f"{name}#one", flags=()))
        assert parse_begin(stream[:RECORD_BYTES]).from_guid == lab.zfs.snapshots(name)[0].guid


class TestTogether:
    """What is asked about many at once is what is asked about each."""

    def test_an_inventory_of_all_below(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        names = [lab.add_filesystem(path) for path in ("a", "a/b", "a/b/c", "a-z")]
        for number, name in enumerate(names):
            for snapshot in range(number):
                lab.snapshot(name, f"s{snapshot}")
        found = lab.zfs.inventory(names[0], recursive=True)
        assert [each.dataset for each in found] == [lab.zfs.dataset(name) for name in names[:3]]
        assert [list(each.snapshots) for each in found] == [lab.zfs.snapshots(name) for name in names[:3]]
        assert [len(each.snapshots) for each in found] == [0, 1, 2]
        (alone,) = lab.zfs.inventory(names[1])
        assert alone == found[1]
        with pytest.raises(NoSuchDataset):
            lab.zfs.inventory(f"{lab.pool}/missing", recursive=True)

    @pytest.mark.parametrize("note", ["plain", "two\nlines", "x\nquota\tlocal\t1"])
    def test_snapshots_with_the_properties_of_their_datasets(self, zfs_under_test: Laboratory, note: str) -> None:
        lab = zfs_under_test
        names = [lab.add_filesystem("a"), lab.add_filesystem("a/b")]
        lab.zfs.set_properties(names[0], {"atime": "off", "org.zrb:note": note})
        lab.zfs.set_properties(names[1], {"quota": "104857600"})
        lab.zfs.take_snapshots([f"{name}@one" for name in names])
        found = lab.zfs.described([f"{name}@one" for name in names])
        for name in names:
            (snapshot,) = lab.zfs.snapshots(name)
            facts = found[f"{name}@one"]
            assert (facts.snapshot.guid, facts.snapshot.createtxg) == (snapshot.guid, snapshot.createtxg)
            assert facts.properties == lab.zfs.local_properties(name)
        assert found[f"{names[0]}@one"].properties["org.zrb:note"] == note
        with pytest.raises(NoSuchSnapshot):
            lab.zfs.described([f"{names[0]}@one", f"{names[1]}@two"])

    def test_holds_of_which_some_are_there(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        names = [lab.snapshot(lab.add_filesystem(path), "one") for path in ("a", "b")]
        lab.zfs.hold(names[0], TAG)
        for _again in range(2):
            lab.zfs.hold_all(names, TAG)
            assert [lab.zfs.snapshots(name.partition("@")[0])[0].user_holds for name in names] == [1, 1]
        with pytest.raises(EngineError):
            lab.zfs.hold_all([names[0], names[1].replace("@one", "@two")], TAG)


class TestProperties:
    def test_local_properties_are_those_set_here(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name, below = lab.add_filesystem("a"), lab.add_filesystem("a/b")
        lab.zfs.set_properties(name, {"atime": "off", "quota": "104857600", "org.zrb:note": "a b = c\nd\te"})
        found = lab.zfs.local_properties(name)
        assert found["atime"] == "off"
        assert found["quota"] == "104857600"
        assert found["org.zrb:note"] == "a b = c\nd\te"
        assert "atime" not in lab.zfs.local_properties(below)
        lab.zfs.inherit_property(name, "atime")
        assert "atime" not in lab.zfs.local_properties(name)

    def test_a_missing_dataset_has_no_properties(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        with pytest.raises(NoSuchDataset):
            lab.zfs.local_properties(f"{lab.pool}/missing")
        with pytest.raises(NoSuchDataset):
            lab.zfs.set_properties(f"{lab.pool}/missing", {"atime": "off"})
        with pytest.raises(NoSuchDataset):
            lab.zfs.inherit_property(f"{lab.pool}/missing", "atime")

    @pytest.mark.parametrize("name", ["-r", "", "Atime", "a=b"])
    def test_a_property_name_that_zfs_would_not_take_never_reaches_it(
        self, zfs_under_test: Laboratory, name: str
    ) -> None:
        lab = zfs_under_test
        dataset = lab.add_filesystem("a")
        with pytest.raises(UsageError, match="property name"):
            lab.zfs.set_properties(dataset, {name: "off"})


class TestSend:
    def test_a_stream_says_where_it_comes_from_and_that_it_ended(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        lab.write(name, b"one" * 50_000)
        first = lab.snapshot(name, "one")
        lab.write(name, b"two" * 50_000)
        second = lab.snapshot(name, "two")
        guids = [snapshot.guid for snapshot in lab.zfs.snapshots(name)]
        full = whole_stream(lab.zfs.send(first, base=None, flags=()))
        begin = parse_begin(full[:RECORD_BYTES])
        assert (begin.to_guid, begin.from_guid, begin.to_name) == (guids[0], None, first)
        assert parse_end(full[-RECORD_BYTES:]).to_guid == guids[0]
        incremental = whole_stream(lab.zfs.send(second, base=first, flags=()))
        begin = parse_begin(incremental[:RECORD_BYTES])
        assert (begin.to_guid, begin.from_guid) == (guids[1], guids[0])
        assert parse_end(incremental[-RECORD_BYTES:]).to_guid == guids[1]

    def test_a_snapshot_is_sent_alike_twice(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        lab.write(name, b"one" * 100_000)
        snapshot = lab.snapshot(name, "one")
        streams = [whole_stream(lab.zfs.send(snapshot, base=None, flags=())) for _ in range(2)]
        assert streams[0] == streams[1]

    def test_a_missing_snapshot_fails_the_send(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        process = lab.zfs.send(f"{lab.add_filesystem('a')}@missing", base=None, flags=())
        assert read_all(process.fileno()) == b""
        with pytest.raises(SendFailed, match="does not exist") as failure:
            process.wait()
        assert failure.value.subject.endswith("@missing")

    def test_a_later_base_fails_the_send(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        first, second = lab.snapshot(name, "one"), lab.snapshot(name, "two")
        process = lab.zfs.send(first, base=second, flags=())
        read_all(process.fileno())
        with pytest.raises(SendFailed, match="level 0"):
            process.wait()

    def test_a_send_can_be_killed_and_leaves_the_snapshot_free(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        lab.write(name, bytes(range(256)) * 16_384)
        snapshot = lab.snapshot(name, "one")
        process = lab.zfs.send(snapshot, base=None, flags=())
        process.kill()
        process.kill()
        assert whole_stream(lab.zfs.send(snapshot, base=None, flags=()))

    @pytest.mark.parametrize("flag", ["-R", "-p", "-e", "-D", "--raw", "tank/a"])
    def test_flags_that_backups_never_use_never_reach_zfs(self, zfs_under_test: Laboratory, flag: str) -> None:
        lab = zfs_under_test
        with pytest.raises(UsageError, match="not a flag"):
            lab.zfs.send(f"{lab.pool}/a@one", base=None, flags=(flag,))
        with pytest.raises(UsageError, match="not a flag"):
            lab.zfs.estimate_bytes(f"{lab.pool}/a@one", base=None, flags=(flag,))

    def test_a_flag_that_this_zfs_lacks_is_refused(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        if lab.zfs.capabilities.send_compressed:
            pytest.skip("this ZFS has them all")
        with pytest.raises(ZfsUnable, match="zfs send -c"):
            lab.zfs.send(f"{lab.pool}/a@one", base=None, flags=("-c",))

    def test_an_estimate_is_near_the_stream_or_none(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("a")
        lab.write(name, bytes(range(256)) * 4096)
        snapshot = lab.snapshot(name, "one")
        estimate = lab.zfs.estimate_bytes(snapshot, base=None, flags=())
        if not lab.zfs.capabilities.send_estimate:
            assert estimate is None
            return
        length = len(whole_stream(lab.zfs.send(snapshot, base=None, flags=())))
        assert estimate is not None
        assert length / 2 < estimate < length * 2
        with pytest.raises(NoSuchSnapshot):
            lab.zfs.estimate_bytes(f"{name}@missing", base=None, flags=())


@pytest.fixture
def chain(zfs_under_test: Laboratory) -> Chain:
    """A full and an incremental stream of one filesystem."""
    lab = zfs_under_test
    source = lab.add_filesystem("source")
    lab.write(source, b"one" * 100_000)
    first = lab.snapshot(source, "one")
    lab.write(source, b"one" * 100_000 + b"two" * 100_000)
    second = lab.snapshot(source, "two")
    return Chain(
        source=source,
        full=whole_stream(lab.zfs.send(first, base=None, flags=())),
        incremental=whole_stream(lab.zfs.send(second, base=first, flags=())),
    )


@dataclass(frozen=True)
class Chain:
    """Two links."""

    source: str
    full: bytes
    incremental: bytes


class TestReceive:
    def test_a_chain_is_received_link_by_link(self, zfs_under_test: Laboratory, chain: Chain) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        receive(lab, chain.full, target, first=True)
        assert lab.read(target) == b"one" * 100_000
        receive(lab, chain.incremental, target, first=False)
        assert lab.read(target) == b"one" * 100_000 + b"two" * 100_000
        assert [each.guid for each in lab.zfs.snapshots(target)] == [
            each.guid for each in lab.zfs.snapshots(chain.source)
        ]

    def test_a_received_filesystem_is_at_rest(self, zfs_under_test: Laboratory, chain: Chain) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        receive(lab, chain.full, target, first=True)
        found = lab.zfs.local_properties(target)
        assert {name: found[name] for name in ("canmount", "mountpoint", "readonly", "sharenfs", "sharesmb")} == {
            "canmount": "noauto",
            "mountpoint": "none",
            "readonly": "on",
            "sharenfs": "off",
            "sharesmb": "off",
        }

    def test_an_existing_target_is_refused(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        with pytest.raises(TargetExists, match="exists"):
            lab.zfs.receive(lab.add_filesystem("a"), type="filesystem", first=True)
        with pytest.raises(TargetExists, match="exists"):
            lab.zfs.receive(lab.pool, type="filesystem", first=True)

    def test_a_missing_parent_is_named(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        with pytest.raises(NoSuchDataset) as failure:
            lab.zfs.receive(f"{lab.pool}/missing/new", type="filesystem", first=True)
        assert failure.value.subject == f"{lab.pool}/missing"
        with pytest.raises((NoSuchPool, NoSuchDataset)):
            lab.zfs.receive("zrbtest-missing/new", type="filesystem", first=True)
        with pytest.raises((NoSuchPool, NoSuchDataset)):
            lab.zfs.receive("zrbtest-missing", type="filesystem", first=True)

    @pytest.mark.parametrize("kept", [0, 100, RECORD_BYTES, 5000, -RECORD_BYTES, -1])
    def test_a_stream_that_ends_early_leaves_nothing(self, zfs_under_test: Laboratory, chain: Chain, kept: int) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        process = lab.zfs.receive(target, type="filesystem", first=True)
        feed(process, chain.full[: kept or 0])
        with pytest.raises(ReceiveFailed, match=target):
            process.finish()
        give_up(lab, target)
        assert not lab.zfs.exists(target)

    @pytest.mark.parametrize("kept", [0, 100, RECORD_BYTES, 100_000, -RECORD_BYTES])
    def test_a_killed_receive_leaves_nothing(self, zfs_under_test: Laboratory, chain: Chain, kept: int) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        process = lab.zfs.receive(target, type="filesystem", first=True)
        feed(process, chain.full[: kept or 0])
        process.kill()
        process.kill()
        give_up(lab, target)
        assert not lab.zfs.exists(target)
        receive(lab, chain.full, target, first=True)

    def test_a_killed_link_leaves_the_links_before(self, zfs_under_test: Laboratory, chain: Chain) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        receive(lab, chain.full, target, first=True)
        process = lab.zfs.receive(target, type="filesystem", first=False)
        feed(process, chain.incremental[:100_000])
        process.kill()
        assert [each.short_name for each in lab.zfs.snapshots(target)] == ["one"]
        give_up(lab, target)
        receive(lab, chain.incremental, target, first=False)

    def test_a_link_on_the_wrong_base_is_refused(self, zfs_under_test: Laboratory, chain: Chain) -> None:
        lab, target = zfs_under_test, f"{zfs_under_test.restore}/new"
        lab.snapshot(chain.source, "three")
        last = whole_stream(lab.zfs.send(f"{chain.source}@three", base=f"{chain.source}@two", flags=()))
        receive(lab, chain.full, target, first=True)
        process = lab.zfs.receive(target, type="filesystem", first=False)
        feed(process, last)
        with pytest.raises(ReceiveFailed, match="incremental source") as failure:
            process.finish()
        assert "from its beginning" in failure.value.next_step

    def test_bytes_that_are_no_stream_are_refused(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        process = lab.zfs.receive(f"{lab.restore}/new", type="filesystem", first=True)
        feed(process, b"no stream " * 100)
        with pytest.raises((ReceiveFailed, EngineError)):
            process.finish()
        assert not lab.zfs.exists(f"{lab.restore}/new")


class TestDestroy:
    def test_an_empty_dataset_is_destroyed(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        name = lab.add_filesystem("restore/a")
        lab.zfs.destroy_dataset(name)
        assert not lab.zfs.exists(name)
        with pytest.raises(NoSuchDataset):
            lab.zfs.destroy_dataset(name)

    def test_a_dataset_with_snapshots_or_children_is_kept(self, zfs_under_test: Laboratory) -> None:
        lab = zfs_under_test
        parent, child = lab.add_filesystem("a"), lab.add_filesystem("a/b")
        with pytest.raises(ZfsError, match="children"):
            lab.zfs.destroy_dataset(parent)
        lab.snapshot(child, "one")
        with pytest.raises(ZfsError):
            lab.zfs.destroy_dataset(child)
        assert lab.zfs.exists(child)
