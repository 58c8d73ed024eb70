# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List backups for a module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.run.context import Context
from .._engine.run.list import ListedBackup, compile_query, list_backups
from .engine_config import config_from, dataset_task, task_from
from .results import pass_on_warnings
from .s3_options import warn_if_unverified
from .times import parse_moment

ALL_HOSTS = "*"


def list_matching(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``zfs_backup_info``. Raises what the engine raises."""
    params = module.params
    warn_if_unverified(module)
    all_hosts = params["host"] == ALL_HOSTS
    ask = compile_query(params["query"]) if params["query"] is not None else None
    context = Context.for_config(config_from({**params, "host": None} if all_hosts else params))
    matches = _matcher(context, since=params["since"], until=params["until"])
    task = None
    if params["task"] is not None:
        task = task_from(params, context.config)
    elif params["dataset"] is not None:
        task = dataset_task(params["dataset"])
    listing = list_backups(context, task=task, level=params["level"], host=ALL_HOSTS if all_hosts else None)
    backups = [entry.as_json() for entry in listing.entries if matches(entry)]
    pass_on_warnings(module, (problem.explain() for problem in listing.problems))
    result: dict[str, Any] = {
        "changed": False,
        "backups": backups,
        "problems": [problem.facts() for problem in listing.problems],
    }
    return result | {"answer": ask(backups)} if ask is not None else result


def _matcher(context: Context, *, since: str | None, until: str | None) -> Callable[[ListedBackup], bool]:
    now = context.clock()
    first = parse_moment(since, option="since", now=now) if since is not None else None
    last = parse_moment(until, option="until", now=now) if until is not None else None

    def matches(entry: ListedBackup) -> bool:
        return (first is None or entry.created >= first) and (last is None or entry.created <= last)

    return matches
