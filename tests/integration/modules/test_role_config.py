# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role config, applied to directories instead of /etc: whom the configuration trusts, and what is refused.

The whole of it is applied to a host in tests/fleet.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from zrb.seal.signing import SigningKey

from tests.integration.modules.conftest import Ansible
from tests.integration.modules.test_playbooks import failed_hosts

SETTINGS = {"local": {"path": "/nonexistent"}}
FORMER = [SigningKey.generate().public for _key in range(2)]
GOOD = "aws_access_key_id = AKIAGOOD\n"
HALVES: dict[str, dict[str, Any]] = {
    "empty-access": {"access_key": "", "secret_key": "secret"},
    "empty-secret": {"access_key": "AKIA", "secret_key": ""},
    "empty": {"access_key": "", "secret_key": ""},
    "nothing-but-token": {"session_token": "token"},
}
HOSTS: dict[str, dict[str, Any]] = {
    "right": {"zrb_signer": FORMER[0]},
    # A job of AWX reads the inventory from Git, and keeps nothing in it.
    "job": {"config_host_vars": "", "zrb_former_signers": FORMER[:1], "zrb_signer": FORMER[1]},
    "hostile": {},
    **{host: {"config_credentials": half} for host, half in HALVES.items()},
}


def program(path: Path, lines: str) -> Path:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def test_a_host_is_believed_no_key_that_is_none_and_loses_no_former_one(ansible: Ansible, tmp_path: Path) -> None:
    zrb = program(tmp_path / "zrb", "echo '{\"checks\": []}'")
    lie = r's/"public_key": "[^"]*"/"public_key": "zrbsign1a\\nansible_connection: local"/'
    liar = program(tmp_path / "python", f"{sys.executable} \"$@\" | sed '{lie}'")
    hosts = {
        host: {"config_path": str(tmp_path / host / "config.yaml"), "config_settings": SETTINGS, **variables}
        for host, variables in HOSTS.items()
    }
    hosts["hostile"]["ansible_python_interpreter"] = str(liar)
    for host in HOSTS:
        (tmp_path / host).mkdir()
        (tmp_path / host / "credentials").write_text(GOOD)
    inventory = tmp_path / "inventory" / "hosts.yml"
    inventory.parent.mkdir()
    common = {"config_command": str(zrb), "ansible_python_interpreter": sys.executable}
    inventory.write_text(yaml.safe_dump({"nas": {"hosts": hosts, "vars": common}}))
    plays = [{"hosts": "nas", "gather_facts": False, "roles": ["zrb.fleet.config"]}]
    del ansible.environment["ANSIBLE_PYTHON_INTERPRETER"]  # it would count before the one of the host

    said = ansible.run_playbook(plays, "--inventory", str(inventory), status=2)
    assert failed_hosts(said) == sorted({*HALVES, "hostile"})
    assert re.search(r"fatal: \[hostile\].*no such key", said)
    kept = {path.parent.name: yaml.safe_load(path.read_text()) for path in inventory.parent.rglob("zrb_signer.yml")}
    assert kept["right"]["zrb_former_signers"] == FORMER[:1] != [kept["right"]["zrb_signer"]]
    assert kept.keys() == {"right"}
    trusted = {
        host: yaml.safe_load((tmp_path / host / "config.yaml").read_text())["trusted_signers"]
        for host in ("right", "job")
    }
    assert trusted == {"right": FORMER[:1], "job": FORMER}
    for host in HALVES:
        assert re.search(rf"fatal: \[{host}\].*config_credentials", said)
        assert (tmp_path / host / "credentials").read_text() == GOOD
