# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a backup for a module."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.config.tasks import task_datasets
from .._engine.run.backup import BackupOutcome, back_up, plan_backup
from .._engine.run.context import Context
from .._engine.run.list import list_backups
from .._engine.values.config import Task
from .engine_config import task_from
from .freshness import newest_usable
from .results import facts_of, fail_from, pass_on_warnings
from .times import parse_age


def no_backup_due(module: AnsibleModule, context: Context) -> dict[str, Any] | None:
    """The result of ``zfs_backup`` if there are backups that are fresh enough. Raises what the engine raises."""
    params = module.params
    task = task_from(params, context.config)
    fresh = _fresh_backups(context, task, level=params["level"], younger_than=params["unless_newer_than"])
    if not fresh:
        return None
    return {"changed": False, "fresh": fresh, "backups": [], **({"plan": []} if module.check_mode else {})}


def run_backup(module: AnsibleModule, context: Context) -> dict[str, Any]:
    """The result of ``zfs_backup`` if one is due. Raises what the engine raises."""
    params = module.params
    task = task_from(params, context.config)
    if module.check_mode:
        plans = plan_backup(context, task=task, level=params["level"], strict_level=params["strict_level"])
        pass_on_warnings(module, (warning for plan in plans for warning in plan.warnings))
        planned = [plan.as_json() for plan in plans]
        return {"changed": True, "backups": [], "plan": planned, "diff": _diff(planned)}
    job = {str(key): str(value) for key, value in params["job"].items()}
    outcome = back_up(context, task=task, level=params["level"], strict_level=params["strict_level"], job=job)
    return _result(module, outcome)


def _fresh_backups(context: Context, task: Task, *, level: int, younger_than: str | None) -> dict[str, str]:
    """The id of a backup that is fresh enough for each dataset of ``task``; empty unless there is one for each."""
    if younger_than is None:
        return {}
    now = context.clock()
    max_age = parse_age(younger_than, option="unless_newer_than")
    datasets = task_datasets(context.zfs, task)
    newest = newest_usable(list_backups(context, task=task).entries, now=now, max_level=level)
    fresh = {
        entry.dataset: str(entry.backup_id)
        for entry in newest.values()
        if now - entry.snapshot_creation < max_age and entry.dataset in datasets
    }
    return fresh if len(fresh) == len(datasets) else {}


def _result(module: AnsibleModule, outcome: BackupOutcome) -> dict[str, Any]:
    backups = [result.as_json() for result in outcome.results]
    pass_on_warnings(module, (warning for result in outcome.results for warning in result.warnings))
    result: dict[str, Any] = {"changed": bool(backups), "backups": backups, "diff": _diff(backups)}
    if outcome.failures:
        result["failures"] = [{"dataset": name, **facts_of(error)} for name, error in outcome.failures]
        fail_from(module, outcome.failures[0][1], **result)
    return result


def _diff(backups: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    shown = ("level", "reason", "base", "snapshot")
    return {"before": {}, "after": {backup["dataset"]: {key: backup[key] for key in shown} for backup in backups}}
