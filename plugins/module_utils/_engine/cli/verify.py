# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .options import add_command, add_detach, add_level, add_tasks
from .output import put, show_failures
from .session import Session
from .tables import human_size

_EXAMPLE = """\
  zrb verify --depth exists                                     cheap, works for archived objects too
  zrb verify --depth checksum --subset 3/7                      one seventh of all parts
  zrb verify --depth decrypt --private-key /media/usb/zrb-age.key --backup-id 20260131T020000Z-L0-5d41402a"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "verify",
        run,
        summary="prove that committed backups are complete, and show what was checked",
        example=_EXAMPLE,
        dry_run=False,
    )
    add_detach(parser)
    add_tasks(parser, what="only backups of this task's datasets")
    add_level(parser, what="only backups of this level")
    parser.add_argument("--backup-id", metavar="ID", help="only this backup and its chain of manifests")
    parser.add_argument("--host", metavar="NAME", help="machine that made the backups (default: this one)")
    parser.add_argument(
        "--depth",
        choices=("signature", "exists", "checksum", "decrypt"),
        default="exists",
        help="signature: check manifests and chains; exists: check that all parts are stored; checksum: read them; "
        "decrypt: decrypt them (default: %(default)s)",
    )
    parser.add_argument(
        "--subset", metavar="N/T", help="check share N of T of the parts; all shares together are all parts"
    )
    parser.add_argument(
        "--accept-losses",
        action="store_true",
        help="go on with what is there, if you know why backups, or the whole repository, were removed or exchanged",
    )
    add_keys(parser)


def add_keys(parser: Any) -> None:
    """Add ``--private-key`` and ``--trusted-signer``."""
    parser.add_argument(
        "--private-key", metavar="FILE", type=Path, action="append", default=[], help="age key file; may be repeated"
    )
    parser.add_argument(
        "--trusted-signer",
        metavar="KEY",
        action="append",
        default=[],
        help="also accept manifests signed by this public key (zrbsign1…); may be repeated",
    )


def run(session: Session) -> int:
    """Run the command."""
    from ..config.key_files import read_identities
    from ..run.verify import verify

    args = session.args
    identities = [identity for path in args.private_key for identity in read_identities(path)]
    with session.open_context(writes=False) as context:
        report = verify(
            context,
            depth=args.depth,
            task=session.find_tasks(context.config) if args.task else None,
            backup_id=args.backup_id,
            level=args.level,
            host=args.host,
            subset=args.subset,
            identities=identities,
            trusted=(*args.trusted_signer, *context.trusted_signers()),
            accept_losses=args.accept_losses,
        )
    session.give(report.as_json(), lambda: _show(session, report.as_json()))
    return report.exit_code


def _show(session: Session, report: dict[str, Any]) -> None:

    over = f"{len(report['backups'])} backup(s)"
    if report["depth"] != "signature":
        of = f" of {report['parts_total']}" if report["subset"] else ""
        over += f", {report['parts']}{of} part(s), {human_size(report['bytes'])}"
    subset = f", subset {report['subset']}" if report["subset"] else ""
    problems = len(report["problems"])
    put(f"depth {report['depth']}{subset} over {over}: {f'{problems} problem(s)' if problems else 'all is well'}")
    if report["not_compared"]:
        put(
            f"{report['not_compared']} part(s) have the right length, and the storage shows nothing more to compare: "
            "--depth checksum reads them"
        )
    for warning in report["warnings"]:
        session.warn(warning)
    show_failures(report["problems"])
