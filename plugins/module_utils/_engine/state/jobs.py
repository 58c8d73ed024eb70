# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of a job, a command that runs on when whoever started it has gone: ``{base_dir}/jobs/{id}/`` (0700).

- ``lock`` is locked by the job as long as it lives. The kernel frees the lock however the process ends, so a job that
  was killed, or lost by a restart, is told from one that runs. The file holds the process id and, at the end, the exit
  code. Both have their place from the start, so that a full disk cannot keep them out.
- ``told`` is there once the caller of a module was given the result.
- ``job.json`` says what was started, and when. It is written last: a directory without it is no job yet.
- ``progress.jsonl`` has the records of ``--progress json``.
- ``result.json`` is written at the end, completely or not at all.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

from ..errors import LocalStateError, NoSuchJob, UsageError
from ..values.clock import utc_now
from ..values.field_types import Line, Time
from ..values.json_records import read_record, text, write_record
from ..values.strict_json import canonical_json, parse_object
from .durable_files import make_private, replace_durably
from .locks import alone_in

JOBS_KEPT = 50
"""So many ended jobs stay: some weeks of a few runs a night. A job that runs for a day writes some 4 MB of records."""

_JOB_ID = text("the id of a job: 1 to 64 letters, digits and _ . -", "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", most=64)
_PROGRESS = "progress.jsonl"
_NEVER_STARTED = 0
_RUNS_STILL = "-"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What was started, and when."""

    job_id: Annotated[str, _JOB_ID]
    command: Line
    started: Time


@dataclass(frozen=True, slots=True)
class Job:
    """A job as others see it."""

    record: JobRecord
    directory: Path

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        with self._open_lock() as descriptor:
            return _is_locked(descriptor)

    @property
    def pid(self) -> int:
        """Id of its process, or 0 if it did not come so far."""
        return self._read_lock()[0]

    @property
    def exit_code(self) -> int | None:
        """The exit code if it has ended by itself."""
        return self._read_lock()[1]

    @property
    def progress_path(self) -> Path:
        """The file with its progress records."""
        return self.directory / _PROGRESS

    @property
    def told(self) -> bool:
        """Whether :meth:`tell` was called."""
        return (self.directory / "told").exists()

    @property
    def ended_s_ago(self) -> float:
        """How long ago it ended, in seconds."""
        return time.time() - (self.directory / "lock").stat().st_mtime

    def tell(self) -> None:
        """Note that its result was given to who waited for it. What a full disk does not keep is told twice."""
        with suppress(OSError):
            (self.directory / "told").touch(mode=0o600)

    def result(self) -> dict[str, Any] | None:
        """Its result, unless it left none. Raises :class:`LocalStateError`."""
        path = self.directory / "result.json"
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from error
        return document if isinstance(document, dict) else None

    def wait(self) -> None:
        """Return when its process has ended."""
        with self._open_lock() as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH)

    def terminate(self) -> bool:
        """Send SIGTERM to its process, and return whether it had one.

        The process must have the lock file open: its number may mean another process in another container. Raises
        :class:`LocalStateError`.
        """
        while self.running:
            pid = self.pid
            if pid == _NEVER_STARTED:
                time.sleep(0.05)
                continue
            with suppress(ProcessLookupError), _process(pid) as process:
                if self._is_open_in(pid):
                    signal.pidfd_send_signal(process, signal.SIGTERM)
                    return True
            if self.running:
                raise LocalStateError(
                    f"The job {self.record.job_id} runs, but not as a process that this one may see (pid {pid})",
                    subject=self.record.job_id,
                    next_step="Cancel it as the same user, and in the same container, in which it was started",
                )
        return False

    def _is_open_in(self, pid: int) -> bool:
        ours = (self.directory / "lock").stat()
        for opened in _listed(Path(f"/proc/{pid}/fd")):
            with suppress(OSError):
                if os.path.samestat(opened.stat(), ours):
                    return True
        return False

    def _read_lock(self) -> tuple[int, int | None]:
        with self._open_lock() as descriptor:
            return _unpack(os.pread(descriptor, len(_packed(0, None)), 0))

    @contextmanager
    def _open_lock(self) -> Iterator[int]:
        path = self.directory / "lock"
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise _no_such_job(self.record.job_id) from None
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class OwnJob:
    """A job as its own process sees it. ``lock`` is the descriptor that holds the lock, in this process and those that
    are forked from it."""

    job: Job
    lock: int

    def begin(self) -> TextIO:
        """Note the id of this process, and return the file for progress records. Raises :class:`OSError`."""
        os.pwrite(self.lock, _packed(os.getpid(), None), 0)
        return self.job.progress_path.open("a", encoding="utf-8")

    def end(self, exit_code: int, result: dict[str, Any]) -> None:
        """Write the result and the exit code. On a full disk the exit code is all that remains."""
        with suppress(OSError):
            replace_durably(self.job.directory / "result.json", json.dumps(result) + "\n")
        os.pwrite(self.lock, _packed(os.getpid(), exit_code), 0)

    def discard(self) -> None:
        """Remove a job whose process could not be started."""
        shutil.rmtree(self.job.directory, ignore_errors=True)
        os.close(self.lock)


def create_job(
    base_dir: Path,
    *,
    command: str,
    job_id: str = "",
    clock: Callable[[], datetime] = utc_now,
    token: Callable[[], str] = lambda: secrets.token_hex(2),
) -> OwnJob:
    """Make the directory of a job, and lock it. Without a ``job_id`` it gets one that begins with the time. Old jobs
    are removed.

    Raises :class:`LocalStateError`, and :class:`UsageError` for an id that is no name, or is taken.
    """
    started = clock()
    job_id = job_id or f"{started.astimezone(UTC):%Y%m%dT%H%M%SZ}-{token()}"
    try:
        _JOB_ID.read(job_id)
    except ValueError as error:
        raise UsageError(f"{job_id!r} {error}", subject=job_id, next_step="Choose another id") from None
    root = base_dir / "jobs"
    directory = root / job_id
    record = JobRecord(job_id, command, started)
    with _explained(root):
        make_private(root)
        _check_directory(root)
        with alone_in(root):
            _remove_old(root)
            try:
                directory.mkdir(mode=0o700)
            except FileExistsError:
                raise UsageError(
                    f"There is already a job {job_id} in {root}",
                    subject=job_id,
                    next_step=f"Choose another id; `zrb attach {job_id}` shows the one that there is",
                ) from None
            try:
                return OwnJob(Job(record, directory), _write_new(directory, record))
            except OSError:
                shutil.rmtree(directory, ignore_errors=True)
                raise


def find_jobs(base_dir: Path) -> list[Job]:
    """All jobs, oldest first. Raises :class:`LocalStateError`."""
    root = base_dir / "jobs"
    with _explained(root):
        if not os.path.lexists(root):
            return []
        _check_directory(root)
        return _jobs_in(root)


def find_job(base_dir: Path, job_id: str) -> Job:
    """The job with this id. Raises :class:`NoSuchJob`, :class:`LocalStateError`."""
    with suppress(ValueError):
        _JOB_ID.read(job_id)
        directory = base_dir / "jobs" / job_id
        with _explained(directory):
            if os.path.lexists(directory):
                _check_directory(directory.parent)
                _check_directory(directory)
                with suppress(FileNotFoundError):
                    return _read_job(directory)
    raise _no_such_job(job_id)


def _write_new(directory: Path, record: JobRecord) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    lock = os.open(directory / "lock", flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = _packed(_NEVER_STARTED, None)
        if os.write(lock, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(lock)
        os.close(os.open(directory / _PROGRESS, flags, 0o600))
        replace_durably(directory / "job.json", canonical_json(write_record(record)).decode() + "\n")
    except OSError:
        os.close(lock)
        raise
    return lock


def _jobs_in(root: Path) -> list[Job]:
    jobs = []
    for directory in root.iterdir():
        # One that is just being made, or removed, is none.
        with suppress(OSError, ValueError):
            _check_directory(directory)
            jobs.append(_read_job(directory))
    return sorted(jobs, key=lambda job: (job.record.started, job.record.job_id))


def _read_job(directory: Path) -> Job:
    """Raises :class:`OSError`, :class:`ValueError`."""
    return Job(read_record(JobRecord, parse_object((directory / "job.json").read_bytes(), limit=65_536)), directory)


def _remove_old(root: Path) -> None:
    """Remove what has ended, but for the newest; and what was killed while it was made. The caller is alone."""
    known = _jobs_in(root)
    ended = [job for job in known if not job.running]
    names = {job.directory for job in known}
    unfinished = [path for path in root.iterdir() if path not in names and stat.S_ISDIR(path.lstat().st_mode)]
    for directory in (*unfinished, *(job.directory for job in ended[: max(0, len(ended) - JOBS_KEPT + 1)])):
        shutil.rmtree(directory, ignore_errors=True)


def _check_directory(directory: Path) -> None:
    mode = directory.lstat().st_mode
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is a symbolic link" if stat.S_ISLNK(mode) else "no directory")


def _packed(pid: int, exit_code: int | None) -> bytes:
    return f"{pid:>10} {_RUNS_STILL if exit_code is None else exit_code:>4}\n".encode()


def _unpack(content: bytes) -> tuple[int, int | None]:
    words = content.split()
    if len(words) != 2 or not words[0].isdigit():
        return _NEVER_STARTED, None
    return int(words[0]), int(words[1]) if words[1].isdigit() else None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:  # it has ended, or belongs to somebody else
        return []


@contextmanager
def _process(pid: int) -> Iterator[int]:
    """A descriptor of the process ``pid``, which no other process of that number can take the place of."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _no_such_job(job_id: str) -> NoSuchJob:
    return NoSuchJob(
        f"There is no job {job_id!r}",
        subject=job_id,
        next_step=f"`zrb jobs` lists all that there are; of those that have ended, the newest {JOBS_KEPT} stay",
    )


def _unusable(path: Path, error: OSError | ValueError) -> LocalStateError:
    return LocalStateError(
        f"Nothing can be kept or read of a job at {path}",
        subject=str(path),
        answer=(error.strerror if isinstance(error, OSError) else None) or str(error),
        next_step="Make base_dir a directory that this user may write, free some space, and run the command again",
    )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from error
