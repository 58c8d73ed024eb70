# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command line whose answers are written down."""

from __future__ import annotations

from zrb.zfs.child_processes import Ended
from zrb.zfs.short_commands import Program, ShortCommands

from tests.unit.zfs import usage_texts

OK = Ended(0, "", "")


def said(stdout: str) -> Ended:
    """A command that succeeded."""
    return Ended(0, stdout, "")


def failed(stderr: str, status: int = 1) -> Ended:
    """A command that failed."""
    return Ended(status, "", stderr)


OPENZFS = {"zfs version": said("zfs-2.3.2-2\nzfs-kmod-2.3.2-2\n")}
ZFS_FUSE = {
    "zfs version": failed(f"unrecognized command 'version'\n{usage_texts.ZFS_FUSE}", 2),
    "zpool upgrade -v": said("This system is currently running ZFS pool version 23.\n\nThe following …\n"),
}


class ScriptedLine(ShortCommands):
    """Answers each command as written, and keeps what was asked. A command that is not written down is an error."""

    def __init__(self, answers: dict[str, Ended]) -> None:
        super().__init__()
        self.answers = answers
        self.asked: list[str] = []

    def ask(self, program: Program, *arguments: str) -> Ended:
        command = " ".join([program, *arguments])
        self.asked.append(command)
        if command not in self.answers:
            raise AssertionError(f"not in the script: {command}")
        return self.answers[command]
