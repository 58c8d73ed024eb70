# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds what is there of backups without a manifest, parts and lists of parts, and uploads that were not completed, and
says with which of them no run goes on."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...plan.retention import StoredBackup, is_abandoned
from ...repository.listed_objects import Listed
from ...store.protocol import Store, StoredObject, UnfinishedUpload
from ...values.json_records import write_time
from ...values.repository_names import (
    BACKUP_ID_PATTERN,
    MANIFEST_SUFFIX,
    MAX_LEVEL,
    PART_LIST_SUFFIX,
    RETIREMENT_SUFFIX,
    BackupId,
    Series,
    encode_component,
    level_of,
    parse_data_prefix,
    part_index,
    time_of,
)
from .listing import parts_below

_BESIDE = (MANIFEST_SUFFIX, PART_LIST_SUFFIX, RETIREMENT_SUFFIX)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is there of a backup without a manifest; ``written`` is when the youngest object was. If it is
    ``abandoned``, no run goes on with it, and it goes."""

    series: Series
    backup_id: BackupId
    objects: int
    bytes: int
    written: datetime
    abandoned: bool

    def there(self, store: Store) -> Iterator[StoredObject]:
        """The list of parts, and the parts, that are there now."""
        yield from _head(store, [self.series.part_list_key(self.backup_id)])
        yield from parts_below(store, self.series.data_prefix(self.backup_id, level_of(self.backup_id)))

    def is_as_it_was(self, store: Store) -> bool:
        """Whether nobody has gone on with it since: there is no manifest, and no younger object."""
        if store.head(self.series.manifest_key(self.backup_id)) is not None:
            return False
        return all(item.modified is not None and item.modified <= self.written for item in self.there(store))

    def as_json(self) -> dict[str, Any]:
        """The entry for machines."""
        return {
            "host": self.series.host,
            "dataset": self.series.dataset,
            "backup_id": self.backup_id,
            "objects": self.objects,
            "bytes": self.bytes,
            "written": write_time(self.written),
            "fate": "remove" if self.abandoned else "keep",
        }


@dataclass(frozen=True, slots=True)
class LeftUpload:
    """An upload that nobody completed. No later run goes on with one: a run that resumes a backup begins it anew. It is
    ``abandoned`` if the run that began it has ended, and if ending it costs no object."""

    series: Series
    upload: UnfinishedUpload
    abandoned: bool

    def is_as_it_was(self, store: Store) -> bool:
        """Whether it is still there, nothing was added to it as far as the store says, and no object has its key."""
        return self.upload in store.uploads(self.upload.key) and _head(store, [self.upload.key]) == []

    def as_json(self) -> dict[str, Any]:
        """The entry for machines."""
        return {
            "host": self.series.host,
            "dataset": self.series.dataset,
            "key": self.upload.key,
            "bytes": self.upload.bytes,
            "started": write_time(self.upload.started),
            "fate": "remove" if self.abandoned else "keep",
        }


def uploads_by_series(store: Store, host: str | None) -> Mapping[str, Sequence[UnfinishedUpload]]:
    """The unfinished uploads of what ``host``, or anybody, writes with a backup, by the path of the series."""
    below = f"{encode_component(host)}/" if host else ""
    unnamed = store.kind == "directory"
    found: dict[str, list[UnfinishedUpload]] = defaultdict(list)
    for upload in (*store.uploads(f"data/{below}"), *store.uploads(f"manifests/{below}")):
        directory, slash, name = upload.key.rpartition("/")
        place = parse_data_prefix(directory + slash)
        if place is not None and (unnamed or part_index(name) is not None):
            found[place[0]].append(upload)
        elif directory.startswith("manifests/") and (unnamed or name.endswith(_BESIDE)):
            found[directory.removeprefix("manifests/")].append(upload)
    return found


def find_left_uploads(
    store: Store, series: Series, uploads: Iterable[UnfinishedUpload], backups: Sequence[StoredBackup]
) -> Iterator[LeftUpload]:
    """What becomes of the unfinished ``uploads`` of ``series``, of which ``backups`` are all committed ones."""
    for upload in uploads:
        # Any later backup shows that the run has ended: runs of one dataset follow one another.
        ended = is_abandoned(MAX_LEVEL, _begun(upload), backups)
        # Some endpoints delete the object of a key with an upload to it. So if a resumed run wrote that object, its
        # upload stays as long. It holds next to nothing: the journal knows all uploads with chunks.
        yield LeftUpload(series, upload, ended and not _head(store, [upload.key]))


def _begun(upload: UnfinishedUpload) -> datetime:
    """When it was begun, and not before its backup was: there are endpoints that show one time for all uploads."""
    for backup_id in re.findall(BACKUP_ID_PATTERN, upload.key)[-1:]:
        with suppress(ValueError):
            return max(upload.started, time_of(BackupId(backup_id)))
    return upload.started


def ids_by_series(data_prefixes: Iterable[str]) -> Mapping[str, Sequence[BackupId]]:
    """The backups of which parts are there, by the path of their series."""
    found: dict[str, list[BackupId]] = defaultdict(list)
    for place in filter(None, map(parse_data_prefix, data_prefixes)):
        found[place[0]].append(place[1])
    return found


def find_unfinished(
    store: Store,
    series: Series,
    backups: Sequence[StoredBackup],
    *,
    ids: Iterable[BackupId],
    known: Container[BackupId],
    stored: Mapping[str, Listed],
    now: datetime,
) -> Iterator[Unfinished]:
    """What of ``ids`` is of no backup. ``backups`` are all committed ones; ``known`` are they, and those whose removal
    is another matter."""
    for backup_id in sorted({one for one in ids if one not in known}):
        # Committed since it was listed, or retired by somebody else: that is no reason to delete anything.
        if store.head(series.manifest_key(backup_id)) is not None:
            continue
        parts = stored.get(series.data_prefix(backup_id, level_of(backup_id)), Listed())
        lists = _head(store, [series.part_list_key(backup_id)])
        youngest = [*parts.youngest, *lists]
        moments = [item.modified for item in youngest if item.modified is not None]
        if not moments or len(moments) < len(youngest):
            continue  # a store that does not say when
        abandoned = is_abandoned(level_of(backup_id), max(moments), backups)
        if abandoned and store.kind != "directory":
            there = _head(store, [item.key for item in youngest])
            abandoned = not any(one.legal_hold or (one.locked_until and one.locked_until > now) for one in there)
        yield Unfinished(
            series,
            backup_id,
            objects=parts.objects + len(lists),
            bytes=parts.bytes + sum(one.bytes for one in lists),
            written=max(moments),
            abandoned=abandoned,
        )


def _head(store: Store, keys: Iterable[str]) -> list[StoredObject]:
    return [found for found in map(store.head, keys) if found is not None]
