# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List backups for a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.config.tasks import covers
from .._engine.errors import NoSuchBackup
from .._engine.run.context import Context
from .._engine.run.list import ListedBackup, Listing, compile_query, list_backups
from .._engine.values.config import Config, Task
from .engine_config import Params, config_from, dataset_task, task_from
from .freshness import Place, stale_datasets
from .results import facts_of, pass_on_warnings
from .s3_options import warn_if_unverified
from .times import parse_age, parse_moment

ALL_HOSTS = "*"


def list_matching(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``zfs_backup_info``. Raises what the engine raises."""
    params = module.params
    warn_if_unverified(module)
    all_hosts = params["host"] == ALL_HOSTS
    ask = compile_query(params["query"]) if params["query"] is not None else None
    context = Context.for_config(config_from({**params, "host": None} if all_hosts else params))
    matches = _matcher(context, level=params["level"], since=params["since"], until=params["until"])
    task = None
    if params["task"] is not None:
        task = task_from(params, context.config)
    elif params["dataset"] is not None:
        task = dataset_task(params["dataset"])
    listing = list_backups(context, task=task, host=ALL_HOSTS if all_hosts else None)
    backups = [entry.as_json() for entry in listing.entries if matches(entry)]
    pass_on_warnings(module, (problem.explain() for problem in listing.problems))
    result: dict[str, Any] = {
        "changed": False,
        "backups": backups,
        "problems": [facts_of(problem) for problem in listing.problems],
    }
    if params["max_age"] is not None:
        result["stale"] = _stale(context, params, listing, task)
    return result | {"answer": ask(backups)} if ask is not None else result


def _stale(context: Context, params: Params, listing: Listing, task: Task | None) -> list[dict[str, Any]]:
    max_age = parse_age(params["max_age"], option="max_age")
    expected = list(_expected(params, context.config, task))
    if not expected and not listing.entries:
        raise NoSuchBackup(
            "There is no backup whose age could be judged",
            subject="max_age",
            next_step="Check that host, repository and prefix are right, or name what must be there with dataset",
        )
    level = params["level"]
    return stale_datasets(
        listing.entries,
        expected=expected,
        now=context.clock(),
        max_age=max_age,
        max_level=4 if level is None else level,
    )


def _expected(params: Params, config: Config, task: Task | None) -> Iterator[Place]:
    """What must have a backup even if the repository knows nothing of it: the roots of tasks, and a named dataset."""
    if params["host"] == ALL_HOSTS:
        return
    own_tasks = config.tasks if params["config"] is not None and params["host"] is None else ()
    for wanted in [task] if task is not None else [one for one in own_tasks if one.enabled]:
        if covers(wanted, wanted.dataset_name):
            yield config.host, wanted.dataset_name


def _matcher(
    context: Context, *, level: int | None, since: str | None, until: str | None
) -> Callable[[ListedBackup], bool]:
    now = context.clock()
    first = parse_moment(since, option="since", now=now) if since is not None else None
    last = parse_moment(until, option="until", now=now) if until is not None else None

    def matches(entry: ListedBackup) -> bool:
        moment = entry.snapshot_creation
        within = (first is None or moment >= first) and (last is None or moment <= last)
        return within and (level is None or entry.level == level)

    return matches
