# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run tasks through the real ``ansible-playbook``, and look at what they return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
Task = dict[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Ansible:
    """An Ansible of a test's own: its collections path, its home, its working directory."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, program: str, *arguments: str, status: int = 0) -> str:
        """Run one of Ansible's programs; its stdout. The test fails where the status is another one."""
        command = [str(BIN / program), *arguments]
        ended = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != status:
            pytest.fail(f"{program}: status {ended.returncode} instead of {status}\n{ended.stdout}\n{ended.stderr}")
        return ended.stdout

    def play(self, tasks: Sequence[Task], *arguments: str, play: dict[str, Any] | None = None) -> list[Result]:
        """Run ``tasks`` one after the other, whether or not they fail; what each returned."""
        numbered = [
            {**task, "register": f"result_{number}", "ignore_errors": True} for number, task in enumerate(tasks)
        ]
        results = self.directory / "results.json"
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        save = {
            "ansible.builtin.copy": {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"},
            "check_mode": False,
            "diff": False,
        }
        self.run_playbook(
            [{"hosts": "localhost", "gather_facts": False, **(play or {}), "tasks": [*numbered, save]}], *arguments
        )
        returned: list[Result] = json.loads(results.read_text())
        return returned

    def run_playbook(self, plays: list[dict[str, Any]], *arguments: str, status: int = 0) -> str:
        """Run plays; the stdout."""
        playbook = self.directory / "play.yml"
        playbook.write_text(yaml.safe_dump(plays, sort_keys=False, allow_unicode=True))
        return self.run("ansible-playbook", str(playbook), *arguments, status=status)

    def quad(self, module: str, options: dict[str, Any]) -> tuple[Result, Result, Result, Result]:
        """Check, run, check again, run again, each with a diff."""
        tasks = [{module: options, "check_mode": check, "diff": True} for check in (True, False, True, False)]
        first, second, third, fourth = self.play(tasks)
        return first, second, third, fourth


@pytest.fixture(scope="session")
def collections_path() -> str:
    """The directory in which Ansible finds this checkout as zrb.fleet."""
    made = subprocess.run([ROOT / "tests/setup/collection"], check=True, capture_output=True, text=True)
    return made.stdout.strip()


@pytest.fixture
def ansible(tmp_path: Path, collections_path: str, pool_guard_on_path: Path) -> Ansible:
    """Ansible for the local machine, with this collection, with this Python, and with nothing of the user's."""
    directory = tmp_path / "ansible"
    directory.mkdir()
    (directory / "ansible.cfg").write_text("[defaults]\n")
    return Ansible(
        directory=directory,
        environment={
            "ANSIBLE_COLLECTIONS_PATH": collections_path,
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
            "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
            "ANSIBLE_INVENTORY": "localhost,",
            "ANSIBLE_TRANSPORT": "local",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "LC_ALL": "C.UTF-8",
        },
    )


@pytest.fixture
def failure(ansible: Ansible) -> Callable[[str, dict[str, Any]], Result]:
    """Run a module that must fail; what it said."""

    def fail(module: str, options: dict[str, Any]) -> Result:
        (result,) = ansible.play([{module: options}])
        assert result.get("failed") is True, result
        return result

    return fail
