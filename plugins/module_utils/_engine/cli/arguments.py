# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parser of the command line: options that all commands share, and one parser a command."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UsageError

DEFAULT_CONFIG = Path("/etc/zrb/config.yaml")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are errors of the engine, so that ``--json`` holds for them too."""

    def error(self, message: str) -> NoReturn:
        """Raise :class:`UsageError`."""
        raise UsageError(
            f"{self.prog}: {message}",
            subject=self.prog,
            next_step=f"`{self.prog} --help` shows the options and an example",
        )


def add_command(
    commands: Any, name: str, run: Callable[..., int], *, summary: str, example: str, dry_run: bool
) -> argparse.ArgumentParser:
    """A parser for the command ``name`` with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    shared = parser.add_argument_group("options of every command")
    shared.add_argument("--config", metavar="FILE", default=str(DEFAULT_CONFIG), help="configuration (%(default)s)")
    shared.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    shared.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "json", "none"),
        default="auto",
        help="how progress is shown on stderr (%(default)s: a bar on a terminal, else lines)",
    )
    shared.add_argument("--job-id", metavar="ID", default="", help="name of this run in progress records and manifest")
    shared.add_argument("-v", "--verbose", action="store_true", help="more detail on stderr, tracebacks too")
    if dry_run:
        shared.add_argument("--dry-run", action="store_true", help="say what would happen, and change nothing")
    return parser


def add_tasks(parser: argparse.ArgumentParser, *, what: str) -> None:
    """``--task NAME``, as often as wanted."""
    parser.add_argument("--task", metavar="NAME", action="append", help=f"{what}; may be repeated")


def add_level(parser: argparse._ActionsContainer, *, what: str, required: bool = False) -> None:
    """``--level N``."""
    parser.add_argument("--level", metavar="N", type=int, choices=range(5), required=required, help=what)
