# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The documentation of the modules is shown by ``ansible-doc``, and its examples run as they stand."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

import pytest
import yaml

from plugins.module_utils._ansible.requirements import LIBRARIES
from tests.integration.modules.conftest import ROOT, Ansible, Nas
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY, LocalBucket
from tests.integration.zfs_fixtures import command

IN_ORDER = [
    "age_keygen",
    "signing_keygen",
    "s3_lifecycle",
    "zfs_snapshot",
    "zfs_backup",
    "zfs_backup_info",
    "zfs_verify",
    "zfs_cleanup",
    "cost_info",
    "zfs_restore",
    "job_info",
]
"""All modules; what an example needs, those before it have made."""
ACTION_GROUPS = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]


def documented(module: str, name: str) -> str:
    """The string that is assigned to ``name`` in a module's file."""
    tree = ast.parse((ROOT / "plugins/modules" / f"{module}.py").read_text())
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = ast.literal_eval(statement.value) if statement.targets[0].id == name else None
            if isinstance(value, str):
                return value
    raise AssertionError(f"{module} has no {name}")


def test_all_modules_are_known_here() -> None:
    assert sorted(IN_ORDER) == sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))


def test_ansible_doc_shows_every_module(ansible: Ansible) -> None:
    names = [f"zrb.fleet.{module}" for module in IN_ORDER]
    shown = json.loads(ansible.run("ansible-doc", "--json", *names))
    assert sorted(shown) == sorted(names)
    for name, module in shown.items():
        doc = module["doc"]
        assert all(option["description"] for option in doc["options"].values()), name
        assert {"check_mode", "diff_mode", "idempotent"} <= doc["attributes"].keys(), name
        groups = [group for group, members in ACTION_GROUPS.items() if name.removeprefix("zrb.fleet.") in members]
        membership = doc["attributes"].get("action_group", {"membership": []})["membership"]
        assert membership == [f"zrb.fleet.{group}" for group in groups], name
        required = [requirement.partition(",")[0] for requirement in doc["requirements"]]
        assert len(required) == len(set(required)), name
        assert set(required) <= {"python >= 3.11", *map(str, LIBRARIES.values())}, name
        assert doc["attributes"]["check_mode"]["support"] == "full", name
        assert name in module["examples"], name
        assert all("sample" in value or "contains" in value for value in module["return"].values()), name


def test_the_examples_run(ansible: Ansible, nas: Nas, bucket: LocalBucket) -> None:
    tasks: list[dict[str, Any]] = []
    for module in IN_ORDER:
        tasks += yaml.safe_load(here(documented(module, "EXAMPLES"), module, nas, bucket))
    play = {"hosts": "localhost", "gather_facts": False, "vars": {"fleet_signers": [nas.signer]}, "tasks": tasks}
    ansible.run_playbook([play])
    assert not (nas.directory / "run" / "age.key").exists()
    assert (nas.directory / "second.key").stat().st_mode & 0o777 == 0o400
    assert (nas.directory / "localhost.signer").read_text() == f"{nas.signer}\n"
    listed = command("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", nas.dataset.partition("/")[0])
    ansible.run_playbook([play], "--check", "--diff")
    assert listed == command("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", nas.dataset.partition("/")[0])


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("fresh", ""),
        ("unreadable", "repository"),
        ("one stale of two", "Stale: zrbtest-never/backed-up"),
        ("damaged", "ManifestInvalid"),
        ("emptied", "Stale: "),
    ],
)
def test_the_monitoring_example_is_red_whenever_it_should_be(ansible: Ansible, nas: Nas, state: str, told: str) -> None:
    config = yaml.safe_load(nas.config.read_text())
    ansible.play([{"zrb.fleet.zfs_backup": {"config": str(nas.config), "task": "home", "level": 0}}])
    if state == "unreadable":
        nas.repository.rename(nas.directory / "elsewhere")
    elif state == "emptied":
        nas.repository.rename(nas.directory / "elsewhere")
        nas.repository.mkdir()
    elif state == "one stale of two":
        config["tasks"].append({"name": "other", "pool": "zrbtest-never", "dataset": "backed-up"})
    elif state == "damaged":
        (manifest,) = (nas.repository / "manifests").rglob("*-L0-*.json")
        manifest.with_name(manifest.name.replace("-L0-", "-L1-")).write_text("{}")
    path = nas.directory / "monitoring.yaml"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    examples = documented("zfs_backup_info", "EXAMPLES").replace("/etc/zrb/config.yaml", str(path))
    tasks = [task for task in yaml.safe_load(examples) if "two days" in task["name"] or "monitoring" in task["name"]]
    assert len(tasks) == 2
    said = ansible.run_playbook(
        [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], status=2 if told else 0
    )
    assert told in said


def here(examples: str, module: str, nas: Nas, bucket: LocalBucket) -> str:
    """The examples with the names of this machine instead of the ones that they are written with."""
    endpoint = f"endpoint_url: {bucket.endpoint}\n    access_key: {ACCESS_KEY}\n    secret_key: {SECRET_KEY}"
    state = f"base_dir: {nas.directory}/state"
    explicit = "" if module == "s3_lifecycle" else f"\n    {state}"
    replacements = {
        "endpoint_url: https://s3.example.org\n    ": "",
        "bucket: my-backup-bucket": f"bucket: {bucket.name}\n    {endpoint}{explicit}",
        "repository: /mnt/usb/zrb": f"repository: {nas.directory}/usb\n    {state}",
        "/etc/zrb/config.yaml": str(nas.config),
        "/etc/zrb/signing.key": str(nas.signing_key),
        "/srv/zrb/age.key": str(nas.age_key),
        "/media/usb/age.key": str(nas.age_key),
        "/srv/zrb": str(nas.directory),
        "/run/zrb": str(nas.directory / "run"),
        "tank/restored": f"{nas.restore}/restored",
        "tank/nas1-home": f"{nas.restore}/nas1-home",
        "tank/home": nas.dataset,
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p": nas.recipient,
        "zrbsign1pq1chmnm4la3x34lkgdfel6dy7bl4zb…": nas.signer,
        "2026-01-31T00:00Z": "2100-01-31T00:00Z",
    }
    if module == "zfs_backup":
        replacements["DEEP_ARCHIVE"] = "STANDARD_IA"  # what is restored below cannot wait to be thawed
        replacements["    level: "] = "    host: nas1\n    level: "
    for written, meant in replacements.items():
        examples = examples.replace(written, meant)
    if module in {"zfs_backup_info", "zfs_cleanup", "zfs_restore", "zfs_verify"}:
        examples = re.sub(
            rf"^( +)config: {nas.config}$", rf"\1config: {nas.config}\n\1host: nas1", examples, flags=re.MULTILINE
        )
    return examples
