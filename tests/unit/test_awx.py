# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What zrb.fleet.awx sets up speaks of playbooks and variables that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


class _Loader(yaml.SafeLoader):
    """Knows the tag of a text in which Ansible is to see no template."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))  # type: ignore[arg-type]
VARIABLES: dict[str, Any] = yaml.load((ROOT / "playbooks/vars/awx.yml").read_text(), Loader=_Loader)
TEMPLATES: list[dict[str, Any]] = VARIABLES["controller_templates"]
NAMES = [template["name"] for template in TEMPLATES]


@pytest.mark.parametrize("template", TEMPLATES, ids=NAMES)
def test_a_template_runs_a_playbook_that_reads_what_the_template_asks_for(template: dict[str, Any]) -> None:
    path = ROOT / template["playbook"]
    assert path.exists(), f"{template['name']} runs {path.name}, which is not there"
    assert template["name"] == f"zrb.fleet {path.stem}"
    for question in template.get("survey_spec", {}).get("spec", ()):
        assert question["type"] != "password"
        assert re.search(rf"\b{question['variable']}\b", path.read_text()), question


def test_the_project_is_at_the_version_of_the_collection() -> None:
    project = VARIABLES["controller_projects"][0]
    assert project["scm_branch"] == VERSION


def test_every_list_is_read_with_all_keys_of_its_entries() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/awx.yml").read_text())
    tasks = {task["loop"]: task["args"] for task in play["tasks"] if "loop" in task}
    lists = {name: entries for name, entries in VARIABLES.items() if name.startswith("controller_")}
    assert {f"{{{{ {name} }}}}" for name in lists} == tasks.keys()
    for name, entries in lists.items():
        read = tasks[f"{{{{ {name} }}}}"]
        assert all(entry.keys() <= read.keys() for entry in entries), name
        for key, value in read.items():
            assert value.startswith(f"{{{{ item.{key}"), (name, key, value)


def test_an_injector_uses_every_input() -> None:
    for kind in VARIABLES["controller_credential_types"]:
        inputs = {one["id"] for one in kind["inputs"]["fields"]}
        texts = [text for texts in kind["injectors"].values() for text in texts.values()]
        assert inputs <= set(re.findall(r"{{ (\w+) }}", " ".join(texts)))


def test_what_a_schedule_or_template_names_is_set_up() -> None:
    assert {schedule["unified_job_template"] for schedule in VARIABLES["controller_schedules"]} <= set(NAMES)
    (inventory,) = VARIABLES["controller_inventories"]
    projects = [project["name"] for project in VARIABLES["controller_projects"]]
    (environment,) = VARIABLES["controller_execution_environments"]
    for template in TEMPLATES:
        assert template["inventory"] == inventory["name"]
        assert template["project"] == projects[0]
        assert template["execution_environment"] == environment["name"]
    (source,) = VARIABLES["controller_inventory_sources"]
    assert (source["inventory"], source["source_project"]) == (inventory["name"], projects[1])


def test_the_page_has_all_variables_and_all_names() -> None:
    page = (ROOT / "docs/awx.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    for name, default in VARIABLES.items():
        if name.startswith("zrb_") and name not in {"zrb_awx_login", "zrb_awx_template", "zrb_awx_project_url"}:
            assert told[name] == f"`{str(default).lower() if isinstance(default, bool) else default}`", name
    for name in NAMES:
        assert f"`{name}`" in page
