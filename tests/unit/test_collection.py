# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the collection says about itself in several places says the same everywhere."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.errors import UsageError
from zrb.seal.age_keys import check_recipient
from zrb.seal.signing import check_signer
from zrb.version import VERSION

from plugins.module_utils._ansible import arguments
from plugins.module_utils._ansible.requirements import LIBRARIES, PYTHON

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
SPECS = {
    "age_keygen": arguments.KEY_FILE,
    "cost_info": arguments.COST_INFO,
    "job_info": arguments.JOB_INFO,
    "s3_lifecycle": arguments.LIFECYCLE,
    "signing_keygen": arguments.KEY_FILE,
    "zfs_backup": arguments.BACKUP,
    "zfs_backup_info": arguments.BACKUP_INFO,
    "zfs_cleanup": arguments.CLEANUP,
    "zfs_restore": arguments.RESTORE,
    "zfs_snapshot": arguments.SNAPSHOT,
    "zfs_verify": arguments.VERIFY,
}


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_collection_has_the_version_of_the_engine() -> None:
    assert load("galaxy.yml")["version"] == VERSION


GROUPS = {"config": {"config"}, "s3": set(arguments.S3.options), "repository": set(arguments.REPOSITORY.options)}
"""What a group of modules is for: the options that can be set for all of its members."""


def test_an_action_group_holds_the_modules_that_have_all_its_options() -> None:
    groups = load("meta/runtime.yml")["action_groups"]
    assert groups.keys() == GROUPS.keys()
    for group, options in GROUPS.items():
        assert groups[group] == [module for module in MODULES if options <= set(SPECS[module].options)], group


def test_what_is_not_part_of_the_collection_stays_out_of_its_archive() -> None:
    ignored = load("galaxy.yml")["build_ignore"]
    assert {".venv", ".cache", ".demo", "tests", "playbooks/demo.yml", "playbooks/demo"} <= set(ignored)


@pytest.mark.parametrize("playbook", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_a_playbook_is_told_of_with_all_its_variables(playbook: str) -> None:
    text = (ROOT / f"playbooks/{playbook}.yml").read_text()
    page = (ROOT / "docs" / ("awx.md" if playbook == "awx" else "fleet.md")).read_text()
    variables = set(re.findall(r"\b(zrb_\w+): \{type: ", text))
    assert {variable for variable in variables if f"`{variable}`" not in page} == set()
    assert playbook == "demo" or f"| `zrb.fleet.{playbook}` |" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_thin(module: str) -> None:
    tree = ast.parse((ROOT / "plugins/modules" / f"{module}.py").read_text())
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(name == "__future__" or name.startswith("module_utils._ansible.") for name in names)
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert (main.end_lineno or 0) - main.lineno <= 12


def test_requirements_are_the_same_in_all_places() -> None:
    libraries = [str(library) for library in LIBRARIES.values()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.lower() for requirement in project["dependencies"]}
    assert {library.replace(" ", "").lower() for library in libraries} <= declared
    python = ".".join(map(str, PYTHON))
    assert project["requires-python"] == f">={python}"
    assert load("tests/config.yml")["modules"]["python_requires"] == f">={python}"
    assert (ROOT / "meta/ee-requirements.txt").read_text().splitlines()[1:] == libraries


def documentation(module: str, name: str) -> Any:
    """One of the YAML documents in a module's file."""
    for statement in ast.parse((ROOT / "plugins/modules" / f"{module}.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return yaml.safe_load(ast.literal_eval(statement.value))
    raise AssertionError(f"{module} has no {name}")


@pytest.mark.parametrize("module", MODULES)
def test_what_a_failure_returns_is_documented(module: str) -> None:
    returned = documentation(module, "RETURN")
    for key in UsageError("x", next_step="y").facts():
        assert "failure" in returned[key]["returned"], key


@pytest.mark.parametrize("module", MODULES)
def test_keys_that_are_shown_could_be_keys(module: str) -> None:
    text = (ROOT / "plugins/modules" / f"{module}.py").read_text()
    for key in re.findall(r"\bage1\w{5,}\b(?!…)", text):
        check_recipient(key)
    for key in re.findall(r"\bzrbsign1\w{5,}\b(?!…)", text):
        check_signer(key)


@pytest.mark.parametrize("fragment", sorted((ROOT / "plugins/doc_fragments").glob("*.py")), ids=lambda path: path.stem)
def test_a_default_that_ansible_does_not_know_is_not_called_one(fragment: Path) -> None:
    """``ansible-doc`` shows "default: null" beside it."""
    assert "default is" not in fragment.read_text()
