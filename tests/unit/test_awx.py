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
NODES = "simplified_workflow_nodes"
OWN = {f"zrb_awx_{name}" for name in ("login", "repository", "restore_key", "template", "project_url")}
"""Variables that are nobody else's to set, or whose value the page does not repeat."""


@pytest.mark.parametrize("template", TEMPLATES, ids=NAMES)
def test_a_template_runs_a_playbook_that_reads_what_the_template_asks_for(template: dict[str, Any]) -> None:
    path = ROOT / template["playbook"]
    assert path.exists(), f"{template['name']} runs {path.name}, which is not there"
    assert template["name"].startswith(f"zrb.fleet {path.stem}")
    text = path.read_text()
    text += "".join((path.parent / tasks).read_text() for tasks in re.findall(r"tasks/\w+\.yml", text))
    for question in template.get("survey_spec", {}).get("spec", ()):
        assert question["type"] != "password"
        assert re.search(rf"\b{question['variable']}\b", text), question


def test_the_project_is_at_the_version_of_the_collection() -> None:
    project = VARIABLES["controller_projects"][0]
    assert project["scm_branch"] == VERSION


def test_every_list_is_read_with_all_keys_of_its_entries() -> None:
    (play,) = yaml.safe_load((ROOT / "playbooks/awx.yml").read_text())
    read: dict[str, set[str]] = {}
    for task in (task for task in play["tasks"] if "loop" in task):
        name, nodes = re.match(r"{{ (controller_\w+)( \| subelements)?", task["loop"]).groups()  # type: ignore[union-attr]
        read.setdefault("nodes" if nodes else name, set()).update(task["args"])
        for key, value in task["args"].items():
            assert re.search(rf"\bitem\.([01]\.)?({key}|name)\b", value), (name, key, value)
    lists = {name: entries for name, entries in VARIABLES.items() if name.startswith("controller_")}
    lists["nodes"] = [node for entry in lists["controller_workflows"] for node in entry[NODES]]
    assert lists.keys() == read.keys()
    for name, entries in lists.items():
        assert all(entry.keys() - {NODES} <= read[name] for entry in entries), name


def test_an_injector_uses_every_input() -> None:
    for kind in VARIABLES["controller_credential_types"]:
        inputs = {one["id"] for one in kind["inputs"]["fields"]}
        texts = [text for texts in kind["injectors"].values() for text in texts.values()]
        assert inputs <= set(re.findall(r"{{ (\w+) }}", " ".join(texts)))
        assert ("file" in kind["injectors"]) == ("{{ tower.filename }}" in texts)


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


def test_a_workflow_restores_only_what_was_planned_and_approved() -> None:
    (workflow,) = VARIABLES["controller_workflows"]
    nodes = workflow[NODES]
    assert [node["identifier"] for node in nodes] == ["plan", "approval", "restore", "verify"]
    assert [node.get("success_nodes", []) for node in nodes] == [["approval"], ["restore"], ["verify"], []]
    assert [node["identifier"] for node in nodes if "approval_node" in node] == ["approval"]
    runs = {node["identifier"]: node.get("unified_job_template") for node in nodes}
    templates = {template["name"]: template for template in TEMPLATES}
    plan, restore, verify = (templates[runs[name]] for name in ("plan", "restore", "verify"))
    assert (plan["job_type"], plan["playbook"]) == ("check", restore["playbook"])
    assert "ask_job_type_on_launch" not in plan
    assert plan["survey_spec"] == restore["survey_spec"] == workflow["survey_spec"]
    # What the workflow is not asked for, none of its jobs would be told.
    asked = {question["variable"] for question in workflow["survey_spec"]["spec"]}
    for question in verify["survey_spec"]["spec"]:
        assert question["variable"] in asked or question["default"] or not question["required"]
    assert "zrb_hosts" in asked & {question["variable"] for question in verify["survey_spec"]["spec"]}


def test_the_page_has_all_variables_and_all_names() -> None:
    page = (ROOT / "docs/awx.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page, re.MULTILINE))
    for name, default in VARIABLES.items():
        if name.startswith("zrb_") and name not in OWN:
            assert told[name] == f"`{str(default).lower() if isinstance(default, bool) else default}`", name
    for name in (*NAMES, *(workflow["name"] for workflow in VARIABLES["controller_workflows"])):
        assert f"`{name}`" in page
