# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Surveys a dataset, its series in the repository and its journals before a backup, and decides what to do.

The survey changes nothing. ``--dry-run`` shows what :func:`decide` returns, and a run acts on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from ...errors import NoSuchSnapshot, NotFound
from ...plan.chain import check_series, oldest_first
from ...plan.level_choice import BaseChoice, choose_base, send_flags
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.identity import RepositoryIdentity
from ...state.highest_seen import read_head
from ...state.journal import Binding, Journal, JournalDamaged, backup_id_of, journals_in
from ...state.known_repositories import former_repositories
from ...state.locks import dataset_state_dir
from ...store.protocol import Store
from ...values.config import Task
from ...values.manifest import BackupSummary, CataloguedManifest, Encryption
from ...values.repository_names import Series, new_backup_id
from ...values.retirement_json import RetiredBackup
from ...values.zfs import Bookmark, Dataset, Inventory, Pool, Snapshot
from ...zfs.names import snapshot_name
from ..context import Context


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was found about one dataset."""

    repository_id: str
    series: Series
    dataset: Dataset
    pool: Pool
    snapshots: tuple[Snapshot, ...]
    bookmarks: tuple[Bookmark, ...]
    entries: tuple[CataloguedManifest, ...]
    retired: tuple[RetiredBackup, ...]
    journals: tuple[Journal, ...]
    damaged_journals: tuple[Path, ...]
    orphans: tuple[Journal, ...]
    """Journals of repositories that are no longer at any destination."""
    former_repositories: frozenset[str]
    bound_snapshots: frozenset[str]
    """Names of the snapshots of all unfinished backups, including those to other repositories."""
    readable: bool
    """Every manifest of the dataset could be read."""
    warnings: tuple[str, ...]
    losses: tuple[str, ...]
    """Keys of the losses in the series. Once a backup is committed, its losses are not reported again."""

    @property
    def manifests(self) -> tuple[BackupSummary, ...]:
        """The committed backups of the series, oldest first."""
        return tuple(entry.manifest for entry in self.entries)

    def committed(self, backup_id: str) -> BackupSummary | None:
        """The committed backup with this id."""
        return next((manifest for manifest in self.manifests if manifest.backup_id == backup_id), None)

    def was_retired(self, backup_id: str) -> bool:
        """Whether the backup of this id was committed and retired."""
        return any(one.backup_id == backup_id for one in self.retired)

    @property
    def youngest_committed(self) -> BackupSummary | None:
        """The committed backup of exactly this dataset (by guid) with the youngest data."""
        own = [manifest for manifest in self.manifests if manifest.dataset.guid == self.dataset.guid]
        return oldest_first(own)[-1] if own else None

    def supersedes(self, journal: Journal, held: Snapshot) -> bool:
        """Whether a committed backup of the same or a lower level has younger data than the unfinished one."""
        return any(
            manifest.dataset.guid == self.dataset.guid
            and manifest.level <= journal.binding.level
            and manifest.snapshot.createtxg >= held.createtxg
            for manifest in self.manifests
        )

    def snapshot_with(self, guid: str) -> Snapshot | None:
        """The dataset's snapshot with this guid."""
        return next((snapshot for snapshot in self.snapshots if snapshot.guid == guid), None)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one backup will do. ``snapshot`` is ``None`` if it must still be taken as ``snapshot_name``; ``journal`` is
    the one to resume; ``obsolete`` are journals that no run can resume."""

    task: Task
    survey: Survey
    choice: BaseChoice
    level_requested: int
    snapshot: Snapshot | None
    snapshot_name: str
    journal: Journal | None
    obsolete: tuple[Journal, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the owner must know even if all goes well: a full backup that nobody requested, or old data."""
        return tuple(sentence for sentence in (self.choice.reason, self._older, *self.survey.warnings) if sentence)

    def with_warnings(self, sentences: Sequence[str]) -> Decision:
        """The same, with more to tell."""
        return replace(self, survey=replace(self.survey, warnings=(*self.survey.warnings, *sentences)))

    @property
    def _older(self) -> str:
        newest = self.survey.youngest_committed
        if self.journal is None or self.snapshot is None or newest is None:
            return ""
        if self.snapshot.createtxg > newest.snapshot.createtxg:
            return ""
        return (
            f"This run continues the interrupted backup {self.journal.binding.backup_id}, whose data is older than "
            f"that of {newest.backup_id}, which was committed since then: a restore takes the younger one."
        )


@dataclass(frozen=True, slots=True)
class Landscape:
    """What ZFS and the repository say about all datasets of a task, by their names. Each is read once."""

    pool: Pool | None
    inventories: dict[str, Inventory]
    """Empty, like ``pool``, if they could not be read together."""
    catalogue: Catalogue
    entries: dict[str, list[CataloguedManifest]]


def look(context: Context, store: Store, task: Task) -> Landscape:
    """Read what :func:`survey_dataset` needs. The caller holds the locks of the datasets, so that nothing changes."""
    catalogue = read_catalogue(
        store,
        trusted=context.trusted_signers(),
        host=context.config.host,
        dataset=task.dataset_name,
        recursive=task.recursive,
        known=context.known_id,
    )
    try:
        pool: Pool | None = context.zfs.pool(task.pool)
        found = context.zfs.inventory(task.dataset_name, recursive=task.recursive)
    except NotFound:
        raise
    except Exception:  # noqa: BLE001 - each is read alone then, and whichever cannot be read fails alone
        pool, found = None, []
    inventories = {one.dataset.name: one for one in found}
    entries = defaultdict(list)
    for entry in catalogue.manifests:
        entries[entry.manifest.dataset.name].append(entry)
    return Landscape(pool, inventories, catalogue, entries)


def survey_dataset(context: Context, landscape: Landscape, dataset_name: str) -> Survey:
    """Collect all that a decision about ``dataset_name`` depends on."""
    found = landscape.inventories.get(dataset_name) or context.zfs.inventory(dataset_name)[0]
    series = Series(host=context.config.host, dataset=dataset_name)
    entries = tuple(landscape.entries.get(dataset_name, ()))
    catalogue, known = landscape.catalogue, context.known_repository
    repository_id = catalogue.identity.repository_id if catalogue.identity else ""
    retired = catalogue.retired(series)
    journals, damaged = _load_journals(dataset_state_dir(context.base_dir, dataset_name))
    former = former_repositories(context.base_dir) - {repository_id}
    problems = catalogue.problems_of(series)
    warnings = [problem.explain() for problem in problems]
    if known and known.host not in ("", series.host) and not entries:
        warnings.append(
            f"This machine used to back up as the host {known.host}, and now begins a new series of {dataset_name} as "
            f"{series.host}. If only its name changed, set `host: {known.host}`."
        )
    head = read_head(context.base_dir, repository_id, series)
    losses = check_series(entries, retired, highest_seen=head.seq, refused=catalogue.refused(series))
    for loss in losses:
        if loss.newest and loss.key not in head.accepted:
            raise loss.error(series)
    told = {*head.reported, *head.accepted}
    warnings += [loss.sentence for loss in losses if loss.key not in told]
    return Survey(
        repository_id=repository_id,
        series=series,
        dataset=found.dataset,
        pool=landscape.pool or context.zfs.pool(found.dataset.pool_name),
        snapshots=found.snapshots,
        bookmarks=found.bookmarks,
        entries=entries,
        retired=retired,
        journals=tuple(journal for journal in journals if journal.binding.repository_id == repository_id),
        damaged_journals=tuple(damaged),
        orphans=tuple(journal for journal in journals if journal.binding.repository_id in former),
        former_repositories=former,
        bound_snapshots=frozenset(journal.binding.snapshot for journal in journals),
        readable=not problems,
        warnings=tuple(warnings),
        losses=tuple(loss.key for loss in losses),
    )


def decide(
    context: Context, identity: RepositoryIdentity, task: Task, survey: Survey, *, level: int, strict: bool
) -> Decision:
    """Choose level, base and snapshot, and whether to continue an interrupted backup."""
    existing = None if task.take_snapshot else _newest_untaken(task, survey, level)
    choice = _choose(context, task, survey, level=level, strict=strict, target=existing)
    resumable, obsolete = None, []
    for journal in reversed(survey.journals):
        held = survey.snapshot_with(journal.binding.snapshot_guid)
        if survey.was_retired(journal.binding.backup_id):
            obsolete.append(journal)  # committed, and removed since: under its id nothing may be written again
            continue
        if survey.committed(journal.binding.backup_id) or (held and journal.binding.level != choice.level):
            continue
        part_size = context.config.limits.part_size or journal.binding.part_size
        wanted = binding_for(
            context, identity, survey, choice, snapshot=held, level_requested=level, part_size=part_size
        )
        fits = held is not None and journal.binding.fits(wanted) and not survey.supersedes(journal, held)
        if fits and resumable is None:
            resumable = journal
        else:
            obsolete.append(journal)
    snapshot = survey.snapshot_with(resumable.binding.snapshot_guid) if resumable else existing
    name = snapshot.name if snapshot else _new_snapshot_name(context, task, survey, level)
    return Decision(task, survey, choice, level, snapshot, name, resumable, tuple(obsolete))


def _new_snapshot_name(context: Context, task: Task, survey: Survey, level: int) -> str:
    taken = {snapshot.name for snapshot in survey.snapshots}
    now = context.clock()
    while (name := f"{survey.dataset.name}@{snapshot_name(task, level, now)}") in taken:
        now += timedelta(seconds=1)  # two runs within one second
    return name


def binding_for(
    context: Context,
    identity: RepositoryIdentity,
    survey: Survey,
    choice: BaseChoice,
    *,
    snapshot: Snapshot | None,
    level_requested: int,
    part_size: int,
) -> Binding:
    """The binding of a backup that would begin now."""
    return Binding(
        repository_id=identity.repository_id,
        backup_id=new_backup_id(now=context.clock(), level=choice.level, token=context.token()),
        host=survey.series.host,
        dataset=survey.dataset.name,
        dataset_guid=survey.dataset.guid,
        snapshot=snapshot.name if snapshot else "",
        snapshot_guid=snapshot.guid if snapshot else "",
        base_id=choice.base.backup_id if choice.base else None,
        base_guid=choice.base.snapshot.guid if choice.base else None,
        level=choice.level,
        level_requested=level_requested,
        reason=choice.reason,
        flags=choice.flags,
        zfs_version=context.zfs.capabilities.version,
        part_size=part_size,
        recipients=context.config.recipients,
        storage_class=context.config.storage_classes.for_level(choice.level),
    )


def _choose(
    context: Context, task: Task, survey: Survey, *, level: int, strict: bool, target: Snapshot | None
) -> BaseChoice:
    capabilities = context.zfs.capabilities
    return choose_base(
        level=level,
        manifests=survey.manifests,
        dataset=survey.dataset,
        snapshots=survey.snapshots,
        bookmarks=survey.bookmarks,
        capabilities=capabilities,
        flags=send_flags(capabilities, survey.dataset, task.raw),
        encryption=Encryption(context.config.recipients),
        strict=strict,
        target=target,
    )


def _newest_untaken(task: Task, survey: Survey, level: int) -> Snapshot:
    wanted = f"{task.snapshot_prefix}_level{level}_"
    matching = [snapshot for snapshot in survey.snapshots if snapshot.short_name.startswith(wanted)]
    hint = f"Take one with `zrb snapshot --level {level} --task {task.name}`, or set `take_snapshot: true`"
    if not matching:
        raise NoSuchSnapshot(
            f"{survey.dataset.name} has no snapshot named {wanted}…, and task {task.name} takes none itself",
            subject=survey.dataset.name,
            next_step=hint,
        )
    newest = matching[-1]
    for manifest in survey.manifests:
        if manifest.snapshot.guid == newest.guid:
            raise NoSuchSnapshot(
                f"The newest snapshot {newest.name} was backed up already, as {manifest.backup_id}",
                subject=newest.name,
                next_step=hint,
            )
    return newest


def _load_journals(directory: Path) -> tuple[Sequence[Journal], Sequence[Path]]:
    """The journals of a dataset, which may be for several repositories, and files that are not valid journals."""
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
