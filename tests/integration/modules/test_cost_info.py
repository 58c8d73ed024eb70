# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``cost_info`` through ``ansible-playbook``. It needs no ZFS."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.fixtures.committed_repository import CommittedRepository
from tests.integration.modules.conftest import Ansible

COST = "zrb.fleet.cost_info"


def test_it_returns_what_the_command_says_and_warns_of_too_much(ansible: Ansible, tmp_path: Path) -> None:
    repository = CommittedRepository(tmp_path / "repository")
    for host in ("nas1", "nas2"):
        repository.commit(host=host)
    document = {
        "base_dir": str(tmp_path / "state"),
        "trusted_signers": [repository.signing_key.public],
        "local": {"path": str(repository.path)},
        "prices": {"STANDARD": 1e6},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document))
    config.chmod(0o600)
    options = {"config": str(config)}
    plain, all_hosts, one, wrong = ansible.play(
        [
            {COST: options},
            {COST: {**options, "most": 0.5}, "check_mode": True},
            {COST: {**options, "host": "nas2", "most": 1e9}},
            {COST: {**options, "most": -1}},
        ]
    )
    assert not any(result.get("changed") for result in (plain, all_hosts, one))
    assert plain["cost"] | {"exit_code": 4, "warnings": all_hosts["warnings"]} == all_hosts["cost"]
    assert (plain["cost"]["warnings"], plain["cost"]["exit_code"]) == ([], 0)
    assert one["cost"]["warnings"] == []
    assert 0 < one["cost"]["total"]["month_price"] < plain["cost"]["total"]["month_price"]
    assert (wrong["failed"], wrong["error"], wrong["exit_code"]) == (True, "UsageError", 2)
