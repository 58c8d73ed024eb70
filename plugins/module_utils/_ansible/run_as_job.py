# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's work as a job, which goes on when the connection is lost. The same call again finds it.

The action of the module asks again and again, and waits a little each time (``wait_timeout``). Without it, the module
waits until the job has ended. If there is nothing to do, there is no job.
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
from .._engine.run.context import Context
from .._engine.run.jobs import JobOutput, job_result, look_at, start_job, tell, untold_job, wait_for
from .._engine.values.clock import utc_now
from .._engine.values.config import Config
from .engine_config import Params, config_from
from .results import end, fail_from
from .s3_options import warn_if_unverified

Work = Callable[[AnsibleModule, Context], dict[str, Any]]
Look = Callable[[AnsibleModule, Context], "dict[str, Any] | None"]

UNTOLD_S = 6 * 3600
"""So long after its end a job is what the next call for the same work is about. Later, a schedule wants a new run."""

_NOT_WHAT_IS_DONE = {
    *("access_key", "secret_key", "session_token", "profile", "job", "job_id", "wait_timeout"),
    *("memory_limit", "workers", "bandwidth_limit"),
}
"""Options that may differ in the next call for the same work: credentials expire, AWX counts."""
_WELL = {0, 4}
"""Exit codes that are no failure."""


def run_as_job(
    module: AnsibleModule, work: Work, *, look: Look = lambda _module, _context: None, needs_state: bool = True
) -> dict[str, Any]:
    """Do ``work`` as a job, or attach to the one that does it, or did it when nobody was there to be told; in check
    mode do it at once. The module ends with what the job ended with, or returns that it runs.

    ``look`` returns the result if there is nothing to do. If the work does not ``needs_state``, it is done without a
    job if none can be kept. Raises what the engine raises.
    """
    params = module.params
    warn_if_unverified(module)
    config = config_from(params)
    context = Context.for_config(config)
    if module.check_mode:
        return look(module, context) or work(module, context)
    base_dir = context.base_dir
    try:
        job_id = params["job_id"] or _untold(module, base_dir)
        if job_id is None:
            done = look(module, context)
            if done is not None:
                return done
            job_id = _start(module, work, config)
    except LocalStateError:
        if needs_state:
            raise
        return work(module, context)
    if not wait_for(base_dir, job_id, limit_s=params["wait_timeout"]):
        if params["wait_timeout"] == 0:
            tell(base_dir, job_id)  # who does not wait has the id to ask with
        return {"changed": False, "job": look_at(base_dir, job_id).as_json()}
    result = job_result(base_dir, job_id)
    failed = result["exit_code"] not in _WELL
    # As it is: it went through exit_json once, unless it is that of a command, or is all that a full disk has left.
    document = {"changed": True, "failed": failed, **result["document"]}
    sys.stdout.write(f"\n{json.dumps(document)}\n")
    sys.stdout.flush()
    tell(base_dir, job_id)  # only now: who has hung up was not told
    raise SystemExit(int(failed))


def _name(module: AnsibleModule) -> str:
    """Begins the id of all jobs that do what these parameters ask for."""
    asked: Params = {name: value for name, value in module.params.items() if name not in _NOT_WHAT_IS_DONE}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return f"{module._name.rpartition('.')[2]}-{digest[:8]}-"


def _untold(module: AnsibleModule, base_dir: Path) -> str | None:
    """The job to attach to. One that went wrong when nobody was there is made known, and begun anew."""
    job = untold_job(base_dir, begins=_name(module), ended_within_s=UNTOLD_S)
    if job is None:
        return None
    if job.state == "running" or job.exit_code in _WELL:
        return job.job_id
    what = "was killed, or the machine was restarted" if job.state == "lost" else f"failed, exit code {job.exit_code}"
    module.warn(f"The job {job.job_id}, which did the same, {what}; `zrb attach {job.job_id}` says more")
    tell(base_dir, job.job_id)
    return None


def _start(module: AnsibleModule, work: Work, config: Config) -> str:
    _import_everything()
    job_id = f"{_name(module)}{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    subject = module.params.get("task") or module.params.get("dataset") or ""
    command = f"{module._name.rpartition('.')[2]} {subject}".rstrip()
    return start_job(Path(config.base_dir), partial(_work, module, work, config), command=command, job_id=job_id)


def _work(module: AnsibleModule, work: Work, config: Config, output: JobOutput) -> tuple[int, Any]:
    with suppress(SystemExit):
        try:
            with output.open_progress() as progress:
                context = Context.for_config(config, progress=progress)
                end(module, lambda module: work(module, context))
        except Interrupted as error:
            fail_from(module, error)
        except Exception as error:  # noqa: BLE001 - nobody else would tell
            fail_from(module, explained(error))
    document = {**json.loads(output.out.getvalue()), "job_id": output.job_id}
    output.text.write(json.dumps(document, indent=2))
    return (document.get("exit_code", 1) if document.get("failed") else 0), document


def _import_everything() -> None:
    """Ansible removes the archive that this module came in as soon as it ends; the job goes on without it."""
    archive = getattr(__spec__.loader, "archive", None) if __spec__ else None
    engine = sys.modules[f"{__name__.removesuffix('._ansible.run_as_job')}._engine"]
    for package in (engine, ansible.module_utils):
        # Ansible itself may be installed here as well.
        inside = [path for path in package.__path__ if archive and path.startswith(archive)]
        for found in pkgutil.walk_packages(inside, f"{package.__name__}."):
            with suppress(ImportError):
                importlib.import_module(found.name)
