# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists the snapshots of this machine that zrb took, each with the reason why it is there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from ...plan.holds import Reason, why_kept
from ...repository.catalogue import Catalogue, read_catalogue
from ...state.journal import Journal, JournalDamaged, journals_in
from ...state.locks import dataset_state_dir
from ...values.config import Task
from ...values.json_records import write_time
from ...values.repository_names import Series
from ...values.zfs import Inventory, Snapshot
from ..context import Context

SENTENCES: Final[dict[Reason, str]] = {
    "base": "a later backup starts from it",
    "unfinished": "an interrupted backup sends it",
    "newest": "the newest backup",
    "held": "held: `zfs holds` shows by whom",
    "kept": "keep_snapshots",
    "superseded": "the next backup destroys it",
    "not_stored": "no backup of it is known",
}


@dataclass(frozen=True, slots=True)
class OurSnapshot:
    """A snapshot that zrb took, and why it is there."""

    snapshot: Snapshot
    reason: Reason

    def as_json(self) -> dict[str, Any]:
        """The entry for machines."""
        return {
            "name": self.snapshot.name,
            "guid": self.snapshot.guid,
            "creation": write_time(self.snapshot.creation),
            "holds": self.snapshot.user_holds,
            "reason": self.reason,
        }


def list_snapshots(context: Context, tasks: Sequence[Task]) -> list[OurSnapshot]:
    """The snapshots that zrb took of the datasets of ``tasks``, oldest first. Raises what ZFS, the catalogue and the
    store raise."""
    found: dict[str, OurSnapshot] = {}
    with closing(context.store_to_look_at()) as store:
        for task in tasks:
            catalogue = read_catalogue(
                store,
                trusted=context.trusted_signers(),
                host=context.config.host,
                dataset=task.dataset_name,
                recursive=task.recursive,
                known=context.known_id,
            )
            for one in context.zfs.inventory(task.dataset_name, recursive=task.recursive):
                found |= {entry.snapshot.name: entry for entry in _of_dataset(context, catalogue, one)}
    return sorted(found.values(), key=lambda one: (one.snapshot.dataset_name, one.snapshot.createtxg))


def _of_dataset(context: Context, catalogue: Catalogue, inventory: Inventory) -> list[OurSnapshot]:
    dataset = inventory.dataset.name
    series = Series(host=context.config.host, dataset=dataset)
    reasons = why_kept(
        [entry.manifest for entry in catalogue.manifests if entry.manifest.series == series],
        inventory.snapshots,
        retired={one.snapshot_guid for one in catalogue.retired(series)},
        bound=_bound(context, dataset),
        # While a manifest cannot be read, nothing is destroyed.
        keep=len(inventory.snapshots) if catalogue.problems_of(series) else context.config.keep_snapshots,
    )
    return [OurSnapshot(snapshot, reasons[snapshot.name]) for snapshot in inventory.snapshots if snapshot.ours]


def _bound(context: Context, dataset: str) -> set[str]:
    bound = set()
    for path in journals_in(dataset_state_dir(context.base_dir, dataset)):
        try:
            bound.add(Journal.load(path).binding.snapshot)
        except JournalDamaged:
            continue
    return bound
