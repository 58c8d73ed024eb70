# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cron starts: one scheduled run of ``zrb``, by any Python 3.

It adds to cron what systemd does by itself. A run starts a fixed while after its time. It waits for other scheduled
runs of this host, and is dropped if the one before it has not ended yet. What it says goes into the log, and to cron,
which mails it, only if it has failed. Called with ``--missed CRON`` at boot, it runs only if one has been missed: the
time of a stamp is when the last run that came to an end began.

``check CRON...`` finds mistakes in times, and prints them.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
NAMES = {
    "month": ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    "day of the week": ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
QUIET = {0, 3, 4}
"""Done; left to another run, which is at work on the dataset; done with warnings."""


class CronTime:
    """A time of crontab(5), such as ``0 2 * * 1-6``. Raises :class:`ValueError` for what cron would not take."""

    def __init__(self, text: str) -> None:
        fields = text.lower().split()
        if len(fields) != len(FIELDS):
            raise ValueError(f"{text!r} has {len(fields)} fields; minute, hour, day, month and weekday are needed")
        values = [_values(field, *kind) for field, kind in zip(fields, FIELDS)]  # noqa: B905 - Python 3.9 has no strict
        self._minutes, self._hours, self._days, self._months, weekdays = values
        self._weekdays = {day % 7 for day in weekdays}
        # As in crontab(5): if both days are restricted, either of them suffices.
        self._either_day = not (fields[2].startswith("*") or fields[4].startswith("*"))

    def matches(self, moment: datetime) -> bool:
        """Whether a run is due at the minute of ``moment``."""
        if not (moment.minute in self._minutes and moment.hour in self._hours and moment.month in self._months):
            return False
        days = (moment.day in self._days, moment.isoweekday() % 7 in self._weekdays)
        return any(days) if self._either_day else all(days)

    def was_due(self, *, after: datetime, until: datetime) -> bool:
        """Whether a run was due after the minute of ``after``, and not later than at ``until``, of 400 days at most."""
        moment = until.replace(second=0, microsecond=0)
        last = max(after.replace(second=0, microsecond=0), moment - timedelta(days=400))
        while moment > last:
            if self.matches(moment):
                return True
            moment -= timedelta(minutes=1)
        return False


def _values(field: str, what: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        split = re.fullmatch(r"(\*|\w+(?:-\w+)?)(?:/([1-9][0-9]*))?", part, re.ASCII)
        if split is None or (split[2] and split[1] != "*" and "-" not in split[1]):
            raise ValueError(f"{part!r} is no {what}")
        span = f"{least}-{most}" if split[1] == "*" else split[1]
        first, _dash, last = span.partition("-")
        low = _number(first, what)
        high = _number(last, what) if last else low
        if not least <= low <= high <= most:
            raise ValueError(f"{part!r} is no {what} from {least} to {most}")
        found.update(range(low, high + 1, int(split[2] or 1)))
    return found


def _number(word: str, what: str) -> int:
    names = NAMES.get(what, [])
    if word in names:
        return names.index(word) + (what == "month")
    if not word.isdigit():
        raise ValueError(f"{word!r} is no {what}")
    return int(word)


def check(times: list[str]) -> int:
    """Print the mistakes in ``times``."""
    mistakes = 0
    for text in times:
        try:
            CronTime(text)
        except ValueError as error:
            mistakes += 1
            sys.stdout.write(f"{text!r}: {error}\n")
    return 1 if mistakes else 0


def run(options: argparse.Namespace) -> int:
    """One run, unless none is needed."""
    directory = Path(options.directory)
    stamp = directory / f"{options.name}.stamp"
    began = time.time()
    log, words = Path(options.log), " ".join(options.command)
    if options.missed:
        known = stamp if stamp.exists() else Path(__file__)
        after = datetime.fromtimestamp(known.stat().st_mtime)  # noqa: DTZ006 - cron has local time too
        until = datetime.fromtimestamp(began)  # noqa: DTZ006
        if not CronTime(options.missed).was_due(after=after, until=until):
            return 0
    with (directory / f"{options.name}.lock").open("a") as own, (directory / "lock").open("a") as all_runs:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        time.sleep(options.delay)
        fcntl.flock(all_runs, fcntl.LOCK_EX)
        _log(log, f"{words}: begun\n")  # and nothing more if the host goes down
        status, output = _output_of(options.command)
        stamp.touch()
        os.utime(stamp, (began, began))
    _log(log, f"{words}: exit code {status}\n{output}")
    if status in QUIET:
        return 0
    sys.stdout.write(f"{socket.gethostname()}: exit code {status} of {words}\n{output}")
    return status


def _output_of(command: list[str]) -> tuple[int, str]:
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        return 127, f"{error}\n"
    return ended.returncode, ended.stdout.decode(errors="backslashreplace")


def _log(path: Path, text: str) -> None:
    """Append all at once, so that a rotation has whole outputs before it or behind it."""
    stamped = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}"
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor = os.open(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        with os.fdopen(descriptor, "w") as log:
            log.write(stamped)
    except OSError as error:
        sys.stdout.write(f"The log {path} could not be written: {error}\n")


def main() -> int:
    """Parse the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    checking = actions.add_parser("check")
    checking.add_argument("times", nargs="*")
    running = actions.add_parser("run")
    running.add_argument("--name", required=True)
    running.add_argument("--directory", required=True, help="for stamps and locks")
    running.add_argument("--log", required=True)
    running.add_argument("--delay", type=float, default=0, help="seconds to wait before the start")
    running.add_argument("--missed", metavar="CRON", help="run only if a run at such a time has been missed")
    running.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if options.action == "check":
        return check(options.times)
    options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
