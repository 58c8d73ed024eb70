# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of ``zrb``: all commands."""

from __future__ import annotations

from ..version import VERSION
from .arguments import Parser


def build_parser() -> Parser:
    """The parser of ``zrb``; the parsed arguments have ``run``, which carries the command out."""
    from . import backup, keys, listing, restore, snapshot, validate, verify

    parser = Parser(
        prog="zrb",
        description="Encrypted, signed backups of ZFS datasets to S3 or a directory, and the way back.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage or config, 3 locked by another run, 4 done with warnings, "
        "5 integrity or signature failure, 6 not found, 7 waiting for objects to be thawed, "
        "130/143 stopped by a signal.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zrb {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for family in (backup, listing, restore, verify, snapshot, keys, validate):
        family.add_to(commands)
    return parser
