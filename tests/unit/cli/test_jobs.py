# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``--detach``, ``zrb jobs``, ``zrb attach``, ``zrb cancel``: real processes, whose work waits for the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from zrb.state.jobs import create_job, find_job, find_jobs

from tests.fixtures.committed_repository import CommittedRepository

from .conftest import Zrb

_GATED = """
import sys, time
from pathlib import Path
from zrb.cli import main, verify
from zrb.cli.output import put, say

gate, stopped = Path(sys.argv[1]), Path(sys.argv[2])

def run(session):
    with session.open_context(writes=False) as context:
        context.progress.start("verify", total=100, message="tank/data")
        context.progress.advance("verify", current=50, total=100)
        context.progress.log("AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQGWCXTK")
        try:
            while not gate.exists():
                time.sleep(0.02)
        finally:
            stopped.touch()
    session.give({"exit_code": 4, "parts": 3}, lambda: put("three parts"))
    say("look at it")
    return 4

verify.run = run
sys.exit(main(sys.argv[3:]))
"""
"""The command, with a ``verify`` that ends when a file appears."""


@dataclass(frozen=True)
class Gated:
    """Starts such a verification as a job."""

    config: Path
    directory: Path

    @property
    def base(self) -> Path:
        """The state directory."""
        return self.directory / "base"

    @property
    def stopped(self) -> Path:
        """Appears when the work ends by itself or cleanly."""
        return self.directory / "stopped"

    def start(self, job_id: str = "one", *, pass_fds: tuple[int, ...] = (), **environment: str) -> int:
        """Start it; its process id."""
        detached = ["verify", "--detach", "--job-id", job_id, "--config", str(self.config)]
        ended = subprocess.run(
            [sys.executable, "-c", _GATED, str(self.directory / "gate"), str(self.stopped), *detached],
            env={**os.environ, **environment},
            capture_output=True,  # would wait for the job if that had the streams open
            text=True,
            check=False,
            pass_fds=pass_fds,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{job_id}\n", "")
        job = find_job(self.base, job_id)
        while job.running and "progress" not in job.progress_path.read_text():
            pass
        return job.pid

    def open(self) -> None:
        """Let it end."""
        (self.directory / "gate").touch()

    def attached(self, *options: str) -> subprocess.Popen[str]:
        """``zrb attach`` as a process of its own."""
        words = [sys.executable, "-m", "zrb.command", "attach", "one", "--config", str(self.config), *options]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def gated(config: Path, tmp_path: Path) -> Iterator[Gated]:
    """Jobs that wait; none is left."""
    gated = Gated(config, tmp_path)
    yield gated
    for job in find_jobs(gated.base):
        if job.running:
            os.kill(job.pid, signal.SIGKILL)
            job.wait()


@pytest.fixture
def detached(config: Path) -> Callable[..., str]:
    """Start a command as a job; its id."""

    def start(*arguments: str) -> str:
        words = [sys.executable, "-m", "zrb.command", *arguments, "--detach", "--config", str(config)]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    return start


def test_a_job_gives_what_the_command_gives(
    zrb: Zrb, config: Path, repository: CommittedRepository, detached: Callable[..., str]
) -> None:
    repository.commit()
    command = ("verify", "--depth", "checksum")
    job_id = detached(*command)
    attached = zrb("attach", job_id, "--config", config, "--progress", "none")
    assert (attached.code, attached.out) == (0, zrb(*command, "--config", config).out)
    as_json = zrb("attach", job_id, "--config", config, "--progress", "none", "--json")
    assert as_json.document == zrb(*command, "--config", config, "--json").document
    (job,) = zrb("jobs", "--config", config, "--json").document["jobs"]
    assert (job["job_id"], job["state"], job["exit_code"]) == (job_id, "ended", 0)
    assert "verify --depth checksum" in job["command"]


def test_a_job_fails_as_the_command_fails(zrb: Zrb, config: Path, detached: Callable[..., str]) -> None:
    job_id = detached("verify", "--task", "nonsense")
    foreground = zrb("verify", "--task", "nonsense", "--config", config, "--json")
    attached = zrb("attach", job_id, "--config", config, "--json", "--progress", "none")
    assert (attached.code, attached.document, attached.err) == (6, foreground.document, foreground.err)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--config", "/nowhere/config.yaml"], 2),
        (["--job-id", "a/b"], 2),
        (["--subset", "1/7", "--dry-run"], 2),
    ],
)
def test_what_is_wrong_with_the_call_is_said_at_once(zrb: Zrb, config: Path, arguments: list[str], code: int) -> None:
    ended = zrb("verify", "--detach", "--config", config, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert zrb("jobs", "--config", config).out == "No jobs.\n"


def test_a_dry_run_is_no_job(zrb: Zrb, config: Path) -> None:
    assert zrb("backup", "--level", "0", "--detach", "--dry-run", "--config", config).code == 2
    assert zrb("jobs", "--config", config).out == "No jobs.\n"


def test_a_job_leaves_the_session_and_the_descriptors_of_its_caller(gated: Gated) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    pid = gated.start(pass_fds=(writer,))
    os.close(writer)
    assert os.read(reader, 1) == b"", "nobody has the other end open"
    os.close(reader)
    assert os.getsid(pid) == pid
    opened = {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert {opened[standard] for standard in "012"} == {os.devnull}


def test_two_attach_and_a_third_comes_late(zrb: Zrb, gated: Gated) -> None:
    pid = gated.start()
    (job,) = zrb("jobs", "--config", gated.config, "--json").document["jobs"]
    assert (job["state"], job["pid"], job["exit_code"]) == ("running", pid, None)
    assert (job["progress"]["current"], job["progress"]["total"]) == (50, 100)
    table = zrb("jobs", "--config", gated.config).out
    assert "one" in table and "running" in table and "verify 50 %" in table
    both = [gated.attached("--progress", "lines"), gated.attached("--progress", "json")]
    for one in both:
        assert one.stderr is not None
        assert "tank/data" in one.stderr.readline()
    gated.open()
    printed = [one.communicate() for one in both]
    assert [one.returncode for one in both] == [4, 4]
    assert [out for out, _err in printed] == ["three parts\n"] * 2
    assert all(err.endswith("zrb: look at it\n") for _out, err in printed)
    records = find_job(gated.base, "one").progress_path.read_text()
    late = zrb("attach", "one", "--config", gated.config, "--progress", "json", "--json")
    assert (late.code, late.document, late.err) == (4, {"exit_code": 4, "parts": 3}, records + "zrb: look at it\n")
    assert [json.loads(line)["job_id"] for line in records.splitlines()] == ["one"] * len(records.splitlines())
    cancelled = zrb("cancel", "one", "--config", gated.config, "--json")
    assert (cancelled.code, cancelled.document["cancelled"]) == (0, False)
    assert cancelled.document["job"]["exit_code"] == 4


def test_cancel_stops_cleanly_and_waits(zrb: Zrb, gated: Gated) -> None:
    gated.start()
    cancelled = zrb("cancel", "one", "--config", gated.config)
    assert cancelled.code == 0 and "143" in cancelled.out
    assert gated.stopped.exists()
    assert not find_job(gated.base, "one").running
    attached = zrb("attach", "one", "--config", gated.config, "--json")
    assert (attached.code, attached.document["error"]["exit_code"]) == (143, 143)


def test_a_job_that_was_killed_is_lost(zrb: Zrb, gated: Gated) -> None:
    os.kill(gated.start(), signal.SIGKILL)
    find_job(gated.base, "one").wait()
    (job,) = zrb("jobs", "--config", gated.config, "--json").document["jobs"]
    assert (job["state"], job["exit_code"]) == ("lost", None)
    attached = zrb("attach", "one", "--config", gated.config, "--json", "--progress", "lines")
    assert (attached.code, attached.document["error"]["error"]) == (1, "JobLost")
    assert attached.err.startswith("verify: tank/data"), "how far it was"
    assert zrb("cancel", "one", "--config", gated.config, "--json").document["cancelled"] is False
    assert not gated.stopped.exists()


@pytest.mark.usefixtures("signals_heard")
def test_an_interrupted_attach_leaves_the_job_alone(gated: Gated) -> None:
    gated.start()
    attached = gated.attached("--progress", "lines")
    assert attached.stderr is not None
    attached.stderr.readline()
    attached.send_signal(signal.SIGINT)
    _out, err = attached.communicate()
    assert attached.returncode == 130
    assert "goes on" in err and "`zrb cancel one`" in err
    assert find_job(gated.base, "one").running


def test_secrets_reach_a_job_in_memory_alone(zrb: Zrb, gated: Gated) -> None:
    pid = gated.start(AWS_SECRET_ACCESS_KEY="canary-3f1c")
    assert b"canary-3f1c" in Path(f"/proc/{pid}/environ").read_bytes()
    assert b"canary-3f1c" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    gated.open()
    zrb("attach", "one", "--config", gated.config)
    for path in gated.base.rglob("*"):
        if path.is_file():
            content = path.read_text()
            assert "canary" not in content and "AGE-SECRET" not in content, path


def test_a_result_that_found_no_space_is_told(zrb: Zrb, config: Path, tmp_path: Path) -> None:
    own = create_job(tmp_path / "base", command="zrb verify", job_id="one")
    (own.job.directory / "result.json").mkdir()  # nothing can take its place
    with suppress(OSError):
        own.end(5, {"exit_code": 5})
    os.close(own.lock)
    (own.job.directory / "result.json").rmdir()
    attached = zrb("attach", "one", "--config", config, "--json")
    assert (attached.code, attached.document["exit_code"]) == (5, 5)
    assert attached.document["warnings"] and "result" in attached.err


@pytest.mark.parametrize("command", ["attach", "cancel"])
def test_a_job_that_is_not_there(zrb: Zrb, config: Path, command: str) -> None:
    ended: Any = zrb(command, "nonsense", "--config", config, "--json")
    assert (ended.code, ended.document["error"]["error"]) == (6, "NoSuchJob")
    assert ended.document["error"]["subject"] == "nonsense"
