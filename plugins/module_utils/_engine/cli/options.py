# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command-line parser: one parser per command, and the options that all commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UsageError

DEFAULT_CONFIG = Path("/etc/zrb/config.yaml")


class Parser(argparse.ArgumentParser):
    """A parser that raises errors of the engine, so that ``--json`` applies to them too."""

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
    """Add a parser for the command ``name`` with the options of every command."""
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
    shared.add_argument(
        "--config", metavar="FILE", default=str(DEFAULT_CONFIG), help="configuration file (default: %(default)s)"
    )
    shared.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    shared.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "json", "none"),
        default="auto",
        help="how to show progress on stderr (default: %(default)s, a bar on a terminal, otherwise lines)",
    )
    shared.add_argument(
        "--job-id", metavar="ID", default="", help="id of this run in progress records, logs and the manifest"
    )
    shared.add_argument("-v", "--verbose", action="store_true", help="show more detail and tracebacks on stderr")
    if dry_run:
        shared.add_argument("--dry-run", action="store_true", help="show what would happen without changing anything")
    return parser


def add_tasks(parser: argparse.ArgumentParser, *, what: str) -> None:
    """Add ``--task NAME``, which may be repeated."""
    parser.add_argument("--task", metavar="NAME", action="append", help=f"{what}; may be repeated")


def add_level(parser: argparse._ActionsContainer, *, what: str, required: bool = False) -> None:
    """Add ``--level N``."""
    parser.add_argument("--level", metavar="N", type=int, choices=range(5), required=required, help=what)


def add_detach(parser: argparse.ArgumentParser) -> None:
    """Add ``--detach``."""
    parser.add_argument(
        "--detach",
        action="store_true",
        help="run as a job that outlives this terminal or connection, and print its id: see `zrb attach`",
    )
