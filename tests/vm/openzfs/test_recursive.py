# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recursive tasks: many datasets at one instant, some left out, one failing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from zrb.errors import SendFailed

from tests.fixtures.file_tree import describe_tree, make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import (
    WrappingKey,
    create,
    outcome_of,
    read_volume,
    restore_of,
    snapshot_names,
    volume_device,
    with_task,
)

pytestmark = pytest.mark.zfs


def add_children(nas: Nas, *paths: str) -> None:
    for number, path in enumerate(paths):
        name = create(f"{nas.dataset.name}/{path}")
        make_tree(nas.pool.mountpoint / name.partition("/")[2], seed=number, files=8, big_bytes=64 << 10)


def test_children_are_taken_at_one_instant_without_the_excluded(local_nas: Nas) -> None:
    nas = with_task(local_nas, recursive=True, exclude=("cache", "*/tmp"))
    add_children(nas, "home", "home/anna", "home/tmp", "cache", "cache/deep")
    command("zfs", "create", "-s", "-V", "8M", f"{nas.dataset.name}/disk")
    content = os.urandom(256 << 10)
    volume_device(f"{nas.dataset.name}/disk").write_bytes(content)
    outcome = outcome_of(nas, 0)

    assert outcome.failures == ()
    taken = {result.manifest.dataset.name: result.manifest for result in outcome.results}
    below = {name.removeprefix(nas.dataset.name) for name in taken}
    assert below == {"", "/home", "/home/anna", "/disk"}
    assert len({manifest.snapshot.createtxg for manifest in taken.values()}) == 1
    assert len({manifest.snapshot.name.partition("@")[2] for manifest in taken.values()}) == 1
    for left_out in ("home/tmp", "cache", "cache/deep"):
        assert snapshot_names(f"{nas.dataset.name}/{left_out}") == []

    restored = restore_of(nas, f"{nas.dataset.name}/home/anna", nas.target("anna")).target
    nas.assert_restored(restored, describe_tree(nas.dataset.mountpoint / "home/anna"))
    disk = restore_of(nas, f"{nas.dataset.name}/disk", nas.target("disk")).target
    assert read_volume(disk, len(content)) == content


def test_a_new_child_gets_its_level_0_while_the_others_go_on(local_nas: Nas) -> None:
    nas = with_task(local_nas, recursive=True)
    add_children(nas, "old")
    assert outcome_of(nas, 0).failures == ()
    add_children(nas, "new")
    outcome = outcome_of(nas, 1)
    levels = {result.manifest.dataset.name.rpartition("/")[2]: result.manifest.level for result in outcome.results}
    assert levels == {"data": 1, "old": 1, "new": 0}


def test_one_failing_child_does_not_stop_the_others(local_nas: Nas, tmp_path: Path) -> None:
    nas = with_task(local_nas, recursive=True, raw="never")
    key = WrappingKey.make(tmp_path)
    add_children(nas, "a", "c")
    locked = create(f"{nas.dataset.name}/b", **key.properties)
    key.unload(locked)
    outcome = outcome_of(nas, 0)

    assert [result.manifest.dataset.name for result in outcome.results] == [
        nas.dataset.name,
        f"{nas.dataset.name}/a",
        f"{nas.dataset.name}/c",
    ]
    ((failed, error),) = outcome.failures
    assert failed == locked
    assert isinstance(error, SendFailed)
    assert outcome.exit_code == 1
    restored = restore_of(nas, f"{nas.dataset.name}/c", nas.target("c")).target
    nas.assert_restored(restored, describe_tree(nas.dataset.mountpoint / "c"))
