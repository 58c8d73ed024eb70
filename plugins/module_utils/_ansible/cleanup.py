# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clean up for a module."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import RemovalsUnconfirmed
from .._engine.run.cleanup import CleanupPlan, clean_up, plan_cleanup
from .._engine.run.context import Context
from .engine_config import config_file_from, task_from
from .results import fail_from, pass_on_warnings
from .s3_options import warn_if_unverified


def run_cleanup(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``zfs_cleanup``. Raises what the engine raises."""
    params = module.params
    warn_if_unverified(module)
    context = Context.for_config(config_file_from(params))
    how: dict[str, Any] = {
        "tasks": () if params["task"] is None else (task_from(params, context.config),),
        "host": params["host"],
        "pay_early_deletion": params["pay_early_deletion"],
    }
    if module.check_mode:
        plan = plan_cleanup(context, **how)
        try:
            plan.check_confirmed(params["max_removals"])
        except RemovalsUnconfirmed as error:
            pass_on_warnings(module, [error.explain()])
        pass_on_warnings(module, plan.warnings)
        result = _result(plan, removed=[], objects=0)
        errors = plan.refused
    else:
        outcome = clean_up(context, max_removals=params["max_removals"], **how)
        pass_on_warnings(module, outcome.warnings)
        result = _result(outcome.plan, removed=list(outcome.removed), objects=outcome.objects)
        result["changed"] = outcome.objects > 0 or bool(outcome.removed)
        errors = (*outcome.plan.refused, *outcome.failures)
    if errors:
        fail_from(module, errors[0][1], **result)
    return result


def _result(plan: CleanupPlan, **done: Any) -> dict[str, Any]:
    document = plan.as_json()
    before = {
        f"{one['host']}:{one['dataset']}": [backup["backup_id"] for backup in one["backups"]]
        for one in document["series"]
    }
    after = {
        f"{one['host']}:{one['dataset']}": [
            backup["backup_id"] for backup in one["backups"] if backup["fate"] != "remove"
        ]
        for one in document["series"]
    }
    changes = plan.removals > 0 or plan.remains > 0 or bool(plan.ended_uploads)
    return {"changed": changes, "plan": document, "diff": {"before": before, "after": after}, **done}
