# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verify backups for a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.config.key_files import read_identities
from .._engine.run.context import Context
from .._engine.run.verify import VerifyReport, verify
from .engine_config import dataset_task, task_from
from .results import facts_of, fail_from, pass_on_warnings


def run_verify(module: AnsibleModule, context: Context) -> dict[str, Any]:
    """The result of ``zfs_verify``. Raises what the engine raises."""
    params = module.params
    identities = read_identities(Path(params["private_key"])) if params["private_key"] is not None else []
    task = None
    if params["task"] is not None:
        task = task_from(params, context.config)
    elif params["dataset"] is not None:
        task = dataset_task(params["dataset"])
    report = verify(
        context,
        depth=params["depth"],
        task=task,
        backup_id=params["backup_id"],
        level=params["level"],
        subset=params["subset"],
        identities=identities,
        trusted=context.trusted_signers(),
    )
    return _result(module, report)


def _result(module: AnsibleModule, report: VerifyReport) -> dict[str, Any]:
    pass_on_warnings(module, report.warnings)
    problems = [{**problem.as_json(), **facts_of(problem.error)} for problem in report.problems]
    result = {"changed": False, "verified": {**report.as_json(), "problems": problems}}
    for problem in report.problems:
        if problem.error.exit_code == report.exit_code:
            fail_from(module, problem.error, **result)
    return result
