# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from tests.integration.pool_guard import refusal

PASSES = [
    "zfs",
    "zfs version",
    "zfs get",
    "zfs get guid zrbtest-1",
    "zfs get -H -p -o name,property,value -d 1 -t snapshot type,guid zrbtest-1/a",
    "zfs list -H -r -o name zrbtest-1",
    "zfs snapshot -r zrbtest-1/a@one",
    "zfs hold tank zrbtest-1/a@one",
    "zfs send -nP -L -i zrbtest-1/a@one zrbtest-1/a@two",
    "zfs send -i @one zrbtest-1/a@two",
    "zfs receive -u -o mountpoint=none -x sharenfs zrbtest-1/b",
    "zfs set mountpoint=/tank zrbtest-1/a",
    "zfs create -o mountpoint=/tmp/x -V 1M zrbtest-1/v",
    "zfs mount",
    "zfs allow -u backup send,hold zrbtest-1",
    "zpool list",
    "zpool create -f -o cachefile=none -m /tmp/m zrbtest-1 /tmp/file",
    "zpool destroy -f zrbtest-1",
    "zpool upgrade -v",
    "zpool get version zrbtest-1",
    "zpool export zrbtest-1",
]
REFUSED = {
    "zfs get guid tank": "'tank' is in no test pool",
    "zfs get guid zrbtest-1/a tank/a": "'tank/a'",
    "zfs list tank": "'tank'",
    "zfs destroy -r tank/a": "'tank/a'",
    "zfs destroy tank@a": "'tank@a'",
    "zfs hold zrbtest tank/a@one": "'tank/a@one'",
    "zfs send -i tank/a@one zrbtest-1/a@two": "'tank/a@one'",
    "zfs send -t 1-abc": "not recognized",
    "zfs receive tank/b": "'tank/b'",
    "zfs receive -o mountpoint=none tank/b": "'tank/b'",
    "zfs set mountpoint=none tank": "'tank'",
    "zfs rename zrbtest-1/a tank/a": "'tank/a'",
    "zfs mount -a": "not recognized",
    "zfs mount -O": "all pools",
    "zfs program tank x": "not one that tests use",
    "zfs allow zrbtest-1 tank": "'tank'",
    "zpool create zrbtest-1 /dev/sda": "never of devices",
    "zpool create tank /tmp/file": "'tank'",
    "zpool destroy tank": "'tank'",
    "zpool export -a": "not recognized",
    "zpool export -f": "all pools",
    "zpool import -f": "all pools",
    "zpool labelclear /dev/sda": "not one that tests use",
}


@pytest.mark.parametrize("command", PASSES)
def test_commands_on_test_pools_pass(command: str) -> None:
    program, *arguments = command.split()
    assert refusal(program, arguments) is None


@pytest.mark.parametrize(("command", "reason"), REFUSED.items())
def test_commands_on_other_pools_are_refused(command: str, reason: str) -> None:
    program, *arguments = command.split()
    assert reason in (refusal(program, arguments) or "")
