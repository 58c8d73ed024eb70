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
INVENTORY: dict[str, dict[str, Any]] = {
    "unreachable": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
    "bare": {"zrb_command": "/nonexistent/zrb"},
    "mistaken": {"zrb_config": "/nonexistent/config.yaml"},
    "a-name-of-many-letters": {"zrb_tasks": ["no-such-task"]},
    "no-such-level": {"zrb_level": 9},
    "empty-survey": {"zrb_level": ""},
    "unclear": {"zrb_max_age": "soon", "zrb_config": "/nonexistent/config.yaml"},
    "impatient": {"zrb_max_age": "0s", "zrb_command": "/nonexistent/zrb"},
    "right": {},
}


@pytest.fixture
def inventory(nas: Nas, tmp_path: Path) -> Path:
    """One host that works, between others that do not."""
    common = {
        "zrb_command": str(Path(sys.executable).with_name("zrb")),
        "zrb_config": str(nas.config),
        "zrb_user": "root",
        "zrb_level": 0,
    }
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": INVENTORY, "vars": common}}))
    return path


def play(ansible: Ansible, playbook: str, inventory: Path, *words: str, status: int) -> str:
    ansible.environment["ANSIBLE_PIPELINING"] = "1"
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
    failing = sorted({*INVENTORY} - {"right"})
    planned = play(ansible, "backup", inventory, "--check", "--limit", "right,bare", status=2)
    assert any(re.fullmatch(r"right +home +0 .* plan", line) for line in table(planned))
    assert not list((nas.repository / "manifests").rglob("*.json"))

    made = play(ansible, "backup", inventory, "--extra-vars", "zrb_serial=4 zrb_throttle=3", status=2)
    (manifest,) = (nas.repository / "manifests").rglob("*.json")
    lines = table(made)
    assert failed_hosts(made) == failing
    failed_rows = sorted(line.split()[0] for line in lines if line.endswith("FAILED"))
    assert failed_rows == sorted(host[:14] for host in failing)
    (row,) = (number for number, line in enumerate(lines) if line.startswith("right"))
    assert re.fullmatch(r"right +home +0 +\d+\.\d\d [KM]B +\d+ s +\d+\.\d\d [KM]B/s ok", lines[row])
    assert lines[row + 1].split() == [manifest.stem, "of", nas.dataset]
    refusals = made[made.index("Fail for each host") :]
    words = {
        "bare": "/nonexistent/zrb",
        "mistaken": "config.yaml does not exist",
        "a-name-of-many-letters": "no-such-task",
        "no-such-level": "zrb_level",
        "empty-survey": "zrb_level",
        "unreachable": "could not be reached",
    }
    for host, word in words.items():
        assert re.search(rf"fatal: \[{host}\].*{word}", refusals), refusals

    one = ["--limit", "right", "--extra-vars", "zrb_level=1 zrb_tasks=home"]
    alone = play(ansible, "backup", inventory, *one, status=0)
    assert [line.split()[2] for line in table(alone) if line.startswith("right")] == ["1"]

    asked = play(ansible, "status", inventory, status=2)
    assert failed_hosts(asked) == ["impatient", "mistaken", "unclear", "unreachable"]
    lines = table(asked)
    assert any(re.fullmatch(r"right +\S+ +1 .* 0 h ok", line) for line in lines), lines
    assert any(re.fullmatch(r"impatient +\S+ +1 .* 0 h STALE", line) for line in lines), lines
    assert re.search(rf"fatal: \[impatient\].*{nas.dataset}", asked[asked.index("Fail for each host") :])
