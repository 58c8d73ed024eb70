# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take the snapshot that a later backup sends, named and held as the engine expects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...config.tasks import task_datasets
from ...config.value_readers import ALL
from ...values.config import Task
from ...values.json_records import write_time
from ...values.zfs import Snapshot
from ...zfs.names import snapshot_name
from ...zfs.snapshotting import unmarked
from ..context import Context


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A snapshot that was taken and is held under ``hold_tag``. ``descendants`` are those of the datasets below,
    taken at the same instant, for a recursive task."""

    name: str
    guid: str
    createtxg: int
    creation: datetime
    hold_tag: str
    descendants: tuple[SnapshotTaken, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The result for machines."""
        return {
            "name": self.name,
            "guid": self.guid,
            "createtxg": self.createtxg,
            "creation": write_time(self.creation),
            "hold_tag": self.hold_tag,
            "descendants": [snapshot.as_json() for snapshot in self.descendants],
        }


def plan_snapshot(context: Context, *, task: Task, level: int) -> list[str]:
    """Full names of the snapshots that :func:`take_snapshot` would take now."""
    short_name = snapshot_name(task, level, context.clock())
    return [f"{dataset}@{short_name}" for dataset in task_datasets(context.zfs, task)]


def take_snapshot(context: Context, *, task: Task, level: int) -> SnapshotTaken:
    """Snapshot the datasets of ``task`` at one instant and hold each under ``task.hold_tag``.

    Raises what :func:`task_datasets` raises, and ``ZfsError`` or ``ZfsDenied`` if ZFS refuses.
    """
    snapshots = context.zfs.create_snapshots(plan_snapshot(context, task=task, level=level))
    for snapshot in snapshots:
        context.zfs.hold(snapshot.name, task.hold_tag)
        if not snapshot.ours and context.config.keep_snapshots != ALL:
            context.progress.log(unmarked(snapshot.name), level="warning")
    first, *below = (_taken(snapshot, task) for snapshot in snapshots)
    return SnapshotTaken(first.name, first.guid, first.createtxg, first.creation, first.hold_tag, tuple(below))


def _taken(snapshot: Snapshot, task: Task) -> SnapshotTaken:
    return SnapshotTaken(snapshot.name, snapshot.guid, snapshot.createtxg, snapshot.creation, task.hold_tag)
