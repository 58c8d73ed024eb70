# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which datasets a task covers, and which backups belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..errors import NoSuchTask, UsageError
from ..values.config import Config, Task
from ..zfs.protocol import Zfs


def find_tasks(config: Config, names: Sequence[str]) -> list[Task]:
    """Return the tasks with these names, in this order. Without names, return all enabled tasks.

    Raises :class:`NoSuchTask`, which lists the known tasks.
    """
    if not names:
        return [task for task in config.tasks if task.enabled]
    known = {task.name: task for task in config.tasks}
    for name in names:
        if name not in known:
            raise NoSuchTask(
                f"There is no task {name!r} in the configuration",
                subject=name,
                next_step=f"Known tasks: {', '.join(known)}" if known else "Add it to `tasks`, which is empty",
            )
    return [known[name] for name in dict.fromkeys(names)]


def task_datasets(zfs: Zfs, task: Task) -> list[str]:
    """Return the full names of the datasets that one run of ``task`` covers, parents first.

    ``exclude`` globs match the full name or the name below the task's dataset. Datasets below an excluded one are
    excluded too. Raises ``NoSuchPool`` or ``NoSuchDataset``, and :class:`UsageError` if the globs exclude everything.
    """
    zfs.dataset(task.dataset_name)
    if not task.recursive:
        return [task.dataset_name]
    names = [name for name in zfs.descendants(task.dataset_name) if not is_excluded(task, name)]
    if not names:
        raise UsageError(
            f"Task {task.name} excludes every dataset below {task.dataset_name}",
            subject=task.name,
            next_step="Narrow the `exclude` globs of this task",
        )
    return names


def is_excluded(task: Task, dataset: str) -> bool:
    """Whether an ``exclude`` glob of ``task`` matches ``dataset`` or one of its parents in the task."""
    root = task.dataset_name
    candidate = dataset
    while len(candidate) >= len(root):
        below = candidate.removeprefix(root).removeprefix("/")
        if any(fnmatchcase(candidate, glob) or (below and fnmatchcase(below, glob)) for glob in task.exclude):
            return True
        if candidate == root:
            break
        candidate = candidate.rpartition("/")[0]
    return False


def covers(task: Task, dataset: str) -> bool:
    """Whether a backup of ``dataset`` (full name) belongs to ``task``. This needs no ZFS, so it also works for datasets
    that no longer exist."""
    if dataset == task.dataset_name:
        return not is_excluded(task, dataset)
    return task.recursive and dataset.startswith(f"{task.dataset_name}/") and not is_excluded(task, dataset)


def as_tasks(task: Task | Sequence[Task] | None) -> tuple[Task, ...]:
    """Return one task, several, or none as a tuple."""
    if task is None:
        return ()
    return (task,) if isinstance(task, Task) else tuple(task)


def covered_by_any(tasks: Sequence[Task], dataset: str) -> bool:
    """Whether any of ``tasks`` covers ``dataset``. Without tasks, everything is covered."""
    return not tasks or any(covers(task, dataset) for task in tasks)


def common_root(tasks: Sequence[Task]) -> tuple[str | None, bool]:
    """The dataset that is all that ``tasks`` are about, and whether those below it are, too; ``None`` if there are
    several tasks, or none: then it may be any dataset."""
    if len(tasks) != 1:
        return None, False
    return tasks[0].dataset_name, tasks[0].recursive


def check_source(config: Config, source: str | None) -> None:
    """Raise :class:`UsageError` if ``source`` (``s3`` or ``local``) is not the configured repository."""
    configured = "s3" if config.s3 is not None else "local"
    if source is not None and source != configured:
        raise UsageError(
            f"The configuration enables `{configured}`, not `{source}`",
            subject=source,
            next_step=f"Omit --source, or set `{source}.enabled: true` and `{configured}.enabled: false`",
        )
