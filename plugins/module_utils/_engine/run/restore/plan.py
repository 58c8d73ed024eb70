# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restore is going to do, decided from manifests and a listing alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from ...errors import NoSuchBackup, PartDamaged, PartMissing, UsageError
from ...plan.chain import check_not_retired, check_series, resolve_chain, select_backup
from ...plan.part_proof import beside_listing
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.part_list import open_part_list
from ...repository.signed_objects import read_manifest
from ...state.highest_seen import read_head
from ...store.protocol import Store, StoredObject
from ...values.manifest import BackupSummary, Manifest, Part
from ...values.repository_names import Series
from ..context import Context
from .feed_receive import Resumption, find_resumption
from .held_links import Presence, find_presence


@dataclass(frozen=True, slots=True)
class RestoreSelection:
    """What to restore to where. ``dataset`` is the full name it had; ``host`` defaults to this machine's. Without
    ``level``, ``backup_id`` and ``at`` it is the newest backup. ``only`` receives that one link alone; ``continues``
    goes on if the target holds the first links already."""

    dataset: str
    target: str
    host: str | None = None
    level: int | None = None
    backup_id: str | None = None
    at: datetime | None = None
    only: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class RestoreLink:
    """One stream to receive. ``readable`` is false while one of its parts has to be thawed. A ``present`` one was
    received before: nobody looked for its parts. ``fetched_bytes`` are to download, ``first_part`` is the first one of
    these parts, and ``resumption`` says how to go on if it was cut off."""

    manifest: Manifest
    storage_class: str
    readable: bool
    fetched_bytes: int
    present: bool = False
    first_part: Part | None = None
    resumption: Resumption | None = None

    @property
    def goes_on(self) -> bool:
        """Whether it is read from the middle of its stream."""
        return self.resumption is not None and self.resumption.since is not None

    def as_json(self) -> dict[str, Any]:
        """The link for machines."""
        manifest = self.manifest
        return {
            "backup_id": manifest.backup_id,
            "level": manifest.level,
            "snapshot": manifest.snapshot.name,
            "guid": manifest.snapshot.guid,
            "stream_bytes": manifest.stream.bytes,
            "stored_bytes": manifest.parts.stored_bytes,
            "parts": manifest.parts.count,
            "storage_class": self.storage_class,
            "readable": self.readable,
            "present": self.present,
            "fetched_bytes": self.fetched_bytes,
        }


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """The links of a chain, in order, and what of them ``target`` holds already."""

    dataset: str
    target: str
    links: tuple[RestoreLink, ...]
    warnings: tuple[str, ...]
    presence: Presence = Presence()

    @property
    def missing(self) -> tuple[RestoreLink, ...]:
        """The links to receive."""
        return self.links[self.presence.links :]

    @property
    def done(self) -> bool:
        """Whether everything is there, and nothing is left to do."""
        return not self.missing and self.presence.finished

    @property
    def stream_bytes(self) -> int:
        """Bytes that ``zfs receive`` will read."""
        passed = sum(link.resumption.passed_bytes for link in self.missing if link.resumption)
        return sum(link.manifest.stream.bytes for link in self.missing) - passed

    @property
    def stored_bytes(self) -> int:
        """Bytes to download."""
        return sum(link.fetched_bytes for link in self.links)

    def as_json(self) -> dict[str, Any]:
        """The plan for machines."""
        return {
            "dataset": self.dataset,
            "target": self.target,
            "links": [link.as_json() for link in self.links],
            "stream_bytes": self.stream_bytes,
            "stored_bytes": self.stored_bytes,
            "done": self.done,
            "warnings": list(self.warnings),
        }


def read_plan(
    context: Context, store: Store, selection: RestoreSelection, *, trusted: tuple[str, ...], allow_unsigned: bool
) -> RestorePlan:
    """The plan for ``selection``. Raises ``NoSuchBackup``, ``ChainBroken``, ``PartMissing``, ``PartDamaged``,
    ``TargetExists``, and what the store raises."""
    if selection.only and selection.continues:
        raise UsageError("--only and --continue cannot be used together", next_step="Use one of them")
    series = Series(host=selection.host or context.config.host, dataset=selection.dataset)
    catalogue = read_catalogue(
        store,
        trusted=trusted,
        host=series.host,
        dataset=series.dataset,
        allow_unsigned=allow_unsigned,
        known=context.known_id,
    )
    _check_problems(catalogue, selection)
    target = choose_backup(catalogue, series, selection)
    summaries = [entry.manifest for entry in catalogue.manifests]
    resolved = (target,) if selection.only else resolve_chain(summaries, target.backup_id)
    by_id = {entry.manifest.backup_id: entry for entry in catalogue.manifests}
    chain = [read_manifest(store, by_id[link.backup_id]) for link in resolved]
    presence = find_presence(context, selection.target, chain) if selection.continues else Presence()
    links = [_present_link(manifest) for manifest in chain[: presence.links]]
    for manifest in chain[presence.links :]:
        resumption = None
        if presence.cut_at and len(links) == presence.links:
            resumption = find_resumption(context, selection.target, manifest, presence.cut_at)
        links.append(_link(store, manifest, resumption))
    return RestorePlan(
        dataset=selection.dataset,
        target=selection.target,
        links=tuple(links),
        warnings=tuple(_warnings(context, catalogue, series, selection, allow_unsigned)),
        presence=presence,
    )


def choose_backup(catalogue: Catalogue, series: Series, selection: RestoreSelection) -> BackupSummary:
    """The selected one of the backups of ``series``. Raises :class:`NoSuchBackup`."""
    manifests = [entry.manifest for entry in catalogue.manifests]
    retired = catalogue.retired(series)
    check_not_retired(retired, selection.backup_id)
    if not manifests:
        also = f"; {len(retired)} that it made were retired" if retired else ""
        raise NoSuchBackup(
            f"There is no committed backup of {series.dataset} made by the host {series.host}{also}",
            subject=series.dataset,
            next_step="Give dataset and host as they were called then; `zrb list --host '*'` shows all backups",
        )
    return select_backup(manifests, level=selection.level, backup_id=selection.backup_id, at=selection.at)


def _check_problems(catalogue: Catalogue, selection: RestoreSelection) -> None:
    """A refused manifest may be the very one that is wanted: never fall back to another backup unasked."""
    for problem in catalogue.problems:
        if selection.backup_id is None or selection.backup_id in problem.subject:
            problem.next_step += "; to restore another backup nevertheless, name it with --backup-id (`zrb list`)"
            raise problem


def _warnings(
    context: Context, catalogue: Catalogue, series: Series, selection: RestoreSelection, allow_unsigned: bool
) -> list[str]:
    warnings = [problem.explain() for problem in catalogue.problems]
    repository_id = catalogue.identity.repository_id if catalogue.identity else ""
    head = read_head(context.base_dir, repository_id, series)
    losses = check_series(
        catalogue.manifests,
        catalogue.retired(series),
        highest_seen=head.seq,
        refused=catalogue.refused(series),
    )
    for loss in losses:
        if loss.key in head.accepted:
            continue
        if loss.newest and selection.backup_id is None:
            error = loss.error(series)
            error.next_step += "; to restore one of those that are there, name it with --backup-id (`zrb list`)"
            raise error
        warnings.append(loss.sentence)
    if allow_unsigned and any(entry.signer is None for entry in catalogue.manifests):
        warnings.append(
            "Manifests without a trusted signature were accepted: whoever can write to the repository can have "
            "chosen what is restored, and zfs receive runs it in the kernel."
        )
    return warnings


def _present_link(manifest: Manifest) -> RestoreLink:
    return RestoreLink(manifest=manifest, storage_class="", readable=True, fetched_bytes=0, present=True)


def _link(store: Store, manifest: Manifest, resumption: Resumption | None) -> RestoreLink:
    prefix = manifest.series.data_prefix(manifest.backup_id, manifest.level)
    classes: set[str] = set()
    readable = True
    fetched_bytes = 0
    first_part: Part | None = None
    begin = resumption.first_part if resumption else 0
    with open_part_list(store, manifest) as parts:
        for part, item in beside_listing(islice(parts, begin, None), store.list(prefix)):
            if item is None:
                raise PartMissing(
                    f"Part {part.index} of backup {manifest.backup_id} ({part.key}) is not in {store.location}",
                    subject=part.key,
                    next_step="This backup cannot be restored without it; `zrb verify --depth exists` shows which can",
                )
            if item.bytes != part.bytes:
                raise PartDamaged(
                    f"{part.key} has {item.bytes} bytes, and its signed manifest states {part.bytes}",
                    subject=part.key,
                    next_step="The object was replaced or cut short: choose another backup with `zrb list`",
                )
            first_part = first_part or part
            fetched_bytes += part.bytes
            classes.add(item.storage_class)
            readable = readable and _readable(store, item)
    return RestoreLink(
        manifest=manifest,
        storage_class="+".join(sorted(classes)),
        readable=readable,
        fetched_bytes=fetched_bytes,
        first_part=first_part,
        resumption=resumption,
    )


def _readable(store: Store, item: StoredObject) -> bool:
    if item.readable:
        return True
    fresh = store.head(item.key)  # a listing does not say what was thawed
    return fresh is not None and fresh.readable
