# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page "Run it from AWX": followed with the modules of awx.awx, and each job template run as AWX would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.page import blocks_of
from tests.docs.stage import Stage
from tests.fakes.awx_job import Launch, events, kept, write_job
from tests.fakes.controller import Controller, served
from tests.fakes.controller_rules import Refused, answered
from tests.fixtures.file_tree import compare, describe_tree
from tests.integration.modules.conftest import BIN, ROOT, Ansible, Nas, ansible_in
from tests.integration.zfs_fixtures import command

PAGE = ROOT / "docs/awx.md"
CANARY = "wJalrXUtnFEMI/CANARY/bPxRfiCYSECRET"
HOST = "zrbtest-nas"
"""The host of the inventory, which the configuration calls so too."""


@pytest.fixture(scope="module")
def awx_collection() -> Path:
    """Where the collection awx.awx is."""
    got = subprocess.run([ROOT / "tests/setup/awx-collection"], capture_output=True, text=True, check=False)
    if got.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no collection awx.awx: {got.stderr}")
    return Path(got.stdout.strip())


@pytest.fixture(scope="module")
def controller(awx_collection: Path) -> Iterator[tuple[Controller, str]]:
    """An AWX with nothing in it, and its address."""
    manifest = json.loads((awx_collection / "ansible_collections/awx/awx/MANIFEST.json").read_text())
    playbooks = {str(path.relative_to(ROOT)) for path in (ROOT / "playbooks").glob("*.yml")}
    stored = Controller(playbooks, version=manifest["collection_info"]["version"])
    with served(stored) as url:
        yield stored, url


@pytest.fixture(scope="module")
def administrator(
    controller: tuple[Controller, str], awx_collection: Path, collections_path: str, tmp_path_factory: Any
) -> Ansible:
    """Who follows the page."""
    made = ansible_in(tmp_path_factory.mktemp("awx") / "ansible", f"{collections_path}:{awx_collection}")
    stored, url = controller
    made.environment.update(CONTROLLER_HOST=url, CONTROLLER_OAUTH_TOKEN=stored.token, ANSIBLE_PIPELINING="1")
    return made


@pytest.fixture(scope="module")
def awx(controller: tuple[Controller, str], administrator: Ansible) -> Controller:
    """The AWX that the page leaves behind."""
    places: dict[str, Any] = {
        "ansible-builder build --tag registry.example.net/nas/zrb-fleet:1": "ansible-builder create"
    }
    Stage(administrator.directory, places, administrator.environment).play(PAGE)
    return controller[0]


@pytest.fixture
def restored(awx: Controller) -> Iterator[Controller]:
    """The same, which is put back after a test."""
    before = everything(awx)
    yield awx
    awx.stored, awx.surveys, awx.lists = before


def set_up(administrator: Ansible, *words: str) -> str:
    return administrator.run("ansible-playbook", "zrb.fleet.awx", "-e", "@awx.yml", *words)


def everything(awx: Controller) -> Any:
    return deepcopy((awx.stored, awx.surveys, awx.lists))


def test_a_second_run_changes_nothing(awx: Controller, administrator: Ansible) -> None:
    before = everything(awx)
    assert "changed=0 " in set_up(administrator)
    assert everything(awx) == before


def test_credentials_are_used_by_their_type_and_their_secrets_not_shown(
    restored: Controller, administrator: Ansible
) -> None:
    awx = restored

    def credential(kind: str, **inputs: str) -> dict[str, Any]:
        entry = {"name": f"my {kind}", "credential_type": kind, "organization": "Default"}
        return {**entry, **({"inputs": inputs, "update_secrets": False} if inputs else {})}

    entries = [
        credential("Machine", username="root", ssh_key_data=CANARY),
        credential("Vault", vault_password=CANARY),
        credential("Source Control", password=CANARY),
        credential("Container Registry"),
        credential("zrb.fleet repository", access_key="AKIACANARY", secret_key=CANARY),
        credential("zrb.fleet restore key", private_key=CANARY),
    ]
    other = {"controller_credentials": entries, "zrb_awx_backup_schedules": True, "zrb_hosts": "vault"}
    other |= {"controller_inventories": [], "controller_inventory_sources": [], "controller_workflows": []}
    (administrator.directory / "other.json").write_text(json.dumps(other))
    said = set_up(administrator, "-e", "@other.json", "-vvv")
    assert CANARY not in said

    def credentials_of(template: str) -> set[str]:
        item = awx.named("job_templates", template)
        return {one["name"] for one in awx.listed(item, "credentials", "credentials")}

    login = {"my Machine", "my Vault"}
    for template in ("status", "backup", "verify", "restore plan"):
        assert credentials_of(f"zrb.fleet {template}") == login
    assert credentials_of("zrb.fleet deploy") == {*login, "my zrb.fleet repository"}
    assert credentials_of("zrb.fleet restore") == {*login, "my zrb.fleet repository", "my zrb.fleet restore key"}
    used = {item["name"]: item["id"] for item in awx.stored["credentials"].values()}
    assert awx.named("projects", "zrb.fleet inventory")["credential"] == used["my Source Control"]
    assert awx.named("projects", "zrb.fleet")["credential"] is None
    assert awx.named("execution_environments", "zrb.fleet")["credential"] == used["my Container Registry"]
    assert all(schedule["enabled"] for schedule in awx.stored["schedules"].values())
    assert json.loads(awx.named("job_templates", "zrb.fleet backup")["extra_vars"])["zrb_hosts"] == "vault"


def test_of_what_is_not_given_the_name_is_said(administrator: Ansible) -> None:
    said = administrator.run("ansible-playbook", "zrb.fleet.awx", "-e", "zrb_awx_image=x", status=2)
    assert "zrb_awx_inventory_url" in said


def test_every_failure_is_told_and_no_backup_runs_beside_another(awx: Controller) -> None:
    (workflow,) = awx.stored["workflow_job_templates"].values()
    for template in (*awx.stored["job_templates"].values(), workflow):
        (told,) = awx.listed(template, "notification_templates_error", "notification_templates")
        assert told["name"] == "Backups need attention"
    assert awx.listed(workflow, "notification_templates_approvals", "notification_templates") == [told]
    assert not awx.named("job_templates", "zrb.fleet backup")["allow_simultaneous"]


def test_the_context_of_the_image_holds_the_collection_and_all_its_libraries(
    awx: Controller, administrator: Ansible
) -> None:
    context = administrator.directory / "context"
    assert "collections:\n- zrb.fleet\n" in (context / "_build/requirements.yml").read_text()
    collections = administrator.environment["ANSIBLE_COLLECTIONS_PATH"].partition(":")[0]
    found = yaml.safe_load(administrator.run("ansible-builder", "introspect", collections))["python"]
    lines = (ROOT / "meta/ee-requirements.txt").read_text().splitlines()
    # PyYAML comes with Ansible itself, so that it is not asked for.
    wanted = [line for line in lines if not line.startswith(("#", "PyYAML"))]
    assert sorted(line.partition("#")[0].strip() for line in found) == sorted(wanted)


class Jobs:
    """AWX and its execution node."""

    def __init__(self, awx: Controller, ansible: Ansible) -> None:
        self.awx = awx
        self.ansible = ansible
        self.count = 0

    def run(self, launch: Launch, *, status: str = "successful") -> list[dict[str, Any]]:
        """Run a job; its events. Nothing that AWX keeps of it may hold a secret."""
        self.count += 1
        directory = self.ansible.directory / f"job{self.count}"
        playbook = write_job(self.awx, launch, directory, project=ROOT)
        words = [str(BIN / "ansible-runner"), "run", str(directory), "--playbook", playbook, "--ident", "1"]
        environment = {**os.environ, **self.ansible.environment, "PATH": f"{BIN}:{os.environ['PATH']}"}
        del environment["ANSIBLE_INVENTORY"]
        subprocess.run(words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        files = kept(directory)
        assert files["artifacts/1/status"] == status, files["artifacts/1/stdout"]
        for inputs in launch.inputs.values():
            for secret in (value for name, value in inputs.items() if name != "access_key"):
                assert [name for name, text in files.items() if secret in text] == []
        return events(directory)


@pytest.fixture
def jobs(awx: Controller, ansible: Ansible) -> Jobs:
    ansible.environment["ANSIBLE_PIPELINING"] = "1"
    return Jobs(awx, ansible)


def hosts(**variables: Any) -> dict[str, Any]:
    """An inventory as AWX hands it to a job."""
    # Whoever runs the tests stays who that is.
    own = {"ansible_connection": "local", "ansible_become": False, "ansible_python_interpreter": sys.executable}
    return {"nas": {"hosts": [HOST]}, "_meta": {"hostvars": {HOST: own | variables}}}


def tasks_of(told: list[dict[str, Any]], event: str) -> dict[str, Any]:
    """The results of the tasks that ended so, by their names."""
    return {one["event_data"]["task"]: one["event_data"]["res"] for one in told if one["event"] == event}


def table(told: list[dict[str, Any]]) -> str:
    """What a job shows at its end."""
    return "\n".join(tasks_of(told, "runner_on_ok")["Show all hosts"]["msg"])


@pytest.mark.zfs
def test_a_job_backs_up_and_another_finds_the_backup(jobs: Jobs, nas: Nas) -> None:
    inventory = hosts(zrb_command=str(BIN / "zrb"), zrb_config=str(nas.config), zrb_user="root")
    answers = {"zrb_level": "0", "zrb_tasks": "", "zrb_strict_level": "false", "zrb_throttle": 2}
    backup = Launch("zrb.fleet backup", inventory, answers)
    assert re.search(rf"^{HOST} +home +0 .* plan$", table(jobs.run(replace(backup, job_type="check"))), re.MULTILINE)
    missing = jobs.run(Launch("zrb.fleet status", inventory), status="failed")
    assert "Fail for each host that has failed" in tasks_of(missing, "runner_on_failed")

    jobs.run(backup)
    (manifest,) = (nas.repository / "manifests").rglob("*.json")
    assert manifest.stem in table(jobs.run(Launch("zrb.fleet status", inventory)))


def in_order(awx: Controller, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a workflow of which each follows the success of the one before it."""
    stored = awx.stored["workflow_job_template_nodes"].values()
    nodes = [item for item in stored if item["workflow_job_template"] == workflow["id"]]
    follows = {node["id"]: awx.listed(node, "success_nodes", "workflow_job_template_nodes") for node in nodes}
    followers = [node["id"] for after in follows.values() for node in after]
    (first,) = (node for node in nodes if node["id"] not in followers)
    path = [first]
    while after := follows[path[-1]["id"]]:
        path += after
    assert len(path) == len(nodes)
    return path


@pytest.mark.zfs
def test_the_workflow_restores_what_was_planned_once_it_is_approved(jobs: Jobs, nas: Nas, tmp_path: Path) -> None:
    awx = jobs.awx
    inventory = hosts(zrb_command=str(BIN / "zrb"), zrb_config=str(nas.config), zrb_user="root", zrb_signer=nas.signer)
    jobs.run(Launch("zrb.fleet backup", inventory, {"zrb_level": "0"}))
    files = describe_tree(nas.files)

    (secret,) = (line for line in nas.age_key.read_text().splitlines() if line.startswith("AGE-SECRET-KEY-"))
    inputs = {
        "zrb.fleet restore key": {"private_key": secret},
        "zrb.fleet repository": {"access_key": "AKIACANARY", "secret_key": CANARY},
    }
    (workflow,) = awx.stored["workflow_job_templates"].values()
    target = f"{nas.restore}/approved"
    survey = awx.survey_of(workflow["id"])
    said = answered(survey, {"zrb_hosts": HOST, "zrb_target": target})
    approved = False
    for node in in_order(awx, workflow):
        if node["unified_job_template"] in awx.stored["workflow_approval_templates"]:
            assert target not in command("zfs", "list", "-H", "-o", "name").splitlines()
            approved = True
            continue
        template = awx.stored["job_templates"][node["unified_job_template"]]
        asked = {question["variable"] for question in awx.survey_of(template["id"])["spec"]}
        answers = {name: value for name, value in said.items() if name in asked}
        # The key is there once it is needed, and not before.
        jobs.run(Launch(template["name"], inventory, answers, inputs if approved else {}))

    restored = f"{target}/{nas.dataset.partition('/')[2]}"
    command("zfs", "set", "canmount=on", restored)
    command("zfs", "set", f"mountpoint={tmp_path / 'place'}", restored)
    assert compare(files, describe_tree(tmp_path / "place")) == []


def test_a_job_deploys_with_secrets_that_nothing_shows(jobs: Jobs) -> None:
    (block,) = (block for block in blocks_of(PAGE) if block.path and block.path.startswith("inventory/"))
    task = {"name": "home", "pool": "tank", "dataset": "home"}
    recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    inventory = hosts(
        **yaml.safe_load(block.text),
        config_settings={"age_recipients": [recipient], "s3": {"bucket": "b"}, "tasks": [task]},
        schedule_state="absent",
    )
    deploy = Launch("zrb.fleet deploy", inventory, job_type="check")
    with pytest.raises(Refused, match="secret_key"):
        jobs.run(deploy)
    secret = {"access_key": "AKIACANARY", "secret_key": CANARY}
    written = jobs.run(replace(deploy, inputs={"zrb.fleet repository": secret}))
    assert "Write the credentials" in tasks_of(written, "runner_on_ok")


@pytest.mark.parametrize("answers", [{"zrb_level": "5"}, {"zrb_level": 0}, {"zrb_user": "root"}, {"zrb_throttle": -1}])
def test_a_job_is_not_started_with_answers_that_the_survey_does_not_allow(
    awx: Controller, tmp_path: Path, answers: dict[str, Any]
) -> None:
    with pytest.raises(Refused, match=next(iter(answers))):
        write_job(awx, Launch("zrb.fleet backup", hosts(), answers), tmp_path / "job", project=ROOT)
