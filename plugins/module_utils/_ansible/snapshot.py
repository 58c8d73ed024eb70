# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take a snapshot for a module."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.run.context import Context
from .._engine.run.snapshot import SnapshotTaken, plan_snapshot, take_snapshot
from .._engine.values.config import Task
from .engine_config import snapshot_config_from, task_from


def run_snapshot(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``zfs_snapshot``. Raises what the engine raises."""
    params = module.params
    context = Context.for_config(snapshot_config_from(params))
    task = task_from(params, context.config)
    if module.check_mode:
        planned = plan_snapshot(context, task=task, level=params["level"])
        return {"changed": True, "planned": planned, "snapshot": _untaken(planned, task), "diff": _diff(planned)}
    taken = take_snapshot(context, task=task, level=params["level"])
    return {"changed": True, "snapshot": taken.as_json(), "diff": _diff(_names(taken))}


def _untaken(names: list[str], task: Task) -> dict[str, Any]:
    """What the result says of a snapshot that would be taken: what only ZFS can give is null."""
    unknown = {"guid": None, "createtxg": None, "creation": None}
    untaken: list[dict[str, Any]] = [
        {"name": name, **unknown, "hold_tag": task.hold_tag, "descendants": []} for name in names
    ]
    first, *below = untaken
    return {**first, "descendants": below}


def _names(taken: SnapshotTaken) -> list[str]:
    return [taken.name, *(below.name for below in taken.descendants)]


def _diff(names: list[str]) -> dict[str, dict[str, list[str]]]:
    return {"before": {"snapshots": []}, "after": {"snapshots": names}}
