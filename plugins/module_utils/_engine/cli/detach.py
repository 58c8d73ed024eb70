# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``--detach``: the command runs on as a job."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .output import put
from .session import Session

if TYPE_CHECKING:
    from ..run.jobs import JobOutput


def detach(session: Session, argv: Sequence[str], carry_out: Callable[..., int]) -> int:
    """Start the command of ``session`` as a job and print its id. ``carry_out`` reports what a command raises. What is
    wrong with the configuration is said here, everything else by the job."""
    from ..run.jobs import start_job

    args = session.args
    if getattr(args, "dry_run", False):
        raise UsageError("--detach and --dry-run cannot be used together", next_step="Use one of them")

    def work(output: JobOutput) -> tuple[int, Any]:
        in_job = Session(Namespace(**{**vars(args), "json": True, "job_id": output.job_id}), output)
        code = carry_out(lambda: args.run(in_job), as_json=True, verbose=args.verbose)
        return code, json.loads(output.out.getvalue())

    job_id = start_job(session.base_dir, work, command=shlex.join(["zrb", *argv]), job_id=args.job_id)
    session.give({"exit_code": 0, "job_id": job_id}, lambda: put(job_id))
    return 0
