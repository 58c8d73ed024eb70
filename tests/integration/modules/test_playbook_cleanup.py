# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook cleanup over hosts of which most fail. It needs no ZFS."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.run.keys import write_signing_key

from tests.fixtures.committed_repository import CommittedRepository
from tests.integration.modules.conftest import Ansible
from tests.integration.modules.test_playbooks import failed_hosts, play, table

INVENTORY: dict[str, dict[str, Any]] = {
    "unreachable": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
    "bare": {"zrb_command": "/nonexistent/zrb"},
    "unclear": {"zrb_max_removals": "many"},
    "careless": {},
    "allowed": {"zrb_max_removals": 7},
    "damaged": {},
    "manager": {"zrb_backups_of": "*"},
    "right": {},
}
KEPT = {"careless": 1, "allowed": 1}
"""Six of eight stay at the others, and so nobody has to allow that two go."""
ROWS = {
    ("careless", "tank/data", "7"),
    ("allowed", "tank/data", "7"),
    ("nas7", "tank/data", "2"),
    ("right", "tank/data", "2"),
    ("damaged", "tank/data", "2"),
    ("damaged", "tank/other", "-"),
    *((host, "-", "-") for host in ("unreachable", "bare", "unclear", "careless")),
}


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, CommittedRepository]:
    """One of each host, with eight backups; one dataset more on the damaged one."""
    made = {}
    for host in INVENTORY:
        made[host] = CommittedRepository(tmp_path / host / "repository")
        for _number in range(8):
            made[host].commit(host="nas7" if host == "manager" else host)
    made["damaged"].commit(host="damaged", dataset="tank/other")
    next((made["damaged"].path / "data/damaged/tank/other").rglob("*.age")).unlink()
    return made


@pytest.fixture
def inventory(repositories: dict[str, CommittedRepository], tmp_path: Path) -> Path:
    """A host for each repository, with a configuration of its own."""
    for host, repository in repositories.items():
        key = tmp_path / host / "signing.key"
        document = {
            "base_dir": str(tmp_path / host / "state"),
            "host": host,
            "age_public_key": repository.age_key[1],
            "signing_key": str(key),
            "trusted_signers": [repository.signing_key.public, write_signing_key(key).public],
            "local": {"enabled": True, "path": str(repository.path)},
            "retention": {"keep_last": KEPT.get(host, 6)},
            "tasks": [{"name": name, "pool": "tank", "dataset": name} for name in ("data", "other")],
        }
        config = tmp_path / host / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        config.chmod(0o600)
    common = {
        "zrb_command": str(Path(sys.executable).with_name("zrb")),
        "zrb_config": f"{tmp_path}/{{{{ inventory_hostname }}}}/config.yaml",
        "zrb_user": "root",
    }
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": INVENTORY, "vars": common}}))
    return path


def rows(said: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """What was freed, and the status, of each host, dataset and number of removed backups."""
    found = (re.split(r" {2,}| (?=\S+$)", line) for line in table(said)[1:])
    return {(host, dataset, removed): (freed, status) for host, dataset, removed, freed, status in found}


def test_cleanup_serves_all_and_fails_for_those_that_failed(
    ansible: Ansible, repositories: dict[str, CommittedRepository], inventory: Path
) -> None:
    def manifests(host: str) -> int:
        return len(list(repositories[host].path.rglob("manifests/**/*.json")))

    failing = ["bare", "careless", "damaged", "unclear", "unreachable"]
    planned = play(ansible, "cleanup", inventory, "--check", status=2)
    assert failed_hosts(planned) == failing
    assert all(status == ("FAILED" if row[2] == "-" else "plan") for row, (_freed, status) in rows(planned).items())
    assert rows(planned).keys() == ROWS
    assert {manifests(host) for host in INVENTORY} == {8, 9}

    made = play(ansible, "cleanup", inventory, "--extra-vars", "zrb_serial=3", status=2)
    assert failed_hosts(made) == failing
    told = rows(made)
    assert told.keys() == ROWS - {("careless", "tank/data", "7")}, "nothing goes of it"
    for row, (freed, status) in told.items():
        assert (
            (freed, status) == ("-", "FAILED")
            if row[2] == "-"
            else (re.match(r"\d+\.\d\d KB", freed) and status == "ok")
        )
    left = {host: manifests(host) for host in INVENTORY}
    assert left == dict.fromkeys(INVENTORY, 8) | {"allowed": 1, "manager": 6, "right": 6, "damaged": 7}
    refusals = made[made.index("Fail for each host") :]
    words = {
        "bare": "/nonexistent/zrb",
        "unclear": "zrb_max_removals",
        "careless": "7 of the 8 backups",
        "damaged": "tank/other: Parts of the backup",
        "unreachable": "could not be reached",
    }
    for host, word in words.items():
        assert re.search(rf"fatal: \[{host}\].*{word}", refusals), refusals
