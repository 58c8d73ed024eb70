# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb snapshot`` and ``zrb snapshots``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import add_command, add_level, add_tasks
from .output import put
from .session import Session
from .tables import show_table

if TYPE_CHECKING:
    from ..run.snapshot import OurSnapshot

_EXAMPLE = """\
  zrb snapshot --level 1 --task example_task"""
_LIST_EXAMPLE = """\
  zrb snapshots
  zrb snapshots --task example_task --json"""


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    parser = add_command(
        commands,
        "snapshot",
        run,
        summary="take and hold the snapshot for a later backup (for tasks with take_snapshot: false)",
        example=_EXAMPLE,
        dry_run=True,
    )
    add_tasks(parser, what="snapshot the datasets of this task (default: all enabled tasks)")
    add_level(parser, what="level of the later backup", required=True)
    listing = add_command(
        commands,
        "snapshots",
        run_list,
        summary="list the snapshots on this machine that zrb took, and why each is there",
        example=_LIST_EXAMPLE,
        dry_run=False,
    )
    add_tasks(listing, what="those of the datasets of this task (default: of all enabled tasks)")


def run_list(session: Session) -> int:
    """Run ``snapshots``."""
    from ..run.snapshot import list_snapshots

    with session.open_context(writes=False) as context:
        found = list_snapshots(context, session.find_tasks(context.config))
    session.give({"exit_code": 0, "snapshots": [one.as_json() for one in found]}, lambda: _show_list(found))
    return 0


def _show_list(found: list[OurSnapshot]) -> None:
    from ..run.snapshot import SENTENCES

    if not found:
        put("zrb has taken no snapshots that are still there.")
        return
    show_table(("SNAPSHOT", "WHY IT IS THERE"), [(one.snapshot.name, SENTENCES[one.reason]) for one in found])


def run(session: Session) -> int:
    """Run the command."""
    from ..run.snapshot import plan_snapshot, take_snapshot

    level = session.args.level
    with session.open_context(writes=True) as context:
        tasks = session.find_tasks(context.config)
        if session.args.dry_run:
            names = [name for task in tasks for name in plan_snapshot(context, task=task, level=level)]
            session.give({"exit_code": 0, "would_take": names}, lambda: _show("would take", names))
            return 0
        taken = [take_snapshot(context, task=task, level=level) for task in tasks]
    session.give(
        {"exit_code": 0, "snapshots": [snapshot.as_json() for snapshot in taken]},
        lambda: _show("took and holds", [one.name for root in taken for one in (root, *root.descendants)]),
    )
    return 0


def _show(verb: str, names: list[str]) -> None:
    for name in names:
        put(f"{verb} {name}")
