# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb backup``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..errors import explained
from .options import add_command, add_detach, add_level, add_tasks
from .output import put, show_failures
from .session import Session
from .tables import human_size, show_table

if TYPE_CHECKING:
    from ..run.context import Context
    from ..values.config import Task

_EXAMPLE = """\
  zrb backup --level 0 --task example_task
  zrb backup --level 1 --dry-run          show what would be sent, from which base, to which repository"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "backup",
        run,
        summary="back up the datasets of tasks: snapshot, send, encrypt, upload, commit",
        example=_EXAMPLE,
        dry_run=True,
    )
    add_detach(parser)
    add_tasks(parser, what="back up this task (default: all enabled tasks)")
    add_level(parser, what="0: full; N: incremental from the newest backup of level N-1", required=True)
    parser.add_argument(
        "--strict-level",
        action="store_true",
        help="fail if the base for this level is missing, instead of making a backup of a lower level",
    )


def run(session: Session) -> int:
    """Run the command."""
    with session.open_context(writes=True) as context:
        tasks = session.find_tasks(context.config)
        if session.args.dry_run:
            return _plan(session, context, tasks)
        results: list[dict[str, Any]] = []
        failures: list[dict[str, Any]] = []
        codes: list[int] = []
        for task in tasks:
            codes.append(_back_up(session, context, task, results, failures))
    code = combined_exit_code(codes)
    session.give(
        {"exit_code": code, "results": results, "failures": failures}, lambda: _show_results(results, failures)
    )
    return code


def combined_exit_code(codes: Iterable[int]) -> int:
    """Return one exit code for several tasks: the code that all failures share, 1 if they differ, 4 if there were only
    warnings."""
    failed = {code for code in codes if code not in {0, 4}}
    if len(failed) > 1:
        return 1
    return failed.pop() if failed else max(codes, default=0)


def _back_up(
    session: Session,
    context: Context,
    task: Task,
    results: list[dict[str, Any]],
    failures: list[dict[str, Any]],
) -> int:
    from ..run.backup import back_up

    args = session.args
    try:
        outcome = back_up(
            context,
            task=task,
            level=args.level,
            strict_level=args.strict_level,
            job={"id": args.job_id} if args.job_id else None,
        )
    except Exception as exception:  # noqa: BLE001 - a failing task must not block the others
        error = explained(exception)
        failures.append({"task": task.name, "dataset": task.dataset_name} | error.facts())
        return error.exit_code
    results += [result.as_json() for result in outcome.results]
    failures += [{"task": task.name, "dataset": dataset} | error.facts() for dataset, error in outcome.failures]
    return outcome.exit_code


def _plan(session: Session, context: Context, tasks: list[Task]) -> int:
    from ..run.backup import plan_backup

    plans = [
        plan.as_json()
        for task in tasks
        for plan in plan_backup(context, task=task, level=session.args.level, strict_level=session.args.strict_level)
    ]
    code = 4 if any(plan["warnings"] for plan in plans) else 0
    session.give({"exit_code": code, "plans": plans}, lambda: _show_plans(plans))
    for plan in plans:
        for warning in plan["warnings"]:
            session.warn(f"{plan['dataset']}: {warning}")
    return code


def _show_plans(plans: list[dict[str, Any]]) -> None:
    show_table(
        ("DATASET", "LEVEL", "BASE", "SNAPSHOT", "FLAGS", "ESTIMATE", "PARTS", "PART SIZE", "CHUNK", "CLASS", "TO"),
        [
            (
                plan["dataset"],
                str(plan["level"]),
                plan["base"]["backup_id"] if plan["base"] else "-",
                (plan["snapshot"] or "-").rpartition("@")[2],
                " ".join(plan["flags"]) or "-",
                "unknown" if plan["estimated_bytes"] is None else human_size(plan["estimated_bytes"]),
                "unknown" if plan["parts"] is None else str(plan["parts"]),
                human_size(plan["part_size"]),
                human_size(plan["chunk_size"]),
                plan["storage_class"],
                plan["destination"],
            )
            for plan in plans
        ],
        right=("LEVEL", "ESTIMATE", "PARTS", "PART SIZE", "CHUNK"),
        dispensable=("CHUNK", "PART SIZE", "PARTS", "CLASS", "FLAGS", "TO", "SNAPSHOT", "BASE"),
    )
    for plan in plans:
        if plan["resumes"]:
            put(f"{plan['dataset']}: would resume {plan['resumes']}")


def _show_results(results: list[dict[str, Any]], failures: list[dict[str, Any]]) -> None:

    for result in results:
        resumed = f", {result['parts_resumed']} of them from an earlier run" if result["parts_resumed"] else ""
        put(f"{result['dataset']}: committed {result['backup_id']} (level {result['level']})")
        put(
            f"  {human_size(result['stream_bytes'])} of {result['snapshot']} stored as "
            f"{human_size(result['stored_bytes'])} in {result['parts']} part(s){resumed} "
            f"in {result['duration_s']:.0f} s at {result['location']}"
        )
        for warning in result["warnings"]:
            put(f"  warning: {warning}")
    show_failures(failures)
