# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's work as a job: when one is started, which one is found again, and how often its result is given."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils._ansible.arguments import VERIFY
from plugins.module_utils._ansible.run_as_job import UNTOLD_S, run_as_job
from plugins.module_utils._engine.errors import NoSuchBackup
from plugins.module_utils._engine.state.jobs import Job, find_jobs

Result = dict[str, Any]


@dataclass
class Module:
    """Ends by printing, as an AnsibleModule does."""

    params: dict[str, Any]
    check_mode: bool = False
    warnings: list[str] = field(default_factory=list)
    _name: str = "zrb.fleet.zfs_verify"

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def exit_json(self, **result: Any) -> None:
        print(json.dumps({**result, "warnings": self.warnings}))
        raise SystemExit(0)

    def fail_json(self, **result: Any) -> None:
        print(json.dumps({**result, "failed": True, "warnings": self.warnings}))
        raise SystemExit(1)


class Machine:
    """Modules are called on it. What they do waits until the file ``go`` is there, and then says what is in it."""

    def __init__(self, directory: Path) -> None:
        self.base, self.go = directory / "base", directory / "go"
        self.params = {name: option.get("default") for name, option in VERIFY.options.items()}
        self.params |= {"repository": str(directory), "host": "nas1", "base_dir": str(self.base), "dataset": "tank/a"}

    @property
    def jobs(self) -> list[Job]:
        return find_jobs(self.base)

    def work(self, _module: Any, _context: Any) -> Result:
        for _moment in range(2000):
            if self.go.exists():
                break
            time.sleep(0.01)
        if said := self.go.read_text():
            raise NoSuchBackup(said, subject=said, next_step="look")
        return {"changed": True, "done": True}

    def call(
        self, *, look: Callable[[Any, Any], Result | None] = lambda _module, _context: None, **given: Any
    ) -> Result:
        """What a call of the module returns."""
        check = given.pop("check_mode", False)
        module: Any = Module({**self.params, **given}, check_mode=check)
        out, sys.stdout = sys.stdout, io.StringIO()
        try:
            result: Result = run_as_job(module, self.work, look=look)
        except SystemExit:
            result = json.loads(sys.stdout.getvalue())
        finally:
            sys.stdout = out
        return result

    def start(self) -> str:
        """Start a job that works on; its id."""
        return str(self.call(wait_timeout=0.01)["job"]["job_id"])

    def end(self, said: str = "") -> None:
        """Let all jobs end."""
        aside = self.go.with_name("aside")
        aside.write_text(said)
        aside.rename(self.go)
        for job in self.jobs:
            job.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_job_that_ended_unseen_is_what_the_next_call_returns_but_only_once(machine: Machine) -> None:
    started = machine.start()
    assert machine.start() == started
    machine.end()
    assert (machine.call()["done"], len(machine.jobs)) == (True, 1)
    again = machine.call()
    assert (again["done"], again["job_id"] == started) == (True, False)
    assert [job.record.job_id for job in machine.jobs] == sorted({started, again["job_id"]}), "the second began anew"
    assert machine.call(job_id=started)["job_id"] == started, "by its id as often as one likes"


def test_the_same_work_is_found_with_other_credentials_and_limits_but_no_other_work(machine: Machine) -> None:
    started = machine.start()
    other = {"access_key": "AKIA", "secret_key": "s", "session_token": "t", "workers": 3, "memory_limit": "64MiB"}
    assert machine.call(**other, wait_timeout=0.01)["job"]["job_id"] == started
    for different in ({"dataset": "tank/b"}, {"depth": "checksum"}, {"level": 1}):
        assert machine.call(**different, wait_timeout=0.01)["job"]["job_id"] != started
    machine.end()
    assert len(machine.jobs) == 4


def fail(machine: Machine) -> None:
    machine.end("tank/a is gone")
    machine.go.write_text("")


def kill(machine: Machine) -> None:
    (job,) = machine.jobs
    os.kill(job.pid, signal.SIGKILL)
    machine.end()


def stop(machine: Machine) -> None:
    (job,) = machine.jobs
    assert job.terminate()
    job.wait()
    assert job.exit_code == 143
    machine.end()


@pytest.mark.parametrize("happens", [fail, kill, stop])
def test_what_went_wrong_unseen_is_said_and_begun_anew(machine: Machine, happens: Callable[[Machine], None]) -> None:
    before = machine.start()
    while machine.jobs[0].pid == 0:
        time.sleep(0.01)
    happens(machine)
    result = machine.call()
    assert (result["done"], before in result["warnings"][0]) == (True, True)
    assert result["job_id"] != before
    assert machine.call()["warnings"] == []


def test_what_ended_long_ago_does_not_keep_the_next_run_away(machine: Machine) -> None:
    before = machine.start()
    machine.end()
    (job,) = machine.jobs
    then = time.time() - UNTOLD_S - 60
    os.utime(job.directory / "lock", (then, then))
    result = machine.call()
    assert (result["job_id"] == before, result["warnings"]) == (False, [])


def test_what_nobody_waits_for_is_told_to_who_asks_by_its_id_alone(machine: Machine) -> None:
    unwaited = str(machine.call(wait_timeout=0)["job"]["job_id"])
    assert machine.start() == unwaited, "as long as it runs, it is found"
    machine.end()
    assert machine.call()["job_id"] != unwaited
    assert machine.call(job_id=unwaited)["job_id"] == unwaited


def test_if_nothing_is_to_be_done_there_is_no_job(machine: Machine) -> None:
    nothing = {"changed": False, "fresh": {}}
    assert machine.call(look=lambda _module, _context: nothing) == nothing
    machine.go.touch()
    assert machine.call(check_mode=True) == {"changed": True, "done": True}
    assert not machine.base.exists()
    machine.go.unlink()
    started = machine.start()
    found = machine.call(look=lambda _module, _context: nothing, wait_timeout=0.01)
    assert found["job"]["job_id"] == started, "what runs comes before what there is"
    machine.end()


def test_who_hung_up_was_not_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    started = machine.start()
    machine.end()

    with monkeypatch.context() as patched, pytest.raises(BrokenPipeError):
        patched.setattr("plugins.module_utils._ansible.run_as_job.sys", type("Sys", (), {"stdout": Broken()}))
        machine.call()
    assert machine.call()["job_id"] == started


class Broken(io.StringIO):
    """A pipe that nobody reads."""

    def flush(self) -> None:
        raise BrokenPipeError
