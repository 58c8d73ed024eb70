# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuses every ``zfs`` and ``zpool`` command that names a pool which is not a test's own.

Run as a program it stands on PATH in the place of ``zfs`` and ``zpool`` (see zfs_fixtures): it checks the command
line, then becomes the real program. Only commands of the tables below pass; one that names no pool passes too,
unless it would then mean all pools.
"""

from __future__ import annotations

import getopt
import os
import re
import sys
from typing import NamedTuple

TEST_POOL_PREFIX = "zrbtest"
REFUSED_STATUS = 99


class Syntax(NamedTuple):
    """Options in getopt's form; which operands are names; options whose values are names too."""

    options: str
    names: slice = slice(None)
    names_in: str = ""
    needs_name: bool = False
    """Without a name, this command would mean all pools."""


_FIRST = slice(1)
_LAST = slice(-1, None)
_AFTER_FIRST = slice(1, None)
SYNTAX: dict[str, dict[str, Syntax]] = {
    "zfs": {
        "": Syntax(""),
        "allow": Syntax("ldugecs:", _LAST),
        "bookmark": Syntax(""),
        "change-key": Syntax("lio:"),
        "clone": Syntax("po:"),
        "create": Syntax("Ppnuvsb:o:V:"),
        "destroy": Syntax("fnpRrvd"),
        "diff": Syntax("FHt"),
        "get": Syntax("rHpd:o:t:s:", _AFTER_FIRST),
        "hold": Syntax("r", _AFTER_FIRST),
        "holds": Syntax("rHp"),
        "inherit": Syntax("rS", _AFTER_FIRST),
        "list": Syntax("rHpd:o:t:s:S:"),
        "load-key": Syntax("rnL:", needs_name=True),
        "mount": Syntax("flvOo:", needs_name=True),
        "promote": Syntax(""),
        "receive": Syntax("vMnsFhuAo:x:"),
        "release": Syntax("r", _AFTER_FIRST),
        "rename": Syntax("fpru"),
        "rollback": Syntax("rRf"),
        "send": Syntax("DnPpRvVLecwhbi:I:", names_in="iI"),
        "set": Syntax(""),
        "snapshot": Syntax("ro:"),
        "unallow": Syntax("rldugecs:", _LAST),
        "unload-key": Syntax("r", needs_name=True),
        "unmount": Syntax("fu", needs_name=True),
        "upgrade": Syntax("v"),
        "version": Syntax("j"),
    },
    "zpool": {
        "get": Syntax("Hpo:", _AFTER_FIRST),
        "list": Syntax("HgLpPvo:T:"),
        "": Syntax(""),
        "clear": Syntax("Fn", _FIRST),
        "create": Syntax("fndo:O:m:R:t:", _FIRST),
        "destroy": Syntax("f"),
        "export": Syntax("f", needs_name=True),
        "import": Syntax("fNo:R:d:c:", _FIRST, needs_name=True),
        "offline": Syntax("ft", _FIRST),
        "online": Syntax("e", _FIRST),
        "scrub": Syntax("psw", needs_name=True),
        "set": Syntax("", _AFTER_FIRST),
        "status": Syntax("cDgiLpPstvxT:"),
        "sync": Syntax("", needs_name=True),
        "upgrade": Syntax("v"),
        "version": Syntax("j"),
    },
}


def refusal(program: str, arguments: list[str]) -> str | None:
    """Why this command must not run, or ``None`` where it may."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    syntax = SYNTAX[program].get(command)
    if syntax is None:
        return f"the command {command!r} is not one that tests use"
    try:
        options, operands = getopt.gnu_getopt(rest, syntax.options)
    except getopt.GetoptError as fault:
        return str(fault)
    names = operands[syntax.names]
    if (program, command) == ("zfs", "set"):
        names = [operand for operand in operands if "=" not in operand]
    if (program, command) == ("zpool", "create") and any(operand.startswith("/dev") for operand in operands):
        return "a test pool is made of files, never of devices"
    names += [value for option, value in options if option[1:] in syntax.names_in and not value.startswith(("@", "#"))]
    if syntax.needs_name and not names and rest:
        return "it would mean all pools"
    foreign = [name for name in names if not is_test_pool(name)]
    return f"{foreign[0]!r} is in no test pool: their names begin with {TEST_POOL_PREFIX}" if foreign else None


def is_test_pool(name: str) -> bool:
    """Whether a pool, dataset, snapshot or bookmark is in a pool that a test made."""
    pool = re.split(r"[/@#]", name, maxsplit=1)[0]
    return pool.startswith(TEST_POOL_PREFIX)


def main() -> None:
    """``pool_guard.py PROGRAM REAL_PATH ARGUMENT…``"""
    program, real_path, *arguments = sys.argv[1:]
    reason = refusal(program, arguments)
    if reason:
        sys.stderr.write(f"REFUSED by the tests' pool guard: {program} {' '.join(arguments)}: {reason}\n")
        sys.exit(REFUSED_STATUS)
    os.execv(real_path, [program, *arguments])


if __name__ == "__main__":
    main()
