# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``age_keygen`` and ``signing_keygen``: key files as a playbook sees them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.integration.modules.conftest import Ansible, Fail

KEYGENS = [("age_keygen", "age1pq1"), ("signing_keygen", "zrbsign1")]


def private_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("module", "public_prefix"), KEYGENS)
def test_a_key_is_made_once_and_told_in_public_only(
    ansible: Ansible, tmp_path: Path, module: str, public_prefix: str
) -> None:
    path = tmp_path / "test.key"
    checked, made, checked_again, made_again = ansible.quad(f"zrb.fleet.{module}", {"path": str(path)})

    assert (checked["changed"], made["changed"]) == (True, True)
    assert (checked_again["changed"], made_again["changed"]) == (False, False)
    assert checked["public_key"] is None
    assert made["public_key"].startswith(public_prefix)
    assert made["public_key"] == checked_again["public_key"] == made_again["public_key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    assert made["diff"]["before"] == {"path": str(path), "state": "absent"}
    assert made["diff"]["after"] == {"path": str(path), "state": "file", "public_key": made["public_key"]}
    assert "diff" not in made_again
    (secret,) = private_lines(path)
    assert secret not in str([checked, made, checked_again, made_again])


@pytest.mark.parametrize(("module", "public_prefix"), KEYGENS)
def test_permissions_are_those_that_are_asked_for(
    ansible: Ansible, tmp_path: Path, module: str, public_prefix: str
) -> None:
    """As Ansible's own modules for files have it: without ``mode`` a file that exists keeps its own."""
    path = tmp_path / "test.key"
    name = f"zrb.fleet.{module}"
    made, kept, checked, changed, again = ansible.play(
        [
            {name: {"path": str(path), "mode": "0400"}},
            {name: {"path": str(path)}, "diff": True},
            {name: {"path": str(path), "mode": "0600"}, "check_mode": True, "diff": True},
            {name: {"path": str(path), "mode": "0600"}, "diff": True},
            {name: {"path": str(path), "mode": "0600"}, "diff": True},
        ]
    )
    assert [result["changed"] for result in (made, kept, checked, changed, again)] == [True, False, True, True, False]
    assert checked["diff"] == changed["diff"]
    assert (changed["diff"]["before"]["mode"], changed["diff"]["after"]["mode"]) == ("0400", "0600")
    assert "diff" not in kept
    assert len({result["public_key"] for result in (made, kept, checked, changed, again)}) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("module", "public_prefix"), KEYGENS)
def test_a_key_that_others_can_read_is_told_and_can_be_closed(
    ansible: Ansible, tmp_path: Path, module: str, public_prefix: str
) -> None:
    path = tmp_path / "test.key"
    name = f"zrb.fleet.{module}"
    _made, _loosened, refused, checked, closed = ansible.play(
        [
            {name: {"path": str(path)}},
            {"ansible.builtin.file": {"path": str(path), "mode": "0644"}},
            {name: {"path": str(path)}},
            {name: {"path": str(path), "mode": "0600"}, "check_mode": True},
            {name: {"path": str(path), "mode": "0600"}},
        ]
    )
    assert refused["error"] == "KeyFileError"
    assert "0644" in refused["msg"]
    assert (checked["changed"], checked["public_key"]) == (True, None)
    assert closed["public_key"].startswith(public_prefix)


@pytest.mark.parametrize(("module", "other"), [("age_keygen", "signing_keygen"), ("signing_keygen", "age_keygen")])
def test_a_file_that_is_something_else_is_left_alone(ansible: Ansible, tmp_path: Path, module: str, other: str) -> None:
    path = tmp_path / "test.key"
    made, refused = ansible.play(
        [{f"zrb.fleet.{other}": {"path": str(path)}}, {f"zrb.fleet.{module}": {"path": str(path)}}]
    )
    content = path.read_text()
    assert made["changed"]
    assert refused["failed"]
    assert refused["error"] == "KeyFileError"
    assert refused["exit_code"] == 2
    assert str(path) in refused["msg"]
    assert path.read_text() == content
    (secret,) = private_lines(path)
    assert secret not in str(refused)


@pytest.mark.parametrize(("module", "public_prefix"), KEYGENS)
def test_a_missing_directory_is_named(failure: Fail, tmp_path: Path, module: str, public_prefix: str) -> None:
    path = tmp_path / "missing" / "test.key"
    refused = failure(f"zrb.fleet.{module}", {"path": str(path)})
    assert f"{path} " in refused["msg"] and "No such file" in refused["msg"]
    assert f"{path.parent} " in refused["msg"]


def test_a_classic_key_is_made_where_it_is_asked_for_and_kept_where_it_is_not(ansible: Ansible, tmp_path: Path) -> None:
    path = str(tmp_path / "classic.key")
    made, kept = ansible.play(
        [{"zrb.fleet.age_keygen": {"path": path, "type": "classic"}}, {"zrb.fleet.age_keygen": {"path": path}}]
    )
    assert len(made["public_key"]) == 62
    assert (made["changed"], kept["changed"]) == (True, False)
    assert kept["public_key"] == made["public_key"]
