# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job on a real pool: levels 0, 1 and 2 go out and come back, file by file, from both kinds of storage."""

from __future__ import annotations

import pytest
from zrb.values.config import MIB
from zrb.zfs.child_processes import Ended
from zrb.zfs.real_zfs import RealZfs
from zrb.zfs.short_commands import Program, ShortCommands

from tests.fixtures.file_tree import change_tree, describe_tree, make_tree
from tests.integration.nas_fixtures import Nas


def test_three_levels_come_back_file_by_file(nas: Nas) -> None:
    make_tree(nas.dataset.mountpoint, seed=1, files=60, big_bytes=13 * MIB if nas.config.s3 else MIB)
    full = nas.back_up(0)
    change_tree(nas.dataset.mountpoint, 1)
    after_first = describe_tree(nas.dataset.mountpoint)
    first = nas.back_up(1)
    change_tree(nas.dataset.mountpoint, 2)
    after_second = describe_tree(nas.dataset.mountpoint)
    second = nas.back_up(2)
    assert [result.manifest.level for result in (full, first, second)] == [0, 1, 2]
    assert [result.manifest.seq for result in (full, first, second)] == [1, 2, 3]
    assert len(nas.parts(full.manifest)) >= 3
    assert {result.manifest.chain for result in (full, first, second)} == {full.manifest.backup_id}

    newest = nas.restore("newest")
    assert newest.links == tuple(result.manifest.backup_id for result in (full, first, second))
    assert newest.warnings == ()
    nas.assert_restored(nas.target("newest"), after_second)
    older = nas.restore("older", level=1)
    assert older.snapshot == f"{nas.target('older')}@{first.manifest.snapshot.name.partition('@')[2]}"
    nas.assert_restored(nas.target("older"), after_first)


class CountingLine(ShortCommands):
    """Remembers what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def ask(self, program: Program, *arguments: str) -> Ended:
        self.asked.append(" ".join([program, *arguments]))
        return super().ask(program, *arguments)


@pytest.mark.parametrize("changes", [0, 1])
def test_a_small_increment_takes_eight_calls_of_zfs_at_most(nas: Nas, changes: int) -> None:
    make_tree(nas.dataset.mountpoint, seed=1, files=3)
    nas.back_up(0)
    nas.back_up(1)
    for number in range(changes):
        change_tree(nas.dataset.mountpoint, number)
    line = CountingLine()
    assert nas.back_up(1, zfs=RealZfs(line)).manifest.level == 1
    of_zfs = [command for command in line.asked if command.startswith("zfs ")]
    assert len(of_zfs) + len(["zfs send"]) <= 8, line.asked
