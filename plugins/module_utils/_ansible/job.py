# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's work as a job, which goes on when the connection is lost. The same call again finds it.

The action of the module asks again and again, and waits a little each time (``wait_timeout``). Without it, the module
waits until the job has ended.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import Interrupted, LocalStateError, explained
from .._engine.run.jobs import JobOutput, job_result, list_jobs, look_at, start_job, wait_for
from .._engine.values.clock import utc_now
from .._engine.values.progress import Progress, Silent
from .engine_config import Params, config_from
from .results import end, fail_from

Work = Callable[[AnsibleModule, Progress], dict[str, Any]]

_NOT_WHAT_IS_DONE = {
    *("access_key", "secret_key", "session_token", "profile", "job", "job_id", "wait_timeout"),
    *("memory_limit", "workers", "bandwidth_limit"),
}
"""Options that may differ in the next call for the same work: credentials expire, AWX counts."""


def run_as_job(module: AnsibleModule, work: Work, *, needs_state: bool = True) -> dict[str, Any]:
    """Do ``work`` as a job, or attach to the one that is doing it; in check mode do it at once. The module ends with
    what the job ended with, or returns that it runs. If the work does not ``needs_state``, it is done without a job
    where none can be kept. Raises what the engine raises.
    """
    if module.check_mode:
        return work(module, Silent())
    params = module.params
    base_dir = Path(config_from(params).base_dir)
    try:
        job_id = params["job_id"] or _running(base_dir, _name(module)) or _start(module, work, base_dir)
    except LocalStateError:
        if needs_state:
            raise
        return work(module, Silent())
    if not wait_for(base_dir, job_id, limit_s=params["wait_timeout"]):
        return {"changed": False, "job": look_at(base_dir, job_id).as_json()}
    result = job_result(base_dir, job_id)
    failed = result["exit_code"] not in {0, 4}
    # As it is: it went through exit_json once, unless it is that of a command, or is all that a full disk has left.
    document = {"changed": True, "failed": failed, **result["document"]}
    sys.stdout.write(f"\n{json.dumps(document)}\n")
    sys.stdout.flush()
    raise SystemExit(int(failed))


def _name(module: AnsibleModule) -> str:
    """Begins the id of all jobs that do what these parameters ask for."""
    asked: Params = {name: value for name, value in module.params.items() if name not in _NOT_WHAT_IS_DONE}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return f"{module._name.rpartition('.')[2]}-{digest[:8]}-"


def _running(base_dir: Path, name: str) -> str | None:
    found = [job.job_id for job in list_jobs(base_dir) if job.state == "running" and job.job_id.startswith(name)]
    return found[-1] if found else None


def _start(module: AnsibleModule, work: Work, base_dir: Path) -> str:
    _import_everything()
    job_id = f"{_name(module)}{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    subject = module.params.get("task") or module.params.get("dataset") or ""
    command = f"{module._name.rpartition('.')[2]} {subject}".rstrip()
    return start_job(base_dir, partial(_work, module, work), command=command, job_id=job_id)


def _work(module: AnsibleModule, work: Work, output: JobOutput) -> tuple[int, Any]:
    with suppress(SystemExit):
        try:
            with output.open_progress() as progress:
                end(module, lambda module: {**work(module, progress), "job_id": output.job_id})
        except Interrupted as error:
            fail_from(module, error, job_id=output.job_id)
        except Exception as error:  # noqa: BLE001 - nobody else would tell
            fail_from(module, explained(error), job_id=output.job_id)
    document = json.loads(output.out.getvalue())
    output.text.write(json.dumps(document, indent=2))
    return (document.get("exit_code", 1) if document.get("failed") else 0), document


def _import_everything() -> None:
    """Ansible removes the archive that this module came in as soon as it ends; the job goes on without it."""
    archive = getattr(__spec__.loader, "archive", None) if __spec__ else None
    engine = sys.modules[f"{__name__.removesuffix('._ansible.job')}._engine"]
    for package in (engine, ansible.module_utils):
        # Ansible itself may be installed here as well.
        inside = [path for path in package.__path__ if archive and path.startswith(archive)]
        for found in pkgutil.walk_packages(inside, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(found.name)
