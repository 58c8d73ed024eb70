# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of ``zrb``: all commands."""

from __future__ import annotations

from ..version import VERSION
from .options import Parser


def build_parser() -> Parser:
    """Return the parser of ``zrb``. The parsed arguments have ``run``, the function that runs the command."""
    from . import backup, cleanup, jobs, keys, restore, snapshot, validate, verify
    from . import list as list_

    parser = Parser(
        prog="zrb",
        description="Back up ZFS datasets to S3 or a directory, encrypted and signed, and restore them.",
        epilog="Exit codes: 0 success, 1 failure, 2 usage or configuration error, 3 locked by another run, "
        "4 success with warnings, 5 integrity or signature failure, 6 not found, 7 objects must be thawed first, "
        "130/143 stopped by a signal.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"zrb {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for family in (backup, list_, restore, verify, cleanup, snapshot, jobs, keys, validate):
        family.add_to(commands)
    return parser
