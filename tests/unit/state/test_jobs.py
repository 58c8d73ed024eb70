# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept of jobs, and what is said of those that run, have ended, or were killed."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from zrb.errors import LocalStateError, NoSuchJob, UsageError
from zrb.state.jobs import JOBS_KEPT, OwnJob, create_job, find_job, find_jobs

START = datetime(2026, 1, 31, 2, tzinfo=UTC)


def made(base: Path, job_id: str = "one", *, minutes: int = 0) -> OwnJob:
    return create_job(base, command=f"zrb {job_id}", job_id=job_id, clock=lambda: START + timedelta(minutes=minutes))


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As on a disk that is full from there on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_job_runs_until_its_lock_is_free(tmp_path: Path) -> None:
    own = made(tmp_path)
    job = find_job(tmp_path, "one")
    assert (job.running, job.pid, job.exit_code, job.result()) == (True, 0, None, None)
    with own.begin() as records:
        records.write("{}\n")
    assert (job.running, job.pid) == (True, os.getpid())
    own.end(4, {"exit_code": 4, "seconds": 1.5})
    assert job.running
    os.close(own.lock)
    assert (job.running, job.exit_code, job.result()) == (False, 4, {"exit_code": 4, "seconds": 1.5})
    job.wait()
    assert job.terminate() is False


def test_a_job_that_was_killed_has_neither_lock_nor_exit_code(tmp_path: Path) -> None:
    own = made(tmp_path)
    own.begin().close()
    os.close(own.lock)
    job = find_job(tmp_path, "one")
    assert (job.running, job.exit_code, job.result()) == (False, None, None)


def test_everything_is_private(tmp_path: Path) -> None:
    own = made(tmp_path / "base")
    own.begin().close()
    own.end(0, {})
    os.close(own.lock)
    for path in (tmp_path / "base").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_ids_begin_with_the_time_and_are_listed_in_its_order(tmp_path: Path) -> None:
    names = []
    for minutes in (5, 3, 4):
        own = create_job(
            tmp_path, command="x", clock=lambda now=START + timedelta(minutes=minutes): now, token=lambda: "0123"
        )
        names.append(own.job.record.job_id)
        os.close(own.lock)
    assert names[0] == "20260131T020500Z-0123"
    assert [job.record.job_id for job in find_jobs(tmp_path)] == sorted(names)


@pytest.mark.parametrize("job_id", ["..", ".hidden", "a/b", "a b", "-x", "x" * 65, "ü"])
def test_an_id_that_is_no_name_is_refused_and_not_found(tmp_path: Path, job_id: str) -> None:
    with pytest.raises(UsageError) as refused:
        made(tmp_path, job_id)
    assert refused.value.subject == job_id
    with pytest.raises(NoSuchJob):
        find_job(tmp_path, job_id)


def test_an_id_is_given_once(tmp_path: Path) -> None:
    own = made(tmp_path)
    with pytest.raises(UsageError) as refused:
        made(tmp_path)
    assert refused.value.subject == "one"
    assert find_job(tmp_path, "one").running
    own.discard()
    assert find_jobs(tmp_path) == []


def test_there_are_no_jobs_where_none_was_started(tmp_path: Path) -> None:
    assert find_jobs(tmp_path / "never") == []
    with pytest.raises(NoSuchJob):
        find_job(tmp_path, "one")


def test_the_newest_that_have_ended_stay_and_all_that_run(tmp_path: Path) -> None:
    running = made(tmp_path, "running")
    for number in range(JOBS_KEPT + 3):
        os.close(made(tmp_path, f"job-{number}", minutes=1 + number).lock)
    (tmp_path / "jobs" / "killed-while-it-was-made").mkdir()
    newest = made(tmp_path, "newest", minutes=1000)
    names = [job.record.job_id for job in find_jobs(tmp_path)]
    assert names == ["running", *(f"job-{number}" for number in range(4, JOBS_KEPT + 3)), "newest"]
    assert {path.name for path in (tmp_path / "jobs").iterdir()} == set(names)
    for own in (running, newest):
        os.close(own.lock)


@pytest.mark.parametrize("linked", ["jobs", "jobs/one"])
def test_a_directory_that_is_a_symbolic_link_is_refused(tmp_path: Path, linked: str) -> None:
    elsewhere, base = tmp_path / "elsewhere", tmp_path / "base"
    os.close(made(elsewhere).lock)
    (base / linked).parent.mkdir(parents=True)
    (base / linked).symlink_to(elsewhere / linked)
    with pytest.raises(LocalStateError, match="symbolic link"):
        find_job(base, "one")
    if linked == "jobs":
        with pytest.raises(LocalStateError, match="symbolic link"):
            find_jobs(base)
        with pytest.raises(LocalStateError, match="symbolic link"):
            made(base, "two")
    else:
        assert find_jobs(base) == []
        os.close(made(base, "two").lock)
    assert find_job(elsewhere, "one").record.job_id == "one", "nothing behind the link was removed"


@pytest.mark.parametrize("size", [0, 4, 20])
def test_a_full_disk_at_the_start_is_an_error_and_leaves_nothing(tmp_path: Path, size: int) -> None:
    (tmp_path / "jobs").mkdir(mode=0o700)
    with files_of_at_most(size), pytest.raises(LocalStateError) as failed:
        made(tmp_path)
    assert failed.value.next_step
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_full_disk_at_the_end_leaves_the_exit_code(tmp_path: Path) -> None:
    own = made(tmp_path)
    own.begin().close()
    with files_of_at_most(20):
        own.end(5, {"exit_code": 5, "text": "x" * 100})
    os.close(own.lock)
    job = find_job(tmp_path, "one")
    assert (job.exit_code, job.result()) == (5, None)


def test_a_result_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    own = made(tmp_path)
    own.end(0, {})
    os.close(own.lock)
    (own.job.directory / "result.json").write_text("{")
    with pytest.raises(LocalStateError, match=r"result\.json"):
        own.job.result()


def test_no_process_is_stopped_that_does_not_hold_the_lock(tmp_path: Path) -> None:
    own = made(tmp_path)
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        os.pwrite(own.lock, f"{stranger.pid:>10}    -\n".encode(), 0)
        with pytest.raises(LocalStateError) as failed:
            own.job.terminate()
        assert str(stranger.pid) in failed.value.problem
        assert stranger.poll() is None, "it lives"
    finally:
        stranger.kill()
        stranger.wait()
        os.close(own.lock)
