# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role permissions on a machine that has a configuration: backups without root."""

from __future__ import annotations

import json

from tests.fleet.fleet import Fleet

AS_USER = "runuser --user=zrb --"


def test_a_check_changes_nothing(fleet: Fleet) -> None:
    played = fleet.role("permissions", {}, check=True)
    assert not fleet.does("id zrb")
    assert fleet.said("stat --format=%U /etc/zrb/config.yaml") == "root"
    assert "zrb.fleet.permissions : Make the user" in played.changes


def test_the_user_owns_what_a_backup_needs(fleet: Fleet) -> None:
    played = fleet.role("permissions", {})
    assert played.ok, played.output
    owned = fleet.said(
        "stat --format='%n %U:%G %a' /etc/zrb /etc/zrb/config.yaml /etc/zrb/credentials /etc/zrb/signing.key "
        "/var/lib/zrb /var/lib/zrb/logs /srv/repository"
    )
    assert owned.splitlines() == [
        "/etc/zrb root:zrb 750",
        "/etc/zrb/config.yaml zrb:zrb 600",
        "/etc/zrb/credentials zrb:zrb 600",
        "/etc/zrb/signing.key zrb:zrb 600",
        "/var/lib/zrb zrb:zrb 750",
        "/var/lib/zrb/logs zrb:zrb 750",
        "/srv/repository zrb:zrb 750",
    ]
    assert "user zrb bookmark,hold,release,send,snapshot" in fleet.said("zfs allow tank/home")
    assert "user zrb" not in fleet.said("zfs allow tank/other")


def test_backups_need_no_root(fleet: Fleet) -> None:
    for level in (0, 1, 2):
        fleet.said(f"echo {level} >/tank/home/level-{level}")
        (result,) = json.loads(fleet.said(f"{AS_USER} zrb backup --level {level} --json"))["results"]
        assert (result["level"], result["warnings"]) == (level, [])
    assert "all is well" in fleet.said(f"{AS_USER} zrb verify --depth checksum")
    assert not fleet.does("find /srv/repository /var/lib/zrb ! -user zrb | grep .")


def test_the_user_can_do_nothing_else(fleet: Fleet) -> None:
    for refused in ("zfs snapshot tank/other@x", "zfs destroy tank/home", "zfs set atime=off tank/home"):
        assert not fleet.does(f"{AS_USER} /usr/sbin/{refused}")
    assert not fleet.does(f"{AS_USER} sh -c 'echo >/etc/zrb/another'")


def test_a_second_run_changes_nothing_after_backups(fleet: Fleet) -> None:
    played = fleet.role("permissions", {})
    assert (played.ok, played.changes) == (True, ()), played.output
    played = fleet.role("permissions", {}, check=True)
    assert (played.ok, played.changes) == (True, ()), played.output


def test_what_went_wrong_is_repaired(fleet: Fleet) -> None:
    spoil = "chmod 644 /etc/zrb/signing.key && chown root /etc/zrb/credentials && chmod 777 /var/lib/zrb"
    fleet.said(f"{spoil} && zfs unallow -u zrb hold tank/home && touch /var/lib/zrb/logs/of-root")
    assert not fleet.does(f"{AS_USER} zrb validate-config --offline")
    played = fleet.role("permissions", {})
    assert played.ok, played.output
    assert fleet.said("stat --format=%a /etc/zrb/signing.key /var/lib/zrb").split() == ["600", "750"]
    assert fleet.said("stat --format=%U /etc/zrb/credentials /var/lib/zrb/logs/of-root").split() == ["zrb", "zrb"]
    fleet.said("echo again >/tank/home/file")
    assert fleet.does(f"{AS_USER} zrb backup --level 2")


def test_the_configuration_can_change_afterwards(fleet: Fleet) -> None:
    """The role config leaves the owner alone, so that both roles agree."""
    from tests.fleet.test_2_config import settings, variables

    assert fleet.role("config", variables(config_settings=settings(workers=3))).ok
    assert fleet.said("stat --format=%U:%a /etc/zrb/config.yaml") == "zrb:600"
    assert fleet.role("permissions", {}).changes == ()


def test_absent_takes_the_rights_away(fleet: Fleet) -> None:
    played = fleet.role("permissions", {"permissions_state": "absent"})
    assert played.ok, played.output
    assert not fleet.does("id zrb")
    assert "zrb" not in fleet.said("zfs allow tank/home")
    assert (
        fleet.said("stat --format=%U /etc/zrb/config.yaml /etc/zrb/signing.key /srv/repository").split() == ["root"] * 3
    )
    assert fleet.does("zrb backup --level 2")
    assert fleet.role("permissions", {"permissions_state": "absent"}).changes == ()
    assert fleet.role("permissions", {}).ok
