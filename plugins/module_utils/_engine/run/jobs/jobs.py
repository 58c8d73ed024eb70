# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at jobs, follows what they report, and stops them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ...errors import JobLost
from ...report.progress_replay import parse_record
from ...state.jobs import Job, find_job, find_jobs
from ...values.json_records import write_time

_TAIL_BYTES = 65_536
"""Many times the length of a record."""


@dataclass(frozen=True, slots=True)
class ListedJob:
    """How a job stands. ``lost`` are those whose process ended without a result. ``latest`` is the newest record that
    says how far it is."""

    job_id: str
    command: str
    started: datetime
    state: Literal["running", "ended", "lost"]
    pid: int
    exit_code: int | None
    latest: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """The job for machines."""
        return {
            "job_id": self.job_id,
            "command": self.command,
            "started": write_time(self.started),
            "state": self.state,
            "pid": self.pid,
            "exit_code": self.exit_code,
            "progress": self.latest,
        }


def list_jobs(base_dir: Path) -> list[ListedJob]:
    """All jobs, oldest first. Raises ``LocalStateError``."""
    return [_look(job) for job in find_jobs(base_dir)]


def look_at(base_dir: Path, job_id: str) -> ListedJob:
    """How one job stands. Raises ``NoSuchJob``, ``LocalStateError``."""
    return _look(find_job(base_dir, job_id))


def untold_job(base_dir: Path, *, begins: str, ended_within_s: float) -> ListedJob | None:
    """The job whose id ``begins`` so and which runs; or the newest one if it was lost, or has ended a short while ago,
    and nobody knows: see :func:`tell`.

    Raises ``LocalStateError``.
    """
    found = [job for job in find_jobs(base_dir) if job.record.job_id.startswith(begins)]
    for job in reversed(found):
        if job.running:
            return _look(job)
    if not found or found[-1].told:
        return None
    listed = _look(found[-1])
    return None if listed.state == "ended" and found[-1].ended_s_ago > ended_within_s else listed


def tell(base_dir: Path, job_id: str) -> None:
    """Note that somebody was given the result of a job. Raises ``NoSuchJob``, ``LocalStateError``."""
    find_job(base_dir, job_id).tell()


def follow(base_dir: Path, job_id: str, *, wait: Callable[[], None] = lambda: time.sleep(0.5)) -> Iterator[str]:
    """Yield the lines with progress records of a job, from its first to its last. Call ``wait`` when there is none yet.

    Raises ``NoSuchJob``, ``LocalStateError``.
    """
    job = find_job(base_dir, job_id)
    read, rest = 0, b""
    while True:
        running = job.running  # what is written after this is read the next time
        new = b""
        with suppress(FileNotFoundError), job.progress_path.open("rb") as file:
            file.seek(read)
            new = file.read(2**20)
        read += len(new)
        *lines, rest = (rest + new).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in lines)
        if new:
            continue
        if not running:
            return
        wait()


def wait_for(base_dir: Path, job_id: str, *, limit_s: float | None) -> bool:
    """Wait until a job has ended, and return whether it has within ``limit_s`` seconds.

    Raises ``NoSuchJob``, ``LocalStateError``.
    """
    job = find_job(base_dir, job_id)
    if limit_s is None:
        job.wait()
    until, pause_s = time.monotonic() + (limit_s or 0), 0.01
    while job.running:
        if time.monotonic() >= until:
            return False
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.5)
    return True


def job_result(base_dir: Path, job_id: str) -> dict[str, Any]:
    """What a job that has ended leaves: ``exit_code``, ``document`` (of ``--json``), ``text`` and ``messages`` (what it
    would have printed on stdout and stderr).

    Raises :class:`JobLost`, ``NoSuchJob``, ``LocalStateError``.
    """
    job = find_job(base_dir, job_id)
    result = job.result()
    if result is not None:
        return result
    code = job.exit_code
    if code is None:
        raise JobLost(
            f"The job {job_id} (`{job.record.command}`) ended without a result: it was killed, or the machine was "
            "restarted",
            subject=job_id,
            next_step="Run the same command again: a backup resumes where it stopped; "
            "the log of the dataset says how far it came",
        )
    told = f"The result of the job {job_id} could not be written, perhaps because the disk of base_dir was full"
    return {
        "exit_code": code,
        "document": {"exit_code": code, "warnings": [told]},
        "text": f"the job ended with exit code {code}\n",
        "messages": f"zrb: warning: {told}\n",
    }


def cancel(base_dir: Path, job_id: str) -> bool:
    """Stop a job as SIGTERM does, and wait until it has ended. Return whether it was running.

    Raises ``NoSuchJob``, ``LocalStateError``.
    """
    job = find_job(base_dir, job_id)
    told = job.terminate()
    job.wait()
    return told


def _look(job: Job) -> ListedJob:
    running = job.running
    code = None if running else job.exit_code
    result = job.result() if code is None and not running else None
    if result is not None:  # it was killed between its result and its exit code
        code = int(result["exit_code"])
    return ListedJob(
        job_id=job.record.job_id,
        command=job.record.command,
        started=job.record.started,
        state="running" if running else "lost" if code is None else "ended",
        pid=job.pid,
        exit_code=code,
        latest=_latest(job.progress_path),
    )


def _latest(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return None
    shown = ("operation", "phase", "current", "total", "message")
    for line in reversed(lines):
        record = parse_record(line)
        if record.get("type") == "progress":
            return {name: record.get(name) for name in shown}
    return None
