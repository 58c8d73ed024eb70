# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks backup and status over hosts of which most fail, on a real ZFS."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.modules.conftest import Ansible, Nas

pytestmark = pytest.mark.zfs
WIDTH = 80


@pytest.fixture
def inventory(nas: Nas, tmp_path: Path) -> Path:
    """One host that works, between others that do not."""
    hosts: dict[str, dict[str, Any]] = {
        "unreachable": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "bare": {"zrb_command": "/nonexistent/zrb"},
        "mistaken": {"zrb_config": "/nonexistent/config.yaml"},
        "a-name-of-many-letters": {"zrb_tasks": ["no-such-task"]},
        "right": {},
    }
    common = {
        "zrb_command": str(Path(sys.executable).with_name("zrb")),
        "zrb_config": str(nas.config),
        "zrb_user": "root",
    }
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": hosts, "vars": common}}))
    return path


def play(ansible: Ansible, playbook: str, inventory: Path, *words: str, status: int) -> str:
    command = [f"zrb.fleet.{playbook}", "--inventory", str(inventory), *words]
    return ansible.run("ansible-playbook", *command, status=status)


def table(said: str) -> list[str]:
    """The lines of the closing table."""
    shown = said[said.index('"msg": [') :]
    assert max(len(line) for line in shown[: shown.index("]")].splitlines()) <= WIDTH
    lines: list[str] = json.loads(shown[len('"msg": ') : shown.index("\n    ]") + len("\n    ]")])
    return lines


def failed_hosts(said: str) -> list[str]:
    return sorted(re.findall(r"^(\S+) .*failed=1", said, re.MULTILINE))


def test_backup_serves_all_and_fails_for_those_that_failed(ansible: Ansible, nas: Nas, inventory: Path) -> None:
    failing = ["a-name-of-many-letters", "bare", "mistaken", "unreachable"]
    planned = play(ansible, "backup", inventory, "--check", "--extra-vars", "zrb_level=0", status=2)
    assert any(re.fullmatch(r"right +home +0 .* plan", line) for line in table(planned))
    assert not list((nas.repository / "manifests").rglob("*.json"))

    one_by_one = ["--extra-vars", "zrb_level=0 zrb_serial=1 zrb_throttle=1"]
    made = play(ansible, "backup", inventory, *one_by_one, status=2)
    (manifest,) = (nas.repository / "manifests").rglob("*.json")
    lines = table(made)
    assert failed_hosts(made) == failing
    failed_rows = sorted(line.split()[0] for line in lines if line.endswith("FAILED"))
    assert failed_rows == sorted(host[:14] for host in failing)
    (row,) = (number for number, line in enumerate(lines) if line.startswith("right"))
    assert re.fullmatch(r"right +home +0 +\d+\.\d\d [KM]B +\d+ s +\d+\.\d\d [KM]B/s ok", lines[row])
    assert lines[row + 1].split() == [manifest.stem, "of", nas.dataset]
    refusals = made[made.index("Fail for each host") :]
    words = {"bare": "/nonexistent/zrb", "mistaken": "config.yaml does not exist", failing[0]: "no-such-task"}
    for host, word in words.items():
        assert re.search(rf"fatal: \[{host}\].*{word}", refusals), refusals

    only = ["--limit", "right", "--extra-vars"]
    alone = play(ansible, "backup", inventory, *only, "zrb_level=1 zrb_tasks=home", status=0)
    assert [line.split()[2] for line in table(alone) if line.startswith("right")] == ["1"]

    asked = play(ansible, "status", inventory, status=2)
    assert failed_hosts(asked) == ["mistaken", "unreachable"]
    assert any(re.fullmatch(r"right +\S+ +1 .* 0 h ok", line) for line in table(asked)), table(asked)
    late = play(ansible, "status", inventory, *only, "zrb_max_age=0s", status=2)
    assert table(late)[1].split()[-1] == "STALE"
    assert nas.dataset in late[late.index("Fail for each host") :]


@pytest.mark.parametrize(
    ("playbook", "wrong"), [("backup", "zrb_level=9"), ("backup", "zrb_level="), ("status", "zrb_max_age=soon")]
)
def test_variables_are_checked_and_the_table_comes_all_the_same(
    ansible: Ansible, inventory: Path, playbook: str, wrong: str
) -> None:
    said = play(ansible, playbook, inventory, "--limit", "right", "--extra-vars", wrong, status=2)
    variable = wrong.partition("=")[0].removeprefix("zrb_")
    assert variable in said[said.index("Fail for each host") :]
    assert [line.split()[-1] for line in table(said)] == ["STATUS", "FAILED"]
