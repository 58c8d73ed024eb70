# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the roles say about themselves in several places says the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.role_readme import ROLES, readme_of, specification

KINDS = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict}
each_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)


def defaults_of(role: Path) -> dict[str, Any]:
    found = yaml.safe_load((role / "defaults/main.yml").read_text())
    assert isinstance(found, dict)
    return found


@each_role
def test_defaults_and_specification_agree(role: Path) -> None:
    options = specification(role)["options"]
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults_of(role)
    for name, option in options.items():
        assert name.startswith(f"{role.name}_")
        assert ("default" in option) != bool(option.get("required")), name
        default = option.get("default")
        templated = isinstance(default, str) and "{{" in default
        assert default is None or templated or isinstance(default, KINDS[option["type"]]), name
        assert default is None or templated or default in option.get("choices", [default]), name


@each_role
def test_the_readme_is_what_the_specification_says(role: Path) -> None:
    """``make readmes`` writes it anew."""
    assert (role / "README.md").read_text(encoding="utf-8") == readme_of(role)


@each_role
def test_every_state_has_its_tasks(role: Path) -> None:
    for state in specification(role)["options"][f"{role.name}_state"]["choices"]:
        assert (role / f"tasks/{state}.yml").exists()


@each_role
def test_internal_names_bear_the_name_of_the_role(role: Path) -> None:
    text = "".join(path.read_text() for path in role.rglob("*.yml"))
    assert {name for name in re.findall(r"\b__[a-z]\w*", text) if not name.startswith(f"__{role.name}_")} == set()


@each_role
def test_the_metadata_describe_the_role_as_the_specification_does(role: Path) -> None:
    """Galaxy shows the metadata."""
    metadata = yaml.safe_load((role / "meta/main.yml").read_text())
    assert metadata["galaxy_info"]["description"] == specification(role)["short_description"]
