# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine loses its power in the middle: what was committed is whole, and the next run goes on by itself.

The power is cut once for all: a machine takes longer to boot than everything else here, and several NAS in it can
each stand at a point of their own when it happens.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.vm.host.conftest import PoweredNas, lose_power, new_nas
from tests.vm.testbed.machine import Machine

IN_BACKUP = {"put_chunk:part-000003": 1, "manifest-stored": 2}
"""Points, and how many backups are committed once they are reached."""

IN_RESTORE = ("read_into:part-000003", "link-0-received")

CutNas = Callable[[str], PoweredNas]


def in_the_middle_of_a_backup(machine: Machine, point: str) -> PoweredNas:
    nas = new_nas(machine)
    nas.stop_at("prepare,1", f"stop-in-backup,1,{point}")
    return nas


def in_the_middle_of_a_restore(machine: Machine, point: str) -> PoweredNas:
    nas = new_nas(machine)
    nas.stop_at("prepare,2", f"stop-in-restore,{target_in(nas)},{point}")
    return nas


def target_in(nas: PoweredNas) -> str:
    return f"{nas.pool}/restore/after"


@pytest.fixture(scope="module")
def cut(machine: Machine) -> CutNas:
    """The NAS that stood at a point when the power was cut; it is back."""
    fleet = {point: in_the_middle_of_a_backup(machine, point) for point in IN_BACKUP}
    fleet |= {point: in_the_middle_of_a_restore(machine, point) for point in IN_RESTORE}
    lose_power(machine, fleet.values())
    return fleet.__getitem__


def backups(nas: PoweredNas) -> list[str]:
    return [entry["backup_id"] for entry in nas.succeed("list")["entries"]]


def assert_all_restore(nas: PoweredNas) -> None:
    """Every committed backup is whole to its last byte, and the newest brings back the files described."""
    nas.succeed("verify", "--depth", "decrypt", "--private-key", f"{nas.directory}/age.key")
    nas.restore(target_in(nas))
    nas.act(f"compare,{target_in(nas)}")


@pytest.mark.parametrize("point", IN_BACKUP)
def test_power_cut_in_a_backup(cut: CutNas, point: str) -> None:
    nas = cut(point)
    assert len(backups(nas)) == IN_BACKUP[point]
    (result,) = nas.succeed("backup", "--level", 1)["results"]
    assert result["level"] == 1
    assert len(backups(nas)) == IN_BACKUP[point] + 1
    if IN_BACKUP[point] == 1:
        assert result["parts_resumed"] > 0
    assert_all_restore(nas)


@pytest.mark.parametrize("point", IN_RESTORE)
def test_power_cut_in_a_restore(cut: CutNas, point: str) -> None:
    nas, target = cut(point), target_in(cut(point))
    newest = backups(nas)[-1]
    assert len(backups(nas)) == 2
    if point == "link-0-received":
        status, _, said = nas.zrb("restore", "--target", target, "--private-key", f"{nas.directory}/age.key")
        assert status == 1
        assert "--continue" in said
        assert nas.restore(target, "--continue")["links"] == [newest]
        nas.act(f"compare,{target}")
    else:
        # ZFS has kept what it had of the first link, or nothing.
        nas.restore(target, "--continue")
        nas.act(f"compare,{target}")
