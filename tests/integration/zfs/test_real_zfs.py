# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What only a real ZFS shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from zrb.errors import NoSuchPool, ReceiveFailed, ZfsError, ZfsUnable
from zrb.zfs.real_zfs import RealZfs
from zrb.zfs.stream_records import RECORD_BYTES, parse_begin, parse_end

from tests.integration.zfs.conformance import feed, read_all, whole_stream
from tests.integration.zfs_fixtures import MadeDataset, MadePool, command, problem_destroying

pytestmark = pytest.mark.zfs

MakeDataset = Callable[..., MadeDataset]


@pytest.fixture
def zfs() -> RealZfs:
    return RealZfs()


def sent(zfs: RealZfs, dataset: MadeDataset, content: bytes, short_name: str) -> bytes:
    """Write a file, take a snapshot, and send it whole."""
    (dataset.mountpoint / "content").write_bytes(content)
    snapshot = zfs.create_snapshots([f"{dataset.name}@{short_name}"])[0].name
    return whole_stream(zfs.send(snapshot, base=None, flags=()))


def test_the_version_names_itself(zpool: MadePool, zfs: RealZfs) -> None:
    found = zfs.capabilities
    assert found.version.startswith(("zfs-", "pool version "))
    assert found.platform.startswith(f"{os.uname().sysname} ")


def test_a_stream_of_every_size_begins_and_ends_as_documented(make_dataset: MakeDataset, zfs: RealZfs) -> None:
    dataset = make_dataset("a")
    for index, size in enumerate((0, 1, 131_072, 3_000_001)):
        stream = sent(zfs, dataset, bytes(size), f"s{index}")
        snapshot = zfs.snapshots(dataset.name)[-1]
        begin = parse_begin(stream[:RECORD_BYTES])
        assert (begin.to_guid, begin.to_name) == (snapshot.guid, snapshot.name)
        assert parse_end(stream[-RECORD_BYTES:]).to_guid == snapshot.guid


def test_a_snapshot_is_destroyed_unless_something_needs_it(
    make_dataset: MakeDataset, zpool: MadePool, zfs: RealZfs
) -> None:
    dataset = make_dataset("a").name
    held, cloned, free = (zfs.create_snapshots([f"{dataset}@{name}"])[0].name for name in ("held", "cloned", "free"))
    zfs.hold(held, "zrb:daily")
    # Not mounted: zfs-fuse lets go of a filesystem some moments after it was unmounted, and until then it is busy.
    command("zfs", "clone", "-o", "mountpoint=none", cloned, f"{zpool.name}/clone")
    assert [zfs.destroy_snapshot(name) for name in (held, cloned, free, free)] == [False, False, True, True]
    assert [snapshot.name for snapshot in zfs.snapshots(dataset)] == [held, cloned]
    command("zfs", "destroy", f"{zpool.name}/clone")
    zfs.release(held, "zrb:daily")
    assert [zfs.destroy_snapshot(name) for name in (held, cloned)] == [True, True]


OURS, THEIRS = "zrb_level0_20260101T000000Z", "zrb_level1_20260101T000000Z"


def ours(zfs: RealZfs, dataset: str) -> set[str]:
    return {snapshot.short_name for snapshot in zfs.snapshots(dataset) if snapshot.ours}


def test_what_zrb_takes_is_ours_and_nothing_else(make_dataset: MakeDataset, zfs: RealZfs) -> None:
    dataset = make_dataset("a").name
    zfs.take_snapshots([f"{dataset}@{OURS}"])
    command("zfs", "snapshot", f"{dataset}@{THEIRS}")
    assert ours(zfs, dataset) == {OURS}
    # What looks like our mark, and comes from the dataset, makes nothing ours.
    command("zfs", "set", "zrb:taken-as=zrb_level*_20260101T000000Z", dataset)
    command("zfs", "snapshot", f"{dataset}@zrb_level2_20260101T000000Z")
    assert ours(zfs, dataset) == {OURS}
    command("zfs", "rename", f"{dataset}@{OURS}", f"{dataset}@mine")
    assert ours(zfs, dataset) == set()
    command("zfs", "rename", f"{dataset}@mine", f"{dataset}@{OURS}")
    assert ours(zfs, dataset) == {OURS}


def test_all_snapshots_of_one_instant_are_ours(make_dataset: MakeDataset, zfs: RealZfs) -> None:
    first, second = make_dataset("a").name, make_dataset("b").name
    other = THEIRS if zfs.capabilities.multiple_snapshots else OURS
    zfs.take_snapshots([f"{first}@{OURS}", f"{second}@{other}"])
    assert (ours(zfs, first), ours(zfs, second)) == ({OURS}, {other})


def test_a_mark_that_looks_like_other_properties_is_refused(make_dataset: MakeDataset, zfs: RealZfs) -> None:
    dataset = make_dataset("a").name
    (snapshot,) = zfs.create_snapshots([f"{dataset}@{OURS}"])
    command("zfs", "set", f"zrb:taken-as=x\tlocal\n{snapshot.name}\tguid\t77\t-\n{dataset}\tother\ty", dataset)
    with pytest.raises(ZfsError):
        zfs.snapshots(dataset)


def test_a_received_filesystem_is_not_mounted_below_a_mounted_parent(
    zpool: MadePool, make_dataset: MakeDataset, zfs: RealZfs
) -> None:
    stream = sent(zfs, make_dataset("source"), b"x", "one")
    target = f"{make_dataset('parent').name}/new"
    process = zfs.receive(target, type="filesystem", first=True)
    feed(process, stream)
    process.finish()
    zfs.protect_received(target, type="filesystem")
    assert command("zfs", "get", "-H", "-o", "value", "mounted", target) == "no\n"
    assert str(zpool.mountpoint / "parent" / "new") not in Path("/proc/mounts").read_text()


def test_a_target_that_was_written_to_refuses_the_next_link(
    zpool: MadePool, make_dataset: MakeDataset, zfs: RealZfs
) -> None:
    source = make_dataset("source")
    full = sent(zfs, source, b"one", "one")
    (source.mountpoint / "content").write_bytes(b"two")
    second = zfs.create_snapshots([f"{source.name}@two"])[0].name
    incremental = whole_stream(zfs.send(second, base=f"{source.name}@one", flags=()))
    target = f"{zpool.restore}/new"
    process = zfs.receive(target, type="filesystem", first=True)
    feed(process, full)
    process.finish()
    mountpoint = zpool.mountpoint / "new"
    command("zfs", "set", "readonly=off", target)
    command("zfs", "set", "canmount=on", target)
    command("zfs", "set", f"mountpoint={mountpoint}", target)
    if not (mountpoint / "content").exists():
        command("zfs", "mount", target)
    (mountpoint / "foreign").write_bytes(b"x")
    zfs.protect_received(target, type="filesystem")
    process = zfs.receive(target, type="filesystem", first=False)
    feed(process, incremental)
    with pytest.raises(ReceiveFailed, match="has been modified") as failure:
        process.finish()
    assert "zfs rollback" in failure.value.next_step


def test_a_filesystem_is_not_received_over_files(zpool: MadePool, make_dataset: MakeDataset, zfs: RealZfs) -> None:
    if zfs.capabilities.receive_unmounted:
        pytest.skip("this ZFS receives without mounting")
    covered = make_dataset("parent").mountpoint / "new"
    covered.mkdir()
    (covered / "precious").touch()
    with pytest.raises(ZfsUnable, match=f"cover {covered}"):
        zfs.receive(f"{zpool.name}/parent/new", type="filesystem", first=True)
    assert (covered / "precious").exists()
    assert not zfs.exists(f"{zpool.name}/parent/new")


def assert_nothing_was_committed(zfs: RealZfs, target: str) -> None:
    """A ZFS that can go on keeps what it has got, in a dataset without a snapshot; another keeps nothing."""
    if zfs.exists(target):
        assert zfs.capabilities.receive_resumable
        assert zfs.snapshots(target) == []


def test_a_full_pool_says_so(zpool: MadePool, make_dataset: MakeDataset, zfs: RealZfs) -> None:
    stream = sent(zfs, make_dataset("source"), os.urandom(3_000_000), "one")
    small = f"{zpool.restore}/small"
    command("zfs", "create", "-o", "quota=1m", small)
    process = zfs.receive(f"{small}/new", type="filesystem", first=True)
    feed(process, stream)
    with pytest.raises(ReceiveFailed) as failure:
        process.finish()
    assert "quota" in failure.value.next_step
    assert_nothing_was_committed(zfs, f"{small}/new")


def test_a_stream_with_a_changed_byte_is_refused(zpool: MadePool, make_dataset: MakeDataset, zfs: RealZfs) -> None:
    stream = bytearray(sent(zfs, make_dataset("source"), os.urandom(500_000), "one"))
    stream[300_000] ^= 0xFF
    process = zfs.receive(f"{zpool.restore}/new", type="filesystem", first=True)
    feed(process, bytes(stream))
    with pytest.raises(ReceiveFailed, match="stream") as failure:
        process.finish()
    assert "zrb verify" in failure.value.next_step
    assert_nothing_was_committed(zfs, f"{zpool.restore}/new")


def test_a_snapshot_that_is_gone_since_fails_the_send(make_dataset: MakeDataset, zfs: RealZfs) -> None:
    dataset = make_dataset("source")
    sent(zfs, dataset, b"x", "one")
    command("zfs", "destroy", f"{dataset.name}@one")
    process = zfs.send(f"{dataset.name}@one", base=None, flags=())
    assert read_all(process.fileno()) == b""
    with pytest.raises(ZfsError, match=f"zfs send of {dataset.name}@one"):
        process.wait()


def test_a_destroyed_pool_is_gone(zpool: MadePool, zfs: RealZfs) -> None:
    assert zfs.pool(zpool.name).guid.isdecimal()
    assert not problem_destroying(zpool.name)
    with pytest.raises(NoSuchPool, match="zpool import"):
        zfs.pool(zpool.name)
    assert not zfs.exists(f"{zpool.name}/restore")
