# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role schedule on a machine that has been deployed: the real cron and the real systemd start the runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.test_2_config import variables as config_variables

MINUTELY = {"name": "minutely", "level": 1, "cron": "* * * * *", "calendar": "*:*"}


def variables(**more: Any) -> dict[str, Any]:
    return {"schedule_runs": [MINUTELY], "schedule_jitter": 0, **more}


def backups(fleet: Fleet) -> list[str]:
    listed = json.loads(fleet.said("runuser --user=zrb -- zrb list --json"))
    return [entry["backup_id"] for entry in listed["entries"]]


def wait_for(fleet: Fleet, line: str) -> None:
    """Until a shell line succeeds, which takes two minutes at most and then says what cron and systemd did."""
    deadline = time.monotonic() + 180
    while not fleet.does(line):
        said = "journalctl --no-pager --lines=60; cat /var/lib/zrb/logs/schedule.log"
        assert time.monotonic() < deadline, fleet.said(said)
        time.sleep(2)


@pytest.fixture(scope="module", autouse=True)
def _repository(fleet: Fleet) -> Iterator[None]:
    """In a directory, whatever a test before has left, and cron at work, which this machine need not have started."""
    fleet.said("systemctl enable --now cron")
    assert fleet.role("config", config_variables()).ok
    assert fleet.role("permissions", {}).ok
    assert fleet.role("schedule", {"schedule_state": "absent"}).ok
    yield
    assert fleet.role("schedule", {"schedule_state": "absent"}).ok


def test_a_check_changes_nothing_and_the_default_week_lands(fleet: Fleet) -> None:
    played = fleet.role("schedule", {}, check=True)
    assert played.ok, played.output
    assert not fleet.does("ls /etc/cron.d/zrb")
    assert fleet.role("schedule", {}).ok
    assert "0 2 * * 0 zrb " in fleet.said("cat /etc/cron.d/zrb")
    played = fleet.role("schedule", {})
    assert (played.ok, played.changes) == (True, ()), played.output


def test_cron_makes_backups_as_the_user(fleet: Fleet) -> None:
    before = backups(fleet)
    assert fleet.role("schedule", variables()).ok
    wait_for(fleet, "grep 'exit code' /var/lib/zrb/logs/schedule.log")
    assert len(backups(fleet)) > len(before)
    assert not fleet.does("find /srv/repository /var/lib/zrb ! -user zrb | grep .")
    assert not fleet.does("find /var/lib/zrb/logs -name schedule.log -perm /007 | grep .")


def test_cron_mails_a_failure(fleet: Fleet) -> None:
    """As cron does without a mail server: it says that it discards what it got."""
    fleet.said("mv /etc/zrb/signing.key /etc/zrb/signing.away")
    try:
        since = fleet.said("date '+%F %T'")
        wait_for(fleet, f"journalctl --unit=cron --since='{since}' | grep --ignore-case 'mta'")
        assert "signing.key" in fleet.said("cat /var/lib/zrb/logs/schedule.log")
    finally:
        fleet.said("mv /etc/zrb/signing.away /etc/zrb/signing.key")


def test_what_was_missed_is_made_up_for_at_boot(fleet: Fleet) -> None:
    yearly = {"name": "yearly", "level": 1, "cron": "0 0 1 1 *"}
    assert fleet.role("schedule", variables(schedule_runs=[yearly])).ok
    stamp = "/var/lib/zrb/schedule/yearly.stamp"
    fleet.said(f"runuser --user=zrb -- touch --date='2 years ago' {stamp}")
    before = backups(fleet)
    # Cron starts what is due at boot once for each boot, which this file in /run stands for.
    fleet.said("rm --force /run/crond.reboot && systemctl restart cron")
    wait_for(fleet, f"test $(stat --format=%Y {stamp}) -gt $(date --date='1 hour ago' +%s)")
    assert len(backups(fleet)) == len(before) + 1


def test_a_cron_that_does_not_run_is_refused(fleet: Fleet) -> None:
    fleet.said("systemctl stop cron")
    try:
        played = fleet.role("schedule", variables())
        assert played.failed == 1
        assert "systemctl enable --now cron" in played.output
    finally:
        fleet.said("systemctl start cron")


def test_timers_take_the_place_of_cron(fleet: Fleet) -> None:
    before = backups(fleet)
    timers = variables(schedule_provider="systemd")
    checked = fleet.role("schedule", timers, check=True)
    assert checked.ok, checked.output
    assert fleet.does("ls /etc/cron.d/zrb")
    played = fleet.role("schedule", timers)
    assert played.ok, played.output
    assert not fleet.does("ls /etc/cron.d/zrb")
    wait_for(fleet, "journalctl --unit=zrb-fleet-minutely.service | grep --fixed-strings 'tank/home: committed'")
    assert len(backups(fleet)) > len(before)
    assert fleet.said("systemctl show --property=NRestarts --property=Result zrb-fleet-minutely.service").endswith(
        "Result=success"
    )
    played = fleet.role("schedule", timers)
    assert (played.ok, played.changes) == (True, ()), played.output


def test_a_timer_that_is_masked_is_refused(fleet: Fleet) -> None:
    other = variables(schedule_provider="systemd", schedule_runs=[{**MINUTELY, "name": "other"}])
    fleet.said("systemctl mask zrb-fleet-other.timer")
    try:
        played = fleet.role("schedule", other)
        assert played.failed == 1
        assert "systemctl unmask zrb-fleet-other.timer" in played.output
    finally:
        fleet.said("systemctl unmask zrb-fleet-other.timer")


def test_absent_leaves_nothing(fleet: Fleet) -> None:
    assert fleet.role("schedule", {"schedule_state": "absent"}).ok
    assert not fleet.does("systemctl list-timers --all | grep zrb")
    assert not fleet.does("ls -d /etc/systemd/system/zrb-* /etc/cron.d/zrb /usr/local/lib/zrb_scheduled.py")
    assert not fleet.does("ls -d /var/lib/zrb/schedule")
    played = fleet.role("schedule", {"schedule_state": "absent"})
    assert (played.ok, played.changes) == (True, ()), played.output
