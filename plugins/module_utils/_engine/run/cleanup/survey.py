# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looks at the repository before a cleanup: makes the plan, finds what is left of earlier cleanups, and says which
series must not be touched. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from ...config.tasks import covered_by_any, policies_for
from ...errors import ClockSkewed, EngineError, ManifestInvalid, PartMissing, RepositoryChanged, StoreDenied
from ...plan.chain import check_series
from ...plan.price_list import price_list
from ...plan.retention import SeriesPlan, StoredBackup, plan_series
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.listed_objects import Listed
from ...state.highest_seen import read_head, series_seen
from ...store.protocol import Store, UnfinishedUpload
from ...values.config import Task
from ...values.manifest import BackupSummary, CataloguedManifest
from ...values.repository_names import (
    BackupId,
    Series,
    level_of,
    parse_series,
)
from ..context import Context
from .listing import list_all, list_parts
from .results import CleanupPlan
from .unfinished import (
    LeftUpload,
    Unfinished,
    find_left_uploads,
    find_unfinished,
    ids_by_series,
    uploads_by_series,
)


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of a backup that is retired: its manifest, its list of parts, its parts."""

    manifest_keys: tuple[str, ...]
    part_list_keys: tuple[str, ...]
    data_prefix: str

    @classmethod
    def of(cls, series: Series, backup_id: BackupId) -> Remains:
        """All of a backup."""
        return cls(
            (series.manifest_key(backup_id),),
            (series.part_list_key(backup_id),),
            series.data_prefix(backup_id, level_of(backup_id)),
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """The plan, what it was made of, and what is left of backups that were retired before."""

    plan: CleanupPlan
    catalogues: Mapping[Series, Catalogue]
    remains: Mapping[Series, tuple[Remains, ...]]


def survey(
    context: Context,
    store: Store,
    *,
    tasks: Sequence[Task],
    host: str | None,
    signer: str,
    pay_early_deletion: bool,
    busy: Mapping[Series, EngineError],
) -> Survey:
    """Look at the series of ``host`` (of all if ``None``) that ``tasks`` cover (all if empty). Those that are ``busy``
    are refused. ``signer`` is the public key whose retired backups may be removed: a record of another one hides
    backups, but nothing is deleted because of it. Raises :class:`RepositoryChanged`, and what the store raises."""
    catalogue = read_catalogue(store, trusted=context.trusted_signers(), host=host, known=context.known_id)
    for problem in catalogue.problems:
        if isinstance(problem, RepositoryChanged):
            raise problem
    seen = series_seen(context.base_dir, catalogue.identity.repository_id, host) if catalogue.identity else ()
    catalogues = {
        series: found for series, found in _by_series(catalogue, seen) if covered_by_any(tasks, series.dataset)
    }
    stored = list_parts(store, [f"data/{series.path}/" for series in catalogues], price_list(context.config))
    ids = ids_by_series(stored)
    warnings: list[str] = []
    left: list[LeftUpload] = []
    uploads: Mapping[str, Sequence[UnfinishedUpload]] = {}
    try:
        uploads = uploads_by_series(store, host)
    except StoreDenied as error:
        warnings.append(f"Nobody knows which uploads were never finished. {error.explain()}")
    plans: list[SeriesPlan] = []
    unfinished: list[Unfinished] = []
    refused: list[tuple[Series, EngineError]] = []
    for series, found in catalogues.items():
        try:
            if series in busy:
                raise busy[series]
            _check(context, store, series, found, stored)
            backups = [stored[_data_prefix(one.manifest)].as_backup(one.manifest) for one in found.manifests]
            hidden = [one.manifest for one in found.hidden_from(signer, series)]
            plans.append(_plan(context, store, series, backups, hidden, stored, pay_early_deletion=pay_early_deletion))
            if policies_for(context.config, series.dataset):
                unfinished += find_unfinished(
                    store,
                    series,
                    backups,
                    ids=[*ids.get(series.path, ()), *found.lone_lists.get(series, ())],
                    known={one.manifest.backup_id for one in backups} | {*found.retired_by(signer, series)},
                    stored=stored,
                    now=context.clock(),
                )
                left += find_left_uploads(store, series, uploads.get(series.path, ()), backups)
        except EngineError as error:
            refused.append((series, error))
    retired = {one.series: catalogues[one.series] for one in plans}
    remains = _remains(store, retired, signer, stored)
    plan = CleanupPlan(
        tuple(plans), tuple(refused), sum(map(len, remains.values())), tuple(unfinished), tuple(left), tuple(warnings)
    )
    return Survey(plan, catalogues, remains)


def _by_series(catalogue: Catalogue, seen: Iterable[Series]) -> Iterator[tuple[Series, Catalogue]]:
    """The part of ``catalogue`` about each series: those that have backups, had some, or have problems."""
    manifests: dict[Series, list[CataloguedManifest]] = defaultdict(list)
    for found in catalogue.manifests:
        manifests[found.manifest.series].append(found)
    known = {*manifests, *catalogue.retired_backups, *seen}
    for problem in catalogue.problems:
        with suppress(ManifestInvalid):
            known.add(parse_series(problem.subject))
    for series in sorted(known, key=lambda one: (one.host, one.dataset)):
        yield (
            series,
            replace(
                catalogue,
                manifests=tuple(manifests[series]),
                problems=catalogue.problems_of(series),
                records=tuple(one for one in catalogue.records if one.record.series == series),
                retired_backups={series: catalogue.retired(series)},
            ),
        )


def _check(context: Context, store: Store, series: Series, found: Catalogue, stored: Mapping[str, Listed]) -> None:
    """Raise what speaks against removing anything of ``series``."""
    for problem in found.problems:
        raise problem
    if found.identity is None:
        return
    head = read_head(context.base_dir, found.identity.repository_id, series)
    losses = check_series(found.manifests, found.retired(series), highest_seen=head.seq, refused=found.refused(series))
    for loss in losses:
        if loss.key not in head.accepted:
            raise loss.error(series)
    now = context.clock()
    for one in found.manifests:
        _check_whole(store, one, stored)
        _check_time(one.manifest, now)


def _check_whole(store: Store, found: CataloguedManifest, stored: Mapping[str, Listed]) -> None:
    manifest = found.manifest
    there = stored.get(_data_prefix(manifest), Listed())
    whole = (there.objects, there.bytes) == (manifest.part_count, manifest.stored_bytes)
    if not whole or not found.has_part_list:
        raise PartMissing(
            f"Parts of the backup {manifest.backup_id} of {manifest.dataset.name} are not in {store.location}, or have "
            "another length",
            subject=manifest.backup_id,
            next_step="Nothing of this dataset is removed while one of its backups is damaged, since another may have "
            "to take its place: `zrb verify --depth exists` names what is missing",
        )


def _check_time(manifest: BackupSummary, now: datetime) -> None:
    youngest = max(manifest.created, manifest.snapshot.creation)
    if now < youngest:
        raise ClockSkewed(
            f"The backup {manifest.backup_id} of {manifest.dataset.name} is of {youngest:%Y-%m-%d %H:%M} UTC, and the "
            f"clock of this machine shows {now:%Y-%m-%d %H:%M} UTC",
            subject=manifest.dataset.name,
            next_step="One of the two clocks is wrong: set this one. Nothing of this dataset is removed until then",
        )


def _plan(
    context: Context,
    store: Store,
    series: Series,
    found: Sequence[StoredBackup],
    hidden: Sequence[BackupSummary],
    stored: Mapping[str, Listed],
    *,
    pay_early_deletion: bool,
) -> SeriesPlan:
    backups = {one.manifest.backup_id: one for one in found}
    policies = policies_for(context.config, series.dataset)
    now = context.clock()

    def plan() -> SeriesPlan:
        return plan_series(
            series,
            list(backups.values()),
            policies,
            now=now,
            prices=price_list(context.config),
            hidden=hidden,
            pay_early_deletion=pay_early_deletion,
        )

    first = plan()
    if store.kind == "directory" or not first.removals:
        return first
    # Only a look at an object shows whether it is locked, so only those are looked at that would go.
    for one in first.removals:
        backup_id = one.manifest.backup_id
        for youngest in stored[_data_prefix(one.manifest)].youngest:
            there = store.head(youngest.key)
            if there is not None and (there.locked_until or there.legal_hold):
                locked = replace(backups[backup_id], locked_until=there.locked_until, legal_hold=there.legal_hold)
                backups[backup_id] = locked
    return plan()


def _remains(
    store: Store, catalogues: Mapping[Series, Catalogue], signer: str, stored: Mapping[str, Listed]
) -> dict[Series, tuple[Remains, ...]]:
    """What is there of backups that ``signer`` retired."""
    retired = {series: found.retired_by(signer, series)[::-1] for series, found in catalogues.items()}
    prefixes = [series.manifest_prefix for series, ids in retired.items() if ids]
    listed = {item.key for item in list_all(store, prefixes)}
    remains: dict[Series, tuple[Remains, ...]] = {}
    for series, ids in retired.items():
        left = [
            Remains(
                tuple(key for key in whole.manifest_keys if key in listed),
                tuple(key for key in whole.part_list_keys if key in listed),
                whole.data_prefix if whole.data_prefix in stored else "",
            )
            for whole in (Remains.of(series, backup_id) for backup_id in ids)
        ]
        remains[series] = tuple(one for one in left if one.manifest_keys or one.part_list_keys or one.data_prefix)
    return remains


def _data_prefix(manifest: BackupSummary) -> str:
    return manifest.series.data_prefix(manifest.backup_id, manifest.level)
