# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection says about itself in several places says the same everywhere."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
REPOSITORY_MODULES = ["zfs_backup", "zfs_backup_info", "zfs_restore"]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_collection_has_the_version_of_the_engine() -> None:
    assert load("galaxy.yml")["version"] == VERSION


def test_action_groups_hold_their_modules() -> None:
    groups = load("meta/runtime.yml")["action_groups"]
    assert groups["all"] == MODULES
    assert groups["repository"] == REPOSITORY_MODULES


def test_what_is_not_part_of_the_collection_stays_out_of_its_archive() -> None:
    ignored = load("galaxy.yml")["build_ignore"]
    assert {".venv", ".cache", ".demo", "tests", "playbooks/demo.yml", "playbooks/demo"} <= set(ignored)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_thin(module: str) -> None:
    code = (ROOT / "plugins/modules" / f"{module}.py").read_text().partition("\nRETURN = ")[2].partition('\n"""\n')[2]
    imports = [line.split()[1] for line in code.splitlines() if line.startswith(("from ", "import "))]
    layer, engine = "..module_utils._ansible.", "..module_utils._engine."
    assert all(name.startswith((layer, f"{engine}errors", f"{engine}run.")) for name in imports)
    body = code.partition("def main() -> None:")[2].partition("\nif __name__")[0]
    assert len(body.strip().splitlines()) <= 15


def test_requirements_of_the_package_are_those_that_modules_ask_for() -> None:
    from plugins.module_utils._ansible.requirements import LIBRARIES

    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    asked = {requirement.replace(" ", "").lower() for requirement in LIBRARIES.values()}
    assert asked <= {requirement.replace(" ", "").lower() for requirement in declared}
    controller = (ROOT / "meta/ee-requirements.txt").read_text().splitlines()[1:]
    assert controller == list(LIBRARIES.values())
