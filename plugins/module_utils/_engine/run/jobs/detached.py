# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs a command in a process and a session of its own, away from the terminal and the connection."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from ...errors import Interrupted
from ...report.logs import redact, redacted
from ...report.progress_lines import open_progress
from ...state.jobs import OwnJob, create_job
from ...values.progress import Progress

RECORD_INTERVAL_S = 5.0
"""At most one progress record in this time, so that those of a run of weeks fit on a system disk."""


@dataclass(frozen=True, slots=True)
class JobOutput:
    """Where a job puts what it would show."""

    job_id: str
    records: TextIO
    """Progress records."""
    text: StringIO = field(default_factory=StringIO)
    """What it would print for people on stdout."""
    out: StringIO = field(default_factory=StringIO)
    """The document that it would print on stdout with ``--json``."""
    messages: StringIO = field(default_factory=StringIO)
    """What it would print on stderr."""

    def open_progress(self) -> AbstractContextManager[Progress]:
        """A context manager that provides the :class:`Progress` of the job."""
        return open_progress("json", stream=self.records, job_id=self.job_id, interval_s=RECORD_INTERVAL_S)


def start_job(base_dir: Path, work: Callable[[JobOutput], tuple[int, Any]], *, command: str, job_id: str = "") -> str:
    """Call ``work`` as a job, in a process that is forked from this one, and return the id of the job at once. ``work``
    returns the exit code and a document for machines; ``command`` says what it does.

    A fork, and not a new call: what the caller was given in its environment or by its standard input reaches the job
    in memory, and is in no file and on no command line. Only for processes that have one thread.

    Raises ``LocalStateError``, ``UsageError``.
    """
    own = create_job(base_dir, command=_one_line(redact(command)), job_id=job_id)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        process = os.fork()
    except OSError:
        own.discard()
        raise
    if process == 0:
        _be_the_job(own, work)
    os.close(own.lock)
    return own.job.record.job_id


def _be_the_job(own: OwnJob, work: Callable[[JobOutput], tuple[int, Any]]) -> None:
    code = 1
    try:
        os.setsid()
        _leave_everything_but(own.lock)
        output = JobOutput(own.job.record.job_id, own.begin())
        sys.stdout, sys.stderr = output.out, output.messages
        signal.signal(signal.SIGTERM, _stop)
        code, document = work(output)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it has ended, and says so now
        result = {
            "exit_code": code,
            "document": document,
            "text": output.text.getvalue(),
            "messages": output.messages.getvalue(),
        }
        own.end(code, redacted(result))
    finally:
        os._exit(code)


def _stop(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(number, next_step="Run the same command again: a backup resumes where it stopped")


def _leave_everything_but(kept: int) -> None:
    """Close what was inherited: a pipe would keep its reader waiting, and the lock of a script would stay taken."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor > 2 and descriptor != kept:
            with suppress(OSError):  # that of the listing
                os.close(descriptor)


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)[:1000]
