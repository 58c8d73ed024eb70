# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pools and datasets that cannot do what they are asked: what the error says, and what is left behind."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from zrb.config.key_files import read_identities
from zrb.errors import EngineError, ReceiveFailed, SendFailed, ZfsError
from zrb.run.backup import back_up
from zrb.run.restore import RestoreSelection, restore
from zrb.values.config import MIB
from zrb.zfs.child_processes import SendChild
from zrb.zfs.real_zfs import RealZfs

from tests.fakes.kill import at_store_call, dies_by_kill
from tests.fixtures.file_tree import describe_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import attempt, change, create, fill, outcome_of, snapshot_names, value

pytestmark = pytest.mark.zfs


@dataclass
class Intruder:
    """A ZFS in which something happens as soon as a send has written its first bytes. The stream is longer than
    its pipe, so that the send is under way until we read."""

    happens: Callable[[str], object]
    zfs: RealZfs

    def send(self, snapshot: str, **options: Any) -> SendChild:
        child = self.zfs.send(snapshot, **options)
        select.select([child.fileno()], [], [])
        self.happens(snapshot)
        return child

    def __getattr__(self, name: str) -> Any:
        return getattr(self.zfs, name)


def with_incompressible_data(nas: Nas) -> None:
    (nas.dataset.mountpoint / "random").write_bytes(os.urandom(6 * MIB))


def test_a_snapshot_cannot_be_destroyed_while_it_is_sent(local_nas: Nas) -> None:
    with_incompressible_data(local_nas)
    said: list[str] = []

    def destroy(snapshot: str) -> None:
        said.append(attempt("zfs", "destroy", snapshot).stderr)
        command("zfs", "release", local_nas.hold_tag, snapshot)
        said.append(attempt("zfs", "destroy", snapshot).stderr)

    env = local_nas.context(zfs=Intruder(destroy, RealZfs()))
    outcome = back_up(env, task=local_nas.task, level=0)
    assert outcome.failures == ()
    held, sent = said
    assert "it's being held" in held
    assert "dataset is busy" in sent
    local_nas.restore()


def test_a_snapshot_destroyed_after_an_interruption_is_replaced_by_a_new_backup(local_nas: Nas) -> None:
    nas = local_nas
    with_incompressible_data(nas)
    fill(nas)
    env = at_store_call(nas.context(), "complete", when="after", nth=2)
    assert dies_by_kill(lambda: back_up(env, task=nas.task, level=0))
    (interrupted,) = snapshot_names(nas.dataset.name)
    command("zfs", "release", nas.hold_tag, f"{nas.dataset.name}@{interrupted}")
    command("zfs", "destroy", f"{nas.dataset.name}@{interrupted}")
    (nas.dataset.mountpoint / "random").unlink()
    files = describe_tree(nas.dataset.mountpoint)

    result = nas.back_up(0)
    assert result.parts_resumed == 0
    assert list(Path(nas.config.base_dir).rglob("*.journal")) == []
    nas.restore()
    nas.assert_restored(nas.target(), files)


def test_a_killed_send_commits_nothing_and_the_next_run_resumes(local_nas: Nas) -> None:
    nas = local_nas
    with_incompressible_data(nas)

    class Killer(Intruder):
        def send(self, snapshot: str, **options: Any) -> SendChild:
            child = self.zfs.send(snapshot, **options)
            select.select([child.fileno()], [], [])
            os.kill(child.pid, 9)
            return child

    outcome = back_up(nas.context(zfs=Killer(print, RealZfs())), task=nas.task, level=0)
    ((_, error),) = outcome.failures
    assert isinstance(error, EngineError)
    assert nas.keys("manifests/") == []
    result = nas.back_up(0)
    assert result.manifest.snapshot.name.partition("@")[2] == snapshot_names(nas.dataset.name)[0]
    assert len(snapshot_names(nas.dataset.name)) == 1, "the interrupted snapshot is sent, not another one"


def test_restoring_into_a_full_dataset_goes_on_once_there_is_space(local_nas: Nas) -> None:
    with_incompressible_data(local_nas)
    fill(local_nas)
    local_nas.back_up(0)
    command("zfs", "set", "quota=3M", local_nas.pool.restore)
    with pytest.raises(ReceiveFailed) as raised:
        local_nas.restore()
    assert "quota" in raised.value.next_step
    command("zfs", "set", "quota=none", local_nas.pool.restore)
    local_nas.restore(continues=True)
    local_nas.assert_restored(local_nas.target(), describe_tree(local_nas.dataset.mountpoint))


def test_a_link_without_space_keeps_the_links_before_and_says_how_to_go_on(local_nas: Nas) -> None:
    nas = local_nas
    fill(nas)
    first = nas.back_up(0).manifest
    with_incompressible_data(nas)
    files = change(nas)
    second = nas.back_up(1).manifest
    command("zfs", "set", "quota=5M", nas.pool.restore)
    with pytest.raises(ReceiveFailed) as raised:
        nas.restore()
    assert snapshot_names(nas.target()) == [first.snapshot.name.partition("@")[2]]
    assert "--continue" in raised.value.next_step
    command("zfs", "set", "quota=none", nas.pool.restore)
    assert nas.restore(continues=True).links == (second.backup_id,)
    nas.assert_restored(nas.target(), files)


def test_a_dataset_without_space_is_still_backed_up(local_nas: Nas) -> None:
    nas = local_nas
    files = fill(nas)
    command("zpool", "sync", nas.pool.name)
    command("zfs", "set", f"refquota={int(value(nas.dataset.name, 'used')) + MIB}", nas.dataset.name)
    with suppress(OSError), (nas.dataset.mountpoint / "too-much").open("wb") as file:
        for _ in range(8):
            file.write(os.urandom(MIB))
            os.fsync(file.fileno())
    with pytest.raises(OSError, match="Disk quota exceeded"):
        (nas.dataset.mountpoint / "one-more").write_bytes(os.urandom(MIB))
        command("zpool", "sync", nas.pool.name)
        (nas.dataset.mountpoint / "another").write_bytes(os.urandom(MIB))
    nas.back_up(0)
    nas.restore()
    assert files.keys() <= nas.files_of(nas.target()).keys()


def test_a_full_pool_is_named_and_the_next_run_goes_on_once_there_is_space(local_nas: Nas) -> None:
    nas = local_nas
    fill(nas)
    first = nas.back_up(0).manifest
    ballast = create(f"{nas.pool.name}/ballast", compression="off")
    with pytest.raises(OSError, match="No space left on device"):
        exhaust(nas.pool.mountpoint / "ballast" / "file")
    ((_, error),) = outcome_of(nas, 1).failures
    assert isinstance(error, ZfsError)
    assert "out of space" in error.answer
    assert "quota" in error.next_step
    assert len(nas.keys("manifests/")) == 2, "a manifest and its list of parts"

    command("zfs", "destroy", ballast)
    files = change(nas)
    second = nas.back_up(1).manifest
    assert second.base is not None
    assert second.base.guid == first.snapshot.guid
    nas.restore()
    nas.assert_restored(nas.target(), files)


def exhaust(path: Path) -> None:
    """Write until the file system refuses, also when what it has in memory becomes blocks on the disk."""
    data = os.urandom(8 * MIB)
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(data)
            os.fsync(file.fileno())


def test_a_busy_dataset_is_named_and_what_to_look_at(local_nas: Nas) -> None:
    fill(local_nas)
    with (local_nas.dataset.mountpoint / "contents" / "one-byte").open("rb"), pytest.raises(ZfsError) as raised:
        RealZfs().destroy_dataset(local_nas.dataset.name)
    assert "busy" in raised.value.answer
    assert "Something still uses it" in raised.value.next_step


@pytest.fixture
def fragile_pool(local_nas: Nas, tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A pool whose disk takes no more writes once it is full: an image on a small memory file system. The function
    makes that happen; the disk gets room again afterwards."""
    place, name = tmp_path / "shelf", f"zrbtest-{os.getpid()}-fragile"
    place.mkdir()
    command("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(place))
    image = place / "disk.img"
    with image.open("wb") as file:
        file.truncate(256 * MIB)
    command(
        "zpool", "create", "-o", "cachefile=none", "-o", "failmode=wait", "-m", str(tmp_path / "f"), name, str(image)
    )

    def suspend() -> None:
        # In the background: who writes to a pool that is suspended waits until it is not.
        words = ["dd", "if=/dev/urandom", f"of={tmp_path}/f/filling", "bs=1M", "count=96", "conv=fsync"]
        writer.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
        while "SUSPENDED" not in attempt("zpool", "list", "-H", "-o", "health", name).stdout:
            assert writer[0].poll() is None, "the pool took more than its disk holds"

    writer: list[subprocess.Popen[bytes]] = []
    try:
        yield name, suspend
    finally:
        command("mount", "-o", "remount,size=600m", str(place))
        attempt("zpool", "clear", name)
        for process in writer:
            process.wait()
        command("zpool", "destroy", "-f", name)
        command("umount", str(place))


def test_a_suspended_pool_is_said_to_be_one(
    local_nas: Nas, fragile_pool: tuple[str, Callable[[], None]], tmp_path: Path
) -> None:
    name, suspend = fragile_pool
    create(f"{name}/data")
    task = replace(local_nas.task, pool=name)
    nas = replace(local_nas, config=replace(local_nas.config, tasks=(task,)))
    (tmp_path / "f" / "data" / "file").write_bytes(os.urandom(MIB))
    assert outcome_of(nas, 0).failures == ()
    suspend()

    with pytest.raises(ZfsError) as raised:
        failures = outcome_of(nas, 0).failures
        raise failures[0][1]
    assert "suspended" in raised.value.answer
    assert "zpool clear" in raised.value.next_step
    assert len(nas.keys("manifests/")) == 2, "a manifest and its list of parts"

    env = nas.context()
    with pytest.raises(ZfsError) as raised:
        restore(
            env,
            RestoreSelection(dataset=f"{name}/data", target=f"{name}/copy"),
            identities=read_identities(nas.identity),
            trusted=env.trusted_signers(),
        )
    assert "suspended" in raised.value.answer


def test_a_corrupt_block_fails_the_send_and_commits_nothing(local_nas: Nas) -> None:
    """ZFS knows that what it reads is wrong, and stops in the midst of the stream."""
    nas = local_nas
    create(nas.dataset.name, compression="off", recordsize="128K")
    mark = b"only this block is changed below"
    (nas.dataset.mountpoint / "file").write_bytes(os.urandom(2 * MIB) + mark * (2 * MIB // len(mark)))
    pool, image = nas.pool.name, nas.root / f"{nas.pool.name}.img"
    command("zpool", "export", pool)
    content = image.read_bytes()
    assert content.count(mark) > 0
    with image.open("r+b") as file:
        file.seek(content.index(mark) + 256 * 1024)
        file.write(b"something else")
    command("zpool", "import", "-o", "cachefile=none", "-d", str(nas.root), pool)

    ((_, error),) = outcome_of(nas, 0).failures
    assert isinstance(error, SendFailed)
    assert "zpool status" in error.next_step
    assert nas.keys("manifests/") == []
