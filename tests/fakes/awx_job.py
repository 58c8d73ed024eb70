# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job template as a job for ansible-runner: the directory that AWX would hand to it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fakes.controller import Controller
from tests.fakes.controller_rules import Item, Refused, answered, injected


@dataclass(frozen=True)
class Launch:
    """What is said when a job is started. ``inputs`` are those of credentials, by their names."""

    template: str
    inventory: Item
    answers: Item = field(default_factory=dict)
    inputs: Mapping[str, Item] = field(default_factory=dict)
    job_type: str | None = None


def write_job(controller: Controller, launch: Launch, directory: Path, *, project: Path) -> str:
    """Make the private data directory of the job; the playbook, relative to ``project``."""
    template = controller.named("job_templates", launch.template)
    environment: dict[str, str] = {}
    # As talkative as somebody may make it who looks for a mistake.
    words = ["-vvv", "--diff"]
    if template["forks"]:
        words += ["--forks", str(template["forks"])]
    if (launch.job_type or template["job_type"]) == "check":
        words.append("--check")
    for name in ("env", "inventory"):
        (directory / name).mkdir(parents=True)
    (directory / "project").symlink_to(project)

    for credential in controller.listed(template, "credentials", "credentials"):
        kind = controller.stored["credential_types"][credential["credential_type"]]
        inputs = {**credential["inputs"], **launch.inputs.get(credential["name"], {})}
        if missing := set(kind["inputs"].get("required", ())) - inputs.keys():
            raise Refused(f"Job cannot start, the credential {credential['name']} lacks {missing}")
        file = directory / "env" / f"credential-{credential['id']}"
        made = injected(kind.get("injectors", {}), inputs, file=str(file))
        environment |= made.get("env", {})
        if "file" in made:
            file.write_text(made["file"]["template"])
            file.chmod(0o600)
        if "extra_vars" in made:
            variables = file.with_suffix(".yml")
            variables.write_text(json.dumps(made["extra_vars"]))
            words += ["-e", f"@{variables}"]

    own = json.loads(template["extra_vars"] or "{}")
    said = answered(controller.survey_of(template["id"]), launch.answers)
    about = {"awx_job_id": 1, "awx_job_launch_type": "manual", "awx_user_name": "admin"}
    (directory / "env/extravars").write_text(_extra_variables(own, said | about))
    (directory / "env/envvars").write_text(json.dumps(environment))
    (directory / "env/cmdline").write_text(shlex.join(words))
    (directory / "env/settings").write_text(json.dumps({"idle_timeout": 0, "job_timeout": 0}))
    hosts = directory / "inventory/hosts"
    hosts.write_text(f"#!/usr/bin/env python3\nprint({json.dumps(launch.inventory)!r})\n")
    hosts.chmod(0o700)
    return str(template["playbook"])


def _extra_variables(own: Item, said: Item) -> str:
    """YAML in which all that was said at the start is marked: Ansible takes no template from it."""
    lines = [f"{name}: {json.dumps(value)}" for name, value in own.items()]
    for name, value in said.items():
        mark = "!unsafe " if isinstance(value, str) else ""
        lines.append(f"{name}: {mark}{json.dumps(value)}")
    return "\n".join([*lines, ""])


def events(directory: Path) -> list[dict[str, Any]]:
    """What AWX shows of a job, in order."""
    files = (directory / "artifacts/1/job_events").glob("*.json")
    return sorted((json.loads(file.read_text()) for file in files), key=lambda event: event["counter"])


def kept(directory: Path) -> dict[str, str]:
    """All that AWX keeps of a job, by file. The file ``command`` has its environment; it goes with the directory."""
    files = [path for path in (directory / "artifacts").rglob("*") if path.is_file() and path.name != "command"]
    return {str(path.relative_to(directory)): path.read_text(errors="replace") for path in files}
