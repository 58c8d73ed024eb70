# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a controller does to a machine, and what is then found there by other means than Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.vm.testbed.machine import Machine
from tests.vm.testbed.places import CHECKOUT

HOST = "nas1"


@dataclass(frozen=True)
class Played:
    """How a play ended on the machine."""

    status: int
    changed: int
    failed: int
    unreachable: int
    output: str
    changes: tuple[str, ...]
    """The tasks that changed something."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return (self.status, self.failed, self.unreachable) == (0, 0, 0)


@dataclass(frozen=True)
class Fleet:
    """A controller's directory, and its one machine."""

    machine: Machine
    controller: Path
    wheels: Path

    @classmethod
    def prepare(cls, machine: Machine, scratch: Path, *, wheels: Path) -> Fleet:
        """The inventory of ``machine``."""
        controller = scratch / "controller"
        controller.mkdir()
        (controller / "ansible.cfg").write_text("[defaults]\n")
        words = machine.ssh_words()
        given = zip(words[1:-1:2], words[2:-1:2], strict=True)
        # Port and key are variables of Ansible's own, and sftp calls the port otherwise.
        options = " ".join(f"{name} {value}" for name, value in given if name not in {"-p", "-i"})
        host = {
            "ansible_host": "127.0.0.1",
            "ansible_port": machine.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(machine.image.private_key),
            "ansible_ssh_common_args": options,
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        (controller / "inventory.yml").write_text(yaml.safe_dump({"nas": {"hosts": {HOST: host}}}))
        return cls(machine, controller, wheels)

    def role(self, name: str, variables: Mapping[str, Any], *, check: bool = False) -> Played:
        """Apply one role."""
        task = {"name": "Apply the role", "ansible.builtin.import_role": {"name": f"zrb.fleet.{name}"}}
        play = {"name": "Test", "hosts": "nas", "gather_facts": False, "tasks": [task]}
        return self.play([play], variables, check=check)

    def task(self, module: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one task, which may have failed."""
        path = self.controller / "result.json"
        path.unlink(missing_ok=True)
        tasks = [
            {"name": "Run", module: options, "register": "result", "ignore_errors": True},
            {
                "name": "Keep the result",
                "ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(path), "mode": "0600"},
                "delegate_to": "localhost",
            },
        ]
        played = self.play([{"name": "Test", "hosts": "nas", "gather_facts": False, "tasks": tasks}], {})
        assert path.exists(), played.output
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def play(self, plays: list[Mapping[str, Any]], variables: Mapping[str, Any], *, check: bool = False) -> Played:
        """Run plays."""
        (self.controller / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        return self.playbook("play.yml", variables, check=check)

    def playbook(
        self, name: str, variables: Mapping[str, Any], *, check: bool = False, inventory: str = "inventory.yml"
    ) -> Played:
        """Run a playbook, with ``variables`` above all others."""
        (self.controller / "variables.json").write_text(json.dumps(variables))
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        words = [program, "--inventory", inventory, "--extra-vars", "@variables.json", "--diff", name]
        ended = subprocess.run(
            [*words, *(["--check"] if check else [])],
            cwd=self.controller,
            env={**os.environ, **self.environment()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return _played(ended)

    def environment(self) -> dict[str, str]:
        """What makes ansible-playbook find this checkout, and write nowhere else."""
        collections = subprocess.run([CHECKOUT / "tests/setup/collection"], check=True, capture_output=True, text=True)
        return {
            "ANSIBLE_COLLECTIONS_PATH": collections.stdout.strip(),
            "ANSIBLE_CONFIG": str(self.controller / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.controller / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_TIMEOUT": "60",
            "LC_ALL": "C.UTF-8",
        }

    def said(self, line: str) -> str:
        """What a shell line prints on the machine; it must succeed."""
        return self.machine.shell(line, capture=True).stdout.decode().rstrip("\n")

    def does(self, line: str) -> bool:
        """Whether a shell line succeeds on the machine."""
        return self.machine.shell(line, capture=True, check=False).returncode == 0


def _played(ended: subprocess.CompletedProcess[str]) -> Played:
    output = ended.stdout + ended.stderr
    counts = dict.fromkeys(("changed", "failed", "unreachable"), 0)
    changes = []
    task = ""
    for line in ended.stdout.splitlines():
        if line.startswith(("TASK [", "RUNNING HANDLER [")):
            task = line.partition("[")[2].rpartition("]")[0]
        elif line.startswith("changed: ["):
            changes.append(task)
        elif line.startswith(f"{HOST} ") and "ok=" in line:
            counts |= {name: int(line.partition(f"{name}=")[2].split()[0]) for name in counts}
    return Played(ended.returncode, output=output, changes=tuple(changes), **counts)
