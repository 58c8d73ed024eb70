# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb restore``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .options import add_command, add_detach, add_level, add_tasks
from .output import put
from .session import Session
from .tables import human_size, show_table
from .verify import add_keys

if TYPE_CHECKING:
    from ..values.config import Config

_EXAMPLE = """\
  zrb restore --dataset tank/data --target tank/restored --private-key /media/usb/zrb-age.key
  zrb restore --task example_task --target tank/restored --at 2026-01-31T00:00Z --dry-run
  zrb restore --dataset tank/data --target tank/restored --private-key /media/usb/zrb-age.key --continue"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "restore",
        run,
        summary="restore a dataset, with the whole chain up to the chosen backup, into a new dataset",
        example=_EXAMPLE,
        dry_run=True,
    )
    add_detach(parser)
    parser.add_argument(
        "--target", metavar="POOL/NEW", required=True, help="dataset to create; it must not exist, but for --continue"
    )
    add_tasks(parser, what="restore the dataset of this task")
    parser.add_argument(
        "--dataset", metavar="POOL/NAME", help="restore the dataset that had this name when it was backed up"
    )
    parser.add_argument("--host", metavar="NAME", help="machine that made the backup (default: this one)")
    choice = parser.add_mutually_exclusive_group()
    add_level(choice, what="restore the newest backup of this level (default: of any level)")
    choice.add_argument("--backup-id", metavar="ID", help="restore this backup")
    choice.add_argument(
        "--at",
        metavar="TIME",
        type=_time,
        help="restore the newest backup of a snapshot taken at or before this time (ISO 8601)",
    )
    parser.add_argument(
        "--only", action="store_true", help="restore this backup alone, into a target that has its base"
    )
    parser.add_argument(
        "--continue",
        dest="continues",
        action="store_true",
        help="go on if the target holds the first backups already; what is there is not downloaded again",
    )
    parser.add_argument(
        "--allow-unsigned",
        action="store_true",
        help="accept manifests without a trusted signature: who can write to the repository decides what is restored",
    )
    add_keys(parser)


def run(session: Session) -> int:
    """Run the command."""
    from ..config.key_files import read_identities
    from ..run.restore import RestoreSelection, plan_restore, restore

    args = session.args
    identities = [identity for path in args.private_key for identity in read_identities(path)]
    if not identities and not args.dry_run:
        raise UsageError(
            "A restore needs the private age key",
            next_step="Give its file with --private-key, or use --dry-run to see the plan without it",
        )
    with session.open_context(writes=False) as context:
        selection = RestoreSelection(
            dataset=_dataset(session, context.config),
            target=args.target,
            host=args.host,
            level=args.level,
            backup_id=args.backup_id,
            at=args.at,
            only=args.only,
            continues=args.continues,
        )
        trusted = (*args.trusted_signer, *context.trusted_signers())
        if args.dry_run:
            plan = plan_restore(context, selection, trusted=trusted, allow_unsigned=args.allow_unsigned).as_json()
        else:
            result = restore(
                context, selection, identities=identities, trusted=trusted, allow_unsigned=args.allow_unsigned
            ).as_json()
    document = plan if args.dry_run else result
    code = 4 if document["warnings"] else 0
    session.give({"exit_code": code} | document, lambda: (_show_plan if args.dry_run else _show_result)(document))
    for warning in document["warnings"]:
        session.warn(warning)
    return code


def _dataset(session: Session, config: Config) -> str:
    args = session.args
    if args.dataset and args.task:
        raise UsageError("--dataset and --task cannot be used together", next_step="Use one of them")
    if args.dataset:
        return str(args.dataset)
    tasks = session.find_tasks(config)
    if len(tasks) != 1:
        names = ", ".join(task.name for task in tasks) or "none"
        raise UsageError(
            f"A restore needs exactly one dataset, but {len(tasks)} tasks match ({names})",
            next_step="Select one with --task NAME or --dataset POOL/NAME",
        )
    return tasks[0].dataset_name


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _state(link: dict[str, Any]) -> str:
    if link["present"]:
        return "received already"
    if link["readable"] and link["fetched_bytes"] < link["stored_bytes"]:
        return f"yes, {human_size(link['fetched_bytes'])} are missing"
    return "yes" if link["readable"] else "archived: thaw first"


def _show_plan(plan: dict[str, Any]) -> None:
    if plan["done"]:
        put(f"{plan['dataset']} is already restored into {plan['target']}: nothing to do")
        return
    put(f"{plan['dataset']} would be restored into {plan['target']} from {len(plan['links'])} backup(s):")
    show_table(
        ("BACKUP", "LEVEL", "SNAPSHOT", "STREAM", "STORED", "PARTS", "CLASS", "READABLE"),
        [
            (
                link["backup_id"],
                str(link["level"]),
                link["snapshot"],
                human_size(link["stream_bytes"]),
                human_size(link["stored_bytes"]),
                str(link["parts"]),
                link["storage_class"],
                _state(link),
            )
            for link in plan["links"]
        ],
        right=("LEVEL", "STREAM", "STORED", "PARTS"),
        dispensable=("PARTS", "LEVEL", "CLASS", "STREAM", "SNAPSHOT"),
    )
    put(f"to download: {human_size(plan['stored_bytes'])}; to receive: {human_size(plan['stream_bytes'])}")


def _show_result(result: dict[str, Any]) -> None:
    if not result["changed"]:
        put(f"already restored: {result['snapshot']}")
        return
    put(f"restored {result['snapshot']} into {result['target']}")
    put(
        f"  {human_size(result['stream_bytes'])} in {len(result['links'])} backup(s) "
        f"in {result['duration_s']:.0f} s; it is not mounted and not shared, so nothing of the machine has changed"
    )
