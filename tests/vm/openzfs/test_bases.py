# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a later backup starts from: snapshots, bookmarks, holds, and datasets that changed their name or nature."""

from __future__ import annotations

from dataclasses import replace

import pytest
from zrb.run.backup import back_up
from zrb.zfs.real_zfs import RealZfs

from tests.fakes.kill import at_checkpoint, dies_by_kill
from tests.fixtures.file_tree import describe_tree, make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import MadeDataset, command
from tests.vm.openzfs.production import attempt, change, create, fill, restore_of, snapshot_names, value, with_task

pytestmark = pytest.mark.zfs


def renamed(nas: Nas, path: str) -> Nas:
    """The NAS whose task means another dataset of the pool."""
    dataset = MadeDataset(f"{nas.pool.name}/{path}", nas.pool.mountpoint / path)
    return replace(with_task(nas, dataset=path), dataset=dataset)


def test_a_committed_snapshot_gets_a_bookmark_and_a_hold(local_nas: Nas) -> None:
    fill(local_nas)
    snapshot = local_nas.back_up(0).manifest.snapshot
    (bookmark,) = RealZfs().bookmarks(local_nas.dataset.name)
    assert (bookmark.guid, bookmark.createtxg) == (snapshot.guid, snapshot.createtxg)
    assert local_nas.hold_tag in command("zfs", "holds", "-H", snapshot.name).split("\t")


def test_a_bookmark_is_base_enough_when_the_snapshot_is_gone(local_nas: Nas) -> None:
    fill(local_nas)
    base = local_nas.back_up(0).manifest
    command("zfs", "release", local_nas.hold_tag, base.snapshot.name)
    command("zfs", "destroy", base.snapshot.name)
    files = change(local_nas)
    result = local_nas.back_up(1)

    assert (result.manifest.level, result.reason) == (1, "")
    assert result.manifest.base is not None
    assert result.manifest.base.guid == base.snapshot.guid
    local_nas.restore()
    local_nas.assert_restored(local_nas.target(), files)


def test_a_bookmark_of_the_same_name_but_another_snapshot_is_no_base(local_nas: Nas) -> None:
    fill(local_nas)
    base = local_nas.back_up(0).manifest.snapshot.name
    bookmark = base.replace("@", "#")
    command("zfs", "release", local_nas.hold_tag, base)
    command("zfs", "destroy", base)
    command("zfs", "destroy", bookmark)
    files = change(local_nas)
    command("zfs", "snapshot", base)
    command("zfs", "bookmark", base, bookmark)
    result = local_nas.back_up(1)

    assert result.manifest.level == 0
    assert "bookmark" in result.reason
    local_nas.restore()
    local_nas.assert_restored(local_nas.target(), files)


def test_holds_keep_what_later_backups_need_from_being_destroyed(local_nas: Nas) -> None:
    fill(local_nas)
    first = local_nas.back_up(0).manifest.snapshot.name
    refused = attempt("zfs", "destroy", first)
    assert refused.returncode != 0
    assert "it's being held" in refused.stderr
    change(local_nas, 1)
    second = local_nas.back_up(1).manifest.snapshot.name
    assert attempt("zfs", "destroy", second).returncode != 0
    change(local_nas, 2)
    third = local_nas.back_up(0).manifest.snapshot.name

    # A new chain: the holds of the old one are given back, and its own is there.
    held = {name: command("zfs", "holds", "-H", name).split("\t")[1:2] for name in (first, second, third)}
    assert held == {first: [], second: [], third: [local_nas.hold_tag]}
    command("zfs", "destroy", first)


def test_a_hold_that_a_killed_run_left_is_given_back(local_nas: Nas) -> None:
    fill(local_nas)
    context = at_checkpoint(local_nas.context(), "snapshot-held")
    assert dies_by_kill(lambda: back_up(context, task=local_nas.task, level=0))
    (left,) = (f"{local_nas.dataset.name}@{name}" for name in snapshot_names(local_nas.dataset.name))
    assert local_nas.hold_tag in command("zfs", "holds", "-H", left)
    others = f"{local_nas.dataset.name}@somebody-elses"
    command("zfs", "snapshot", others)
    command("zfs", "hold", "replication", others)
    local_nas.back_up(0)
    assert command("zfs", "holds", "-H", left) == ""
    assert "replication" in command("zfs", "holds", "-H", others)


def test_flags_stay_when_the_recordsize_changes_within_a_chain(local_nas: Nas) -> None:
    create(local_nas.dataset.name, recordsize="128K")
    fill(local_nas)
    full = local_nas.back_up(0).manifest
    command("zfs", "set", "recordsize=1M", "compression=zstd", local_nas.dataset.name)
    more = local_nas.dataset.mountpoint / "more"
    more.mkdir()
    make_tree(more, seed=9, files=10, big_bytes=2 << 20)
    files = describe_tree(local_nas.dataset.mountpoint)
    increment = local_nas.back_up(1).manifest

    assert increment.level == 1
    assert increment.send.flags == full.send.flags
    target = local_nas.restore().target
    local_nas.assert_restored(target, files)
    assert value(target, "recordsize") == str(1 << 20)


def test_a_renamed_dataset_starts_its_own_line_and_finds_back(local_nas: Nas) -> None:
    fill(local_nas)
    first = local_nas.back_up(0).manifest
    command("zfs", "rename", local_nas.dataset.name, f"{local_nas.pool.name}/elsewhere")
    moved = renamed(local_nas, "elsewhere")
    change(moved, 1)
    result = moved.back_up(1)
    assert (result.manifest.level, result.manifest.dataset.guid) == (0, first.dataset.guid)
    assert "no committed backup to start from" in result.reason

    command("zfs", "rename", moved.dataset.name, local_nas.dataset.name)
    files = change(local_nas, 2)
    back = local_nas.back_up(1).manifest
    assert back.level == 1
    assert back.base is not None
    assert back.base.guid == first.snapshot.guid
    local_nas.restore()
    local_nas.assert_restored(local_nas.target(), files)


def test_a_clone_is_backed_up_whole(local_nas: Nas) -> None:
    fill(local_nas)
    origin = local_nas.back_up(0).manifest.snapshot.name
    clone = renamed(local_nas, "clone")
    command("zfs", "clone", origin, clone.dataset.name)
    change(clone, 1)
    clone.back_up(0)
    files = change(clone, 2)
    assert clone.back_up(1).manifest.level == 1

    target = restore_of(clone, clone.dataset.name, f"{clone.pool.restore}/clone").target
    assert value(target, "origin") == "-"
    clone.assert_restored(target, files)


def test_a_promoted_clone_takes_the_base_and_the_chain_goes_on_or_starts_anew(local_nas: Nas) -> None:
    fill(local_nas)
    base = local_nas.back_up(0).manifest
    clone = f"{local_nas.pool.name}/clone"
    command("zfs", "clone", base.snapshot.name, clone)
    command("zfs", "promote", clone)
    assert base.snapshot.name.partition("@")[2] in snapshot_names(clone)
    files = change(local_nas)
    local_nas.back_up(1)
    local_nas.restore()
    local_nas.assert_restored(local_nas.target(), files)
