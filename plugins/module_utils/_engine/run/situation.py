# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is before a backup begins: the dataset, its line in the repository, its journals. And what follows.

Reading changes nothing; :func:`decide` is what ``--dry-run`` shows and what a run acts upon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ..errors import NoSuchSnapshot
from ..plan.chain import check_line
from ..plan.levels import BaseChoice, choose_base, send_flags
from ..store.protocol import Store
from ..values.config import Task
from ..values.manifest import CataloguedManifest, Encryption, Manifest
from ..values.repository import BackupId, Line, new_backup_id
from ..values.zfs import Bookmark, Dataset, Pool, Snapshot
from .catalogue import read_catalogue
from .environment import Environment
from .high_water import highest_seen
from .journal import Binding, Journal, JournalDamaged, backup_id_of, journals_in
from .lock import dataset_state_dir
from .repository_identity import RepositoryIdentity
from .snapshotting import snapshot_name


@dataclass(frozen=True, slots=True)
class Situation:
    """What was found about one dataset."""

    repository_id: str
    line: Line
    dataset: Dataset
    pool: Pool
    snapshots: tuple[Snapshot, ...]
    bookmarks: tuple[Bookmark, ...]
    entries: tuple[CataloguedManifest, ...]
    journals: tuple[Journal, ...]
    damaged_journals: tuple[Path, ...]
    bound_snapshots: frozenset[str]
    """Names of the snapshots of all unfinished backups, those to other repositories too."""
    warnings: tuple[str, ...]

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The committed backups of the line, oldest first."""
        return tuple(entry.manifest for entry in self.entries)

    def committed(self, backup_id: str) -> Manifest | None:
        """The committed backup of this id."""
        return next((manifest for manifest in self.manifests if manifest.backup_id == backup_id), None)

    def snapshot_with(self, guid: str) -> Snapshot | None:
        """The dataset's snapshot with this guid."""
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one backup is going to do. ``snapshot`` is ``None`` where it still has to be taken under
    ``snapshot_name``; ``journal`` is the one to resume; ``obsolete`` are those that nothing can resume."""

    task: Task
    situation: Situation
    choice: BaseChoice
    level_requested: int
    snapshot: Snapshot | None
    snapshot_name: str
    journal: Journal | None
    obsolete: tuple[Journal, ...]


def look(env: Environment, store: Store, dataset_name: str) -> Situation:
    """Read everything that a decision about ``dataset_name`` depends on."""
    dataset = env.zfs.dataset(dataset_name)
    line = Line(host=env.config.host, dataset=dataset_name)
    catalogue = read_catalogue(store, trusted=env.trusted_signers(), host=line.host, dataset=line.dataset)
    repository_id = catalogue.identity.repository_id if catalogue.identity else ""
    journals, damaged = _load_journals(dataset_state_dir(env.base_dir, dataset_name))
    warnings = [problem.explain() for problem in catalogue.problems]
    warnings += check_line(catalogue.manifests, highest_seen=highest_seen(env.base_dir, repository_id, line))
    return Situation(
        repository_id=repository_id,
        line=line,
        dataset=dataset,
        pool=env.zfs.pool(dataset.pool_name),
        snapshots=tuple(env.zfs.snapshots(dataset_name)),
        bookmarks=tuple(env.zfs.bookmarks(dataset_name)),
        entries=catalogue.manifests,
        journals=tuple(journal for journal in journals if journal.binding.repository_id == repository_id),
        damaged_journals=tuple(damaged),
        bound_snapshots=frozenset(journal.binding.snapshot for journal in journals),
        warnings=tuple(warnings),
    )


def decide(
    env: Environment, identity: RepositoryIdentity, task: Task, situation: Situation, *, level: int, strict: bool
) -> Decision:
    """Choose level, base, snapshot, and whether an interrupted backup is continued."""
    existing = None if task.take_snapshot else _newest_untaken(task, situation, level)
    choice = _choose(env, task, situation, level=level, strict=strict, target=existing)
    resumable, obsolete = None, []
    for journal in reversed(situation.journals):
        held = situation.snapshot_with(journal.binding.snapshot_guid)
        if situation.committed(journal.binding.backup_id) or (held and journal.binding.level != choice.level):
            continue
        wanted = binding_for(env, identity, situation, choice, snapshot=held, level_requested=level, backup_id=None)
        if held is not None and resumable is None and journal.binding.fits(wanted):
            resumable = journal
        else:
            obsolete.append(journal)
    snapshot = situation.snapshot_with(resumable.binding.snapshot_guid) if resumable else existing
    name = snapshot.name if snapshot else _new_snapshot_name(env, task, situation, level)
    return Decision(task, situation, choice, level, snapshot, name, resumable, tuple(obsolete))


def _new_snapshot_name(env: Environment, task: Task, situation: Situation, level: int) -> str:
    taken = {snapshot.name for snapshot in situation.snapshots}
    now = env.clock()
    while (name := f"{situation.dataset.name}@{snapshot_name(task, level, now)}") in taken:
        now += timedelta(seconds=1)  # two runs within one second
    return name


def binding_for(
    env: Environment,
    identity: RepositoryIdentity,
    situation: Situation,
    choice: BaseChoice,
    *,
    snapshot: Snapshot | None,
    level_requested: int,
    backup_id: BackupId | None,
) -> Binding:
    """What a backup made now would be bound to; a new id where none is given."""
    limits = env.config.limits
    new_id = backup_id or new_backup_id(now=env.clock(), level=choice.level, token=env.token())
    return Binding(
        repository_id=identity.repository_id,
        backup_id=new_id,
        host=situation.line.host,
        dataset=situation.dataset.name,
        dataset_guid=situation.dataset.guid,
        snapshot=snapshot.name if snapshot else "",
        snapshot_guid=snapshot.guid if snapshot else "",
        base_id=choice.base.backup_id if choice.base else None,
        base_guid=choice.base.snapshot.guid if choice.base else None,
        level=choice.level,
        level_requested=level_requested,
        reason=choice.reason,
        flags=choice.flags,
        zfs_version=env.zfs.capabilities.version,
        part_size=limits.part_size,
        recipients=env.config.recipients,
        storage_class=env.config.storage_classes.for_level(choice.level),
    )


def _choose(
    env: Environment, task: Task, situation: Situation, *, level: int, strict: bool, target: Snapshot | None
) -> BaseChoice:
    capabilities = env.zfs.capabilities
    return choose_base(
        level=level,
        manifests=situation.manifests,
        dataset=situation.dataset,
        snapshots=situation.snapshots,
        bookmarks=situation.bookmarks,
        capabilities=capabilities,
        flags=send_flags(capabilities, situation.dataset, task.raw),
        encryption=Encryption(env.config.recipients),
        strict=strict,
        target=target,
    )


def _newest_untaken(task: Task, situation: Situation, level: int) -> Snapshot:
    wanted = f"{task.snapshot_prefix}_level{level}_"
    matching = [snapshot for snapshot in situation.snapshots if snapshot.short_name.startswith(wanted)]
    hint = f"Take one with `zrb snapshot --level {level} --task {task.name}`, or set `take_snapshot: true`"
    if not matching:
        raise NoSuchSnapshot(
            f"{situation.dataset.name} has no snapshot named {wanted}…, and task {task.name} takes none itself",
            subject=situation.dataset.name,
            next_step=hint,
        )
    newest = matching[-1]
    for manifest in situation.manifests:
        if manifest.snapshot.guid == newest.guid:
            raise NoSuchSnapshot(
                f"The newest snapshot {newest.name} was backed up already, as {manifest.backup_id}",
                subject=newest.name,
                next_step=hint,
            )
    return newest


def _load_journals(directory: Path) -> tuple[Sequence[Journal], Sequence[Path]]:
    """The journals of a dataset, which may belong to several repositories, and the files that are none."""
    journals, damaged = [], []
    for path in journals_in(directory):
        try:
            journal = Journal.load(path)
            if journal.binding.backup_id != backup_id_of(path):
                raise JournalDamaged("it is named after another backup")
            journals.append(journal)
        except JournalDamaged:
            damaged.append(path)
    return journals, damaged
