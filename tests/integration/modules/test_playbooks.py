# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks backup, status and verify over hosts of which most fail, on a real ZFS."""

from __future__ import annotations

import json
import os
import re
import shutil
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
    return write_inventory(tmp_path, INVENTORY, common)


def write_inventory(directory: Path, hosts: dict[str, dict[str, Any]], common: dict[str, Any]) -> Path:
    """An inventory of ``hosts``, all of them in the group that playbooks serve."""
    path = directory / "inventory.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": hosts, "vars": common}}))
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


OWNER = 54_321
"""A user who need not exist."""


def test_verify_serves_all_and_tells_what_is_damaged(ansible: Ansible, nas: Nas, tmp_path: Path) -> None:
    ansible.play([{"zrb.fleet.zfs_backup": {"config": str(nas.config), "task": "home", "level": 0}}])
    damaged = shutil.copytree(nas.repository, tmp_path / "damaged")
    part = min(damaged.rglob("*.age"))
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    config = tmp_path / "damaged.yaml"
    changes = {"local": {"enabled": True, "path": str(damaged)}, "base_dir": str(tmp_path / "other-state")}
    config.write_text(yaml.safe_dump(yaml.safe_load(nas.config.read_text()) | changes))
    config.chmod(0o600)
    state = nas.directory / "state"
    for path in (state, *state.rglob("*")):
        os.chown(path, OWNER, OWNER)
    hosts = {
        "unreachable": INVENTORY["unreachable"],
        "mistaken": INVENTORY["mistaken"],
        "damaged": {"zrb_config": str(config)},
        "no-such-depth": {"zrb_depth": "decrypt"},
        "a-name-of-many-letters": {"zrb_tasks": "home, no-such-task"},
        "right": {},
    }
    inventory = write_inventory(tmp_path, hosts, {"zrb_config": str(nas.config), "zrb_depth": "checksum"})

    said = play(ansible, "verify", inventory, "--extra-vars", "zrb_serial=4 zrb_throttle=2", status=2)
    assert failed_hosts(said) == sorted({*hosts} - {"right"})
    rows = sorted(re.sub(" +", " ", line) for line in table(said)[1:])
    assert rows == [
        "a-name-of-many home 1 checksum 0 ok",
        "a-name-of-many no-such-task - - - FAILED",
        "damaged all 1 checksum 1 FAILED",
        "mistaken - - - - FAILED",
        "no-such-depth - - - - FAILED",
        "right all 1 checksum 0 ok",
        "unreachable - - - - FAILED",
    ]
    refusals = said[said.index("Fail for each host") :]
    words = {
        "unreachable": "could not be reached",
        "damaged": f"{nas.dataset}: .*{part.name}",
        "no-such-depth": "zrb_depth",
    }
    for host, word in words.items():
        assert re.search(rf"fatal: \[{host}\].*{word}", refusals), refusals
    assert re.search(r"right +: .* changed=0 ", said), said
    assert list((state / "jobs").iterdir())
    assert {path.stat().st_uid for path in state.rglob("*")} == {OWNER}

    checked = play(ansible, "verify", inventory, "--check", "--limit", "right", status=0)
    assert table(checked)[1].split() == ["right", "all", "1", "checksum", "0", "ok"]
    assert {path.stat().st_uid for path in state.rglob("*")} == {OWNER}
