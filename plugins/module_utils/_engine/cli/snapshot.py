# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb snapshot``."""

from __future__ import annotations

from typing import Any

from .options import add_command, add_level, add_tasks
from .output import put
from .session import Session

_EXAMPLE = """\
  zrb snapshot --level 1 --task example_task"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
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
