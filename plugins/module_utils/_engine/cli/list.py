# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb list``."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .options import add_command, add_level, add_tasks
from .output import printing, put
from .session import Session
from .tables import human_size, printable, show_table

if TYPE_CHECKING:
    from ..run.list import Listing

_EXAMPLE = """\
  zrb list --level 0
  zrb list --host nas2 --query 'entries[?stored_bytes > `1000000000`].backup_id'"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "list", run, summary="list the committed backups of the repository", example=_EXAMPLE, dry_run=False
    )
    add_tasks(parser, what="only backups of this task's datasets")
    add_level(parser, what="only backups of this level")
    parser.add_argument("--host", metavar="NAME", help="machine that made the backups (default: this one; `*`: all)")
    parser.add_argument("--source", choices=("s3", "local"), help="fail if the repository is of the other kind")
    parser.add_argument("--query", metavar="JMESPATH", help="select what to print of the JSON document; implies --json")


def run(session: Session) -> int:
    """Run the command."""

    with _without_collector():
        return _list(session)


@contextmanager
def _without_collector() -> Iterator[None]:
    """A list makes hundreds of thousands of values, and all stay: searching them for circles, again and again, would be
    a sixth of the work."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _list(session: Session) -> int:
    from ..config.tasks import check_source
    from ..run.list import list_backups

    args = session.args
    with session.open_context(writes=False) as context:
        check_source(context.config, args.source)
        tasks = session.find_tasks(context.config) if args.task else ()
        listing = list_backups(context, task=tasks, level=args.level, host=args.host, query=args.query)
    if args.query is not None:
        args.json = True
        session.give(listing.answer, lambda: None)
    else:
        with printing():
            (_put_document if args.json else _show)(listing)
    for problem in listing.problems:
        session.warn(printable(problem.explain()))
    return listing.exit_code


def _put_document(listing: Listing) -> None:
    """Print the document entry by entry, each on a line: there may be 100,000."""
    put(f'{{\n  "exit_code": {listing.exit_code},\n  "entries": [')
    last = len(listing.entries) - 1
    for number, entry in enumerate(listing.entries):
        put(f"    {json.dumps(entry.as_json(), ensure_ascii=False)}{',' if number < last else ''}")
    problems = [problem.facts() for problem in listing.problems]
    put(f'  ],\n  "problems": {json.dumps(problems, indent=2, ensure_ascii=False)}\n}}')


def _show(listing: Listing) -> None:
    entries = [entry.as_json() for entry in listing.entries]
    if not entries:
        put("No matching backups.")
        return
    hosts = {entry["host"] for entry in entries}
    show_table(
        ("BACKUP", "DATASET", "LEVEL", "BASE", "CREATED", "STREAM", "STORED", "PARTS", "CLASS", "READABLE"),
        [
            (
                entry["backup_id"],
                f"{entry['host']}:{entry['dataset']}" if len(hosts) > 1 else entry["dataset"],
                str(entry["level"]),
                entry["base"]["backup_id"] if entry["base"] else "-",
                entry["created"].replace("T", " ").replace("Z", " UTC"),
                human_size(entry["stream_bytes"]),
                human_size(entry["stored_bytes"]),
                str(entry["parts"]),
                entry["storage_class"],
                _readable(entry),
            )
            for entry in entries
        ],
        right=("LEVEL", "STREAM", "STORED", "PARTS"),
        dispensable=("PARTS", "LEVEL", "CREATED", "STREAM", "BASE", "CLASS"),  # level and time are in the id
    )


def _readable(entry: dict[str, Any]) -> str:
    if entry["missing_parts"]:
        return f"{entry['missing_parts']} part(s) missing"
    if not entry["signer"]:
        return "unsigned"
    if not entry["complete"]:
        return "incomplete"
    return "yes" if entry["readable"] else "archived"
