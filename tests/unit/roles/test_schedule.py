# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cron starts on a host, without Ansible and without cron."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles/schedule/files"
PROGRAM = FILES / "zrb_scheduled.py"
sys.path.insert(0, str(FILES))
try:
    from zrb_scheduled import CronTime  # type: ignore[import-not-found]
finally:
    sys.path.remove(str(FILES))

YEAR = [datetime(2027, 1, 1) + timedelta(minutes=minute) for minute in range(0, 365 * 24 * 60, 15)]  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0 2 * * 0", lambda at: (at.minute, at.hour, at.isoweekday()) == (0, 2, 7)),
        ("0 2 * * 7", lambda at: (at.minute, at.hour, at.isoweekday()) == (0, 2, 7)),
        ("0 2 * * 1-6", lambda at: (at.minute, at.hour) == (0, 2) and at.isoweekday() < 7),
        ("0 2 * * Mon-SAT", lambda at: (at.minute, at.hour) == (0, 2) and at.isoweekday() < 7),
        ("*/15 * * * *", lambda at: True),
        ("15-59/30 8,20 * jan-mar *", lambda at: at.minute in {15, 45} and at.hour in {8, 20} and at.month <= 3),
        ("0 0 1 */3 *", lambda at: (at.minute, at.hour, at.day) == (0, 0, 1) and at.month in {1, 4, 7, 10}),
        ("0 0 13 * 5", lambda at: (at.minute, at.hour) == (0, 0) and (at.day == 13 or at.isoweekday() == 5)),
        ("0 0 */2 * 5", lambda at: (at.minute, at.hour) == (0, 0) and at.day % 2 == 1 and at.isoweekday() == 5),
    ],
)
def test_a_time_means_what_crontab_says(text: str, meant: object) -> None:
    time_of_cron = CronTime(text)
    assert callable(meant)
    assert [at for at in YEAR if time_of_cron.matches(at)] == [at for at in YEAR if meant(at)]


MISTAKES = [
    *("", "0 2 * *", "0 2 * * * *", "@daily", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 32 * *", "0 2 * 13 *"),
    *("0 2 * * 8", "5-1 * * * *", "*/0 * * * *", "5/10 * * * *", "-1 * * * *", "1,,2 * * * *", "x * * * *"),
    *("0 2 * sun *", "0 2 * * jan", "٣ 2 * * *", "1-2-3 * * * *"),
]


@pytest.mark.parametrize("text", MISTAKES)
def test_what_cron_would_not_take_is_a_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        CronTime(text)


def test_a_check_names_each_mistake() -> None:
    words = [sys.executable, PROGRAM, "check", "--", "0 2 * * 0", *MISTAKES]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert [line.partition(": ")[0] for line in ended.stdout.splitlines()] == [repr(text) for text in MISTAKES]
    assert "0 2 * * 0'" not in ended.stdout
    assert subprocess.run([*words[:3], "--", "0 2 * * 0"], check=True, capture_output=True).stdout == b""


def test_a_run_is_missed_if_its_minute_has_passed() -> None:
    sunday = datetime(2027, 1, 3, 2, 0)  # noqa: DTZ001
    weekly = CronTime("0 2 * * 0")
    for after, until, due in [
        (sunday - timedelta(minutes=1), sunday, True),
        (sunday, sunday + timedelta(days=7, minutes=-1), False),
        (sunday, sunday + timedelta(days=7, seconds=3), True),
        (sunday + timedelta(seconds=59), sunday + timedelta(hours=5), False),
        (sunday, sunday - timedelta(days=3), False),
    ]:
        assert weekly.was_due(after=after, until=until) == due, (after, until)


class Schedule:
    """One run of a schedule of this directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "logs/schedule.log"

    def words(self, line: str, *options: str, name: str = "level-0") -> list[str]:
        program = [sys.executable, str(PROGRAM), "run", "--name", name, "--directory", str(self.directory)]
        return [*program, "--log", str(self.log), *options, "--", "sh", "-c", line]

    def run(self, line: str, *options: str, name: str = "level-0") -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.words(line, *options, name=name), capture_output=True, text=True, check=False)


@pytest.fixture
def schedule(tmp_path: Path) -> Schedule:
    return Schedule(tmp_path)


@pytest.mark.parametrize("status", range(9))
def test_only_a_failure_is_mailed_and_everything_is_logged(schedule: Schedule, status: int) -> None:
    ended = schedule.run(f"echo stored; echo careful >&2; exit {status}")
    quiet = status in {0, 3, 4}
    assert (ended.returncode, ended.stderr) == (0 if quiet else status, "")
    assert (ended.stdout == "") == quiet
    assert quiet or ended.stdout.endswith("\nstored\ncareful\n")
    assert schedule.log.read_text().endswith(f"exit code {status}\nstored\ncareful\n")
    assert schedule.log.stat().st_mode & 0o777 == 0o640


def test_the_log_has_what_was_begun_when_the_host_went_down(schedule: Schedule) -> None:
    assert schedule.run("kill -9 $PPID").returncode < 0
    assert schedule.log.read_text().endswith("$PPID: begun\n")


def test_a_command_that_is_not_there_and_a_log_that_cannot_be_written_are_told(schedule: Schedule) -> None:
    words = schedule.words("")
    missing = [*words[: words.index("--")], "--", str(schedule.directory / "no-zrb")]
    ended = subprocess.run(missing, capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "no-zrb" in ended.stdout
    schedule.log.unlink()
    schedule.log.mkdir()
    assert str(schedule.log) in schedule.run("true").stdout


def test_runs_do_not_overlap_and_none_queues_twice(schedule: Schedule) -> None:
    line = "echo begin >>{0}; sleep 0.3; echo end >>{0}".format(schedule.directory / "order")
    running = [subprocess.Popen(schedule.words(line, name=f"level-{level}")) for level in (0, 1, 0, 1, 0, 1)]
    assert [process.wait() for process in running] == [0] * 6
    lines = (schedule.directory / "order").read_text().split()
    assert lines == ["begin", "end"] * (len(lines) // 2)
    # While one of the name holds its lock, another does nothing.
    (schedule.directory / "order").unlink()
    holder = subprocess.Popen(
        ["flock", schedule.directory / "level-0.lock", "sh", "-c", "echo ready; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"ready\n"
    assert schedule.run(line).returncode == 0
    assert not (schedule.directory / "order").exists()
    holder.communicate()
    assert schedule.run(line).returncode == 0
    assert (schedule.directory / "order").exists()


def test_what_was_missed_is_made_up_for_once(schedule: Schedule) -> None:
    made = schedule.directory / "made"
    line = f"echo >>{made}"
    assert schedule.run(line).returncode == 0
    stamp = schedule.directory / "level-0.stamp"
    made.unlink()
    schedule.run(line, "--missed", "0 0 1 1 *")
    assert not made.exists()
    os.utime(stamp, (time.time() - 400 * 86_400,) * 2)
    schedule.run(line, "--missed", "0 0 1 1 *")
    assert made.exists()
    made.unlink()
    schedule.run(line, "--missed", "0 0 1 1 *")
    assert not made.exists()


def test_a_run_that_was_killed_is_made_up_for(schedule: Schedule) -> None:
    schedule.run("true")
    stamp = schedule.directory / "level-0.stamp"
    os.utime(stamp, (0, 0))
    ready = schedule.directory / "ready"
    words = schedule.words(f"echo >{ready}; sleep 60", "--missed", "* * * * *")
    killed = subprocess.Popen(words, start_new_session=True)
    while not ready.exists():
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert stamp.stat().st_mtime == 0
    again = schedule.directory / "again"
    schedule.run(f"echo >{again}", "--missed", "0 0 1 1 *")
    assert again.exists()
