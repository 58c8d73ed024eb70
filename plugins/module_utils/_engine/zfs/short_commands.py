# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs short ``zfs`` and ``zpool`` commands, and turns their failures into typed errors."""

from __future__ import annotations

from typing import Final, Literal

from ..errors import EngineError, ZfsError, ZfsMissing
from .child_processes import Ended, TimedOut, run
from .zfs_errors import missing_object, quoted, says_gone, zfs_failure

Program = Literal["zfs", "zpool"]

DEFAULT_TIMEOUT_S: Final = 900.0
"""A command that only changes metadata ends in seconds. One that takes this long waits for a lost disk."""

Row = tuple[str, ...]


class ShortCommands:
    """The programs ``zfs`` and ``zpool`` of this machine, as found on PATH."""

    def __init__(self, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s

    def ask(self, program: Program, *arguments: str) -> Ended:
        """Run a command and return how it ended, with any status. Raises ``ZfsMissing`` or ``ZfsError`` if it cannot
        start or does not end."""
        try:
            return run([program, *arguments], timeout_s=self._timeout_s)
        except OSError as failure:
            raise ZfsMissing(
                f"The command {program!r} cannot be run",
                subject=program,
                answer=str(failure),
                next_step="Install ZFS (on Debian: zfsutils-linux, or zfs-fuse if no kernel module can be loaded)",
            ) from failure
        except TimedOut as late:
            raise ZfsError(
                f"`{' '.join([program, *arguments])}` did not end within {self._timeout_s:g} seconds and was killed",
                subject=program,
                next_step="Check `zpool status`: commands hang if a pool has lost its disks",
            ) from late

    def run(self, program: Program, *arguments: str, problem: str, subject: str) -> str:
        """Run a command that must succeed, and return its stdout. ``problem`` says what was tried, ``subject`` on
        which object. Raises typed errors."""
        ended = self.ask(program, *arguments)
        if ended.status == 0:
            return ended.stdout
        raise self.failure(ended, problem=problem, subject=subject)

    def failure(self, ended: Ended, *, problem: str, subject: str) -> EngineError:
        """The typed error for a command that ended with a status other than 0."""
        if says_gone(ended.stderr):
            return missing_object(subject, problem, answer=quoted(ended.stderr), pool_exists=self.pool_exists)
        return zfs_failure(ended, problem=problem, subject=subject)

    def rows(self, *arguments: str, problem: str, subject: str) -> list[Row]:
        """The output of a ``zfs`` command that prints tab-separated rows (``-H``) of the columns after ``-o``.

        Raises ``ZfsError`` if it prints anything else, such as a warning, rather than guess what it means.
        """
        output = self.run("zfs", *arguments, problem=problem, subject=subject)
        columns = arguments[arguments.index("-o") + 1].count(",") + 1
        rows = [tuple(line.split("\t", columns - 1)) for line in output.split("\n") if line]
        for row in rows:
            if len(row) != columns:
                raise not_understood("\t".join(row), problem=problem, subject=subject)
        return rows

    def pool_exists(self, name: str) -> bool:
        """Whether a pool of this name is imported."""
        return self.ask("zpool", "list", "-H", "-o", "name", name).status == 0


def not_understood(printed: str, *, problem: str, subject: str) -> ZfsError:
    """The error for a command that succeeded, but did not print an answer."""
    return ZfsError(
        f"{problem}: zfs printed something that is not an answer",
        subject=subject,
        answer=quoted(printed),
        next_step="Run the command by hand, and look for a warning in its output",
    )
