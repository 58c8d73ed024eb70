# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb cleanup``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import add_command, add_tasks
from .output import put, show_failures
from .session import Session
from .tables import human_size, printable, show_table

if TYPE_CHECKING:
    from ..run.cleanup import CleanupPlan

_EXAMPLE = """\
  zrb cleanup --dry-run                   show what stays, what goes, and why
  zrb cleanup --max-removals 120          after a look at the plan"""
_REASON_WIDTH = 38
"""With an id and a size beside it, a line has 80 columns."""
_UNFINISHED = {"remove": "unfinished: removed", "keep": "unfinished: a run may go on with it"}
_OBSTACLES = {"object_lock": "Object Lock", "minimum_duration": "charged until then"}


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "cleanup",
        run,
        summary="remove the backups that no rule of `retention` keeps",
        example=_EXAMPLE,
        dry_run=True,
    )
    add_tasks(parser, what="only backups of this task's datasets")
    parser.add_argument("--host", metavar="NAME", help="machine that made the backups (default: this one; `*`: all)")
    parser.add_argument(
        "--max-removals",
        metavar="N",
        type=int,
        help="remove up to N backups (default: 50, and no more than 30%% of those of a dataset)",
    )
    parser.add_argument(
        "--pay-early-deletion",
        action="store_true",
        help="also remove what its storage class is charged for some time longer",
    )


def run(session: Session) -> int:
    """Run the command."""
    from ..run.cleanup import clean_up, plan_cleanup

    args = session.args
    with session.open_context(writes=False) as context:
        tasks = session.find_tasks(context.config) if args.task else ()
        if args.dry_run:
            plan = plan_cleanup(context, tasks=tasks, host=args.host, pay_early_deletion=args.pay_early_deletion)
            session.give({"exit_code": plan.exit_code, "plan": plan.as_json()}, lambda: _show(plan))
            if plan.unconfirmed is not None:
                session.warn(plan.unconfirmed.explain())
            for warning in plan.warnings:
                session.warn(warning)
            _show_refused(plan.as_json()["refused"])
            return plan.exit_code
        outcome = clean_up(
            context,
            tasks=tasks,
            host=args.host,
            pay_early_deletion=args.pay_early_deletion,
            max_removals=args.max_removals,
        )
    document = outcome.as_json()

    def show() -> None:
        _show(outcome.plan)
        put(f"Removed {len(outcome.removed)} backup(s), {outcome.objects} object(s).")

    session.give({"exit_code": outcome.exit_code} | document, show)
    for warning in outcome.warnings:
        session.warn(warning)
    _show_refused([*document["plan"]["refused"], *document["failures"]])
    return outcome.exit_code


def _show(plan: CleanupPlan) -> None:
    document = plan.as_json()
    for one in document["series"]:
        put(printable(f"{one['host']}:{one['dataset']} (retention: {one['policy']})"))
        show_table(
            ("BACKUP", "STORED", "WHAT BECOMES OF IT"),
            [(backup["backup_id"], human_size(backup["bytes"]), _reason(backup)) for backup in one["backups"]],
            right=("STORED",),
        )
    if document["unfinished"]:
        put("Without a manifest, so no backups:")
        show_table(
            ("BACKUP", "STORED", "WHAT BECOMES OF IT"),
            [(one["backup_id"], human_size(one["bytes"]), _UNFINISHED[one["fate"]]) for one in document["unfinished"]],
            right=("STORED",),
        )
    if plan.ended_uploads:
        sizes = [one.upload.bytes for one in plan.ended_uploads]
        size = "of unknown size" if None in sizes else human_size(sum(filter(None, sizes)))
        put(f"Unfinished uploads, and removed: {len(sizes)}, {size}.")
    if document["remains"]:
        put(f"Left of earlier cleanups, and removed: {document['remains']} backup(s).")
    names = {"keep": "stay", "later": "go later", "remove": "go now"}
    saved = {"keep": "", "later": " saved then", "remove": " saved"}
    for fate, sums in document["totals"].items():
        price = "price unknown" if sums["month_price"] is None else f"{sums['month_price']:.2f} a month{saved[fate]}"
        fee = ""
        if fate != "keep" and sums["early_fee"] != 0:
            known = "an unknown fee" if sums["early_fee"] is None else f"up to {sums['early_fee']:.2f}"
            fee = f", {known} for early deletion now"
        put(f"{sums['backups']} backup(s) {names[fate]}: {human_size(sums['bytes'])}, {price}{fee}")


def _reason(backup: dict[str, Any]) -> str:
    if backup["fate"] == "remove":
        return "removed"
    if backup["fate"] == "later":
        why = _OBSTACLES.get(backup["obstacle"], "needed until then")
        return f"removed from {backup['until'][:10]}: {why}"
    if not backup["rules"]:
        return f"needed by {backup['needed_by']}"
    names = [name.removeprefix("keep_").replace("_", " ") for name in backup["rules"]]
    told = "kept: " + ", ".join(names)
    dropped = 0
    while len(told) > _REASON_WIDTH:
        dropped += 1
        told = "kept: " + ", ".join([*names[:-dropped], f"{dropped} more"])
    return told


def _show_refused(refused: list[dict[str, Any]]) -> None:
    show_failures([one | {"dataset": f"nothing removed of {one['host']}:{one['dataset']}"} for one in refused])
