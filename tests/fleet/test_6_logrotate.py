# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role logrotate on a machine that has been deployed: rotations as the user who makes the backups."""

from __future__ import annotations

from tests.fleet.fleet import Fleet
from tests.fleet.test_2_config import variables as config_variables

FORCED = "logrotate --force /etc/logrotate.d/zrb"


def test_a_check_changes_nothing_and_a_second_run_neither(fleet: Fleet) -> None:
    assert fleet.role("config", config_variables()).ok
    assert fleet.role("permissions", {}).ok
    assert fleet.role("logrotate", {"logrotate_state": "absent"}).ok
    played = fleet.role("logrotate", {}, check=True)
    assert played.ok, played.output
    assert not fleet.does("ls /etc/logrotate.d/zrb")
    assert fleet.role("logrotate", {}).ok
    played = fleet.role("logrotate", {})
    assert (played.ok, played.changes) == (True, ()), played.output
    # The owner that this role sets is the one that the other expects.
    assert fleet.role("permissions", {}).changes == ()


def test_a_rotation_while_a_backup_writes_loses_no_line(fleet: Fleet) -> None:
    fleet.said("echo more >/tank/home/logged")
    logs = "/var/lib/zrb/logs"
    backup = "runuser --user=zrb -- zrb backup --level 1 --job-id rotated"
    fleet.said(f"{backup} & while kill -0 $! 2>/dev/null; do {FORCED}; sleep 0.2; done; wait $!")
    events = fleet.said(f"grep --recursive --no-filename rotated {logs}/tank/home").splitlines()
    assert ['"event": "start"' in events[0], '"event": "finish"' in events[-1]] == [True, True]
    assert fleet.said(f"stat --format='%a %U' {logs}/schedule.log") == "640 zrb"
    assert fleet.does(f"ls {logs}/schedule.log.1")


def test_old_logs_go(fleet: Fleet) -> None:
    logs = "/var/lib/zrb/logs/tank/home"
    fleet.said(f"runuser --user=zrb -- touch --date='91 days ago' {logs}/2020-01-01.log")
    fleet.said(f"runuser --user=zrb -- touch --date='89 days ago' {logs}/2020-01-02.log && {FORCED}")
    assert not fleet.does(f"ls {logs}/2020-01-01.log")
    assert fleet.does(f"ls {logs}/2020-01-02.log")


def test_absent_leaves_the_logs(fleet: Fleet) -> None:
    assert fleet.role("logrotate", {"logrotate_state": "absent"}).ok
    assert not fleet.does("ls /etc/logrotate.d/zrb")
    assert fleet.does("ls /var/lib/zrb/logs/schedule.log")
    assert fleet.role("logrotate", {"logrotate_state": "absent"}).changes == ()
