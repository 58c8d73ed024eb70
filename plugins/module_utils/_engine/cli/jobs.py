# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb jobs``, ``zrb attach`` and ``zrb cancel``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import Interrupted
from .options import add_command
from .output import put
from .session import Session
from .tables import human_size, show_table

if TYPE_CHECKING:
    from ..run.jobs import ListedJob

_JOBS_EXAMPLE = """\
  zrb jobs
  zrb jobs --json"""
_ATTACH_EXAMPLE = """\
  zrb attach 20260131T020000Z-5d41"""
_CANCEL_EXAMPLE = """\
  zrb cancel 20260131T020000Z-5d41"""


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    add_command(
        commands,
        "jobs",
        run_jobs,
        summary="list the jobs that --detach has started, those that run and those that have ended",
        example=_JOBS_EXAMPLE,
        dry_run=False,
    )
    for name, run, summary, example in (
        ("attach", run_attach, "show the progress of a job until it ends, then its result", _ATTACH_EXAMPLE),
        ("cancel", run_cancel, "stop a job cleanly, and wait until it has ended", _CANCEL_EXAMPLE),
    ):
        parser = add_command(commands, name, run, summary=summary, example=example, dry_run=False)
        parser.add_argument("id", metavar="ID", help="id of the job, as --detach and `zrb jobs` print it")


def run_jobs(session: Session) -> int:
    """Run ``jobs``."""
    from ..run.jobs import list_jobs

    jobs = list_jobs(session.base_dir)
    session.give({"exit_code": 0, "jobs": [job.as_json() for job in jobs]}, lambda: _show(jobs))
    return 0


def run_attach(session: Session) -> int:
    """Run ``attach``. The exit code is that of the job."""
    from ..report.progress_replay import open_replay
    from ..run.jobs import follow, job_result

    args, base_dir = session.args, session.base_dir
    try:
        with open_replay(args.progress, stream=sys.stderr, verbose=args.verbose) as replay:
            for line in follow(base_dir, args.id):
                replay.show(line)
    except Interrupted as error:
        raise Interrupted(
            error.signal_number,
            next_step=f"The job goes on: `zrb attach {args.id}` shows it again, `zrb cancel {args.id}` stops it",
        ) from None
    result = job_result(base_dir, args.id)
    with suppress(OSError):
        sys.stderr.write(result["messages"])
        sys.stderr.flush()
    session.give(result["document"], lambda: _put_text(result["text"]))
    return int(result["exit_code"])


def run_cancel(session: Session) -> int:
    """Run ``cancel``."""
    from ..run.jobs import cancel, look_at

    args, base_dir = session.args, session.base_dir
    cancelled = cancel(base_dir, args.id)
    job = look_at(base_dir, args.id)
    session.give(
        {"exit_code": 0, "cancelled": cancelled, "job": job.as_json()},
        lambda: put(f"{args.id} {'was stopped' if cancelled else 'had ended before'}{_with_code(job)}"),
    )
    return 0


def _put_text(text: str) -> None:
    for line in text.splitlines():
        put(line)


def _with_code(job: ListedJob) -> str:
    return " without a result" if job.exit_code is None else f", exit code {job.exit_code}"


def _show(jobs: list[ListedJob]) -> None:
    if not jobs:
        put("No jobs.")
        return
    show_table(
        ("JOB", "STATE", "EXIT", "STARTED", "PROGRESS", "COMMAND"),
        [
            (
                job.job_id,
                job.state,
                "-" if job.exit_code is None else str(job.exit_code),
                f"{job.started:%Y-%m-%d %H:%M:%S} UTC",
                _progress(job.latest),
                job.command,
            )
            for job in jobs
        ],
        right=("EXIT",),
        dispensable=("COMMAND", "STARTED"),
    )


def _progress(latest: dict[str, Any] | None) -> str:
    if latest is None:
        return "-"
    current, total = latest["current"], latest["total"]
    done = f"{100 * current // total} %" if total else human_size(current)
    return f"{latest['phase']} {done}"
