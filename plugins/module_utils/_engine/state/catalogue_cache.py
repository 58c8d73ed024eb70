# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers the summaries of manifests that were proved, so that a list need not read them all again.

Only ever a cache, one file for each series. What cannot be read, was damaged, or is of another repository, other
signers or another version counts as nothing, and what cannot be written is not remembered. Nothing that restores,
verifies, commits or removes may use it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from ..values.manifest import (
    BackupSummary,
    Base,
    CataloguedManifest,
    Encryption,
    ManifestDataset,
    ManifestSnapshot,
    SendRecord,
)
from ..values.repository_names import BackupId, Series, encode_component
from .durable_files import replace_durably

_VERSION: Final = 1
"""Another one means that the files of before are not read any more: change it with every field of a row."""
_NAME: Final = "summaries.json"
_MAX_BYTES: Final = 256 * 1024 * 1024


class CatalogueCache:
    """What is remembered below ``base_dir`` of one repository, as those who trust these signers see it."""

    def __init__(self, base_dir: Path, *, repository_id: str, trusted: Collection[str]) -> None:
        self._root = base_dir / "state" / "catalogue" / repository_id
        self._repository_id = repository_id
        self._trusted = sorted(set(trusted))

    def load(self, series: Series) -> dict[BackupId, tuple[str, CataloguedManifest]]:
        """The summaries of ``series``, each with the stamp that it was saved with."""
        try:
            digest, _newline, body = _read(self._path(series)).partition(b"\n")
            if digest.decode() == self._digest(series, body):
                return dict(_summaries(json.loads(body), self._repository_id, series))
        except (OSError, ValueError, TypeError, IndexError):
            pass
        return {}

    def save(self, series: Series, entries: Mapping[BackupId, tuple[str, CataloguedManifest]]) -> None:
        """Remember ``entries``, and nothing else of ``series``."""
        body = json.dumps(_document(entries.values()), separators=(",", ":"))
        with suppress(OSError):
            replace_durably(self._path(series), f"{self._digest(series, body.encode())}\n{body}")

    def keep_only(self, kept: Collection[Series], *, host: str | None) -> None:
        """Forget all series of ``host``, or of all hosts, but these."""
        with suppress(OSError):
            for path in (self._root / encode_component(host) if host else self._root).rglob(_NAME):
                owner, *dataset = map(unquote, path.parent.relative_to(self._root).parts)
                if Series(owner, "/".join(dataset)) not in kept:
                    path.unlink()

    def _path(self, series: Series) -> Path:
        return self._root / series.path / _NAME

    def _digest(self, series: Series, body: bytes) -> str:
        context = [_VERSION, self._repository_id, self._trusted, series.host, series.dataset]
        return hashlib.sha256(json.dumps(context).encode() + b"\n" + body).hexdigest()


def _read(path: Path) -> bytes:
    # Never wait for a pipe, and never follow a link.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            raise ValueError("it is not a file of zrb")
        return file.read()


def _document(entries: Iterable[tuple[str, CataloguedManifest]]) -> dict[str, Any]:
    """What many summaries have in common stands there once, and each row names it by its number."""
    common: dict[tuple[Any, ...], int] = {}
    rows = []
    for stamp, entry in entries:
        one = entry.manifest
        number = common.setdefault((one.dataset, one.send, one.encryption, entry.signer), len(common))
        base, snapshot = one.base, one.snapshot
        rows.append(
            [
                *(one.backup_id, stamp, number, _seconds(one.created), one.seq, one.previous, one.level),
                *(one.level_requested, one.chain),
                *((base.backup_id, base.snapshot, base.guid) if base else (None, None, None)),
                *(snapshot.name, snapshot.guid, snapshot.createtxg, _seconds(snapshot.creation)),
                *(one.stream_bytes, one.stored_bytes, one.part_count, one.list_bytes, entry.payload_sha256),
            ]
        )
    shared = [
        [
            [dataset.name, dataset.guid, dataset.type, dataset.encrypted],
            [send.flags, send.zfs_version, send.platform],
            [encryption.recipients, encryption.scheme],
            signer,
        ]
        for dataset, send, encryption, signer in common
    ]
    return {"common": shared, "rows": rows}


def _summaries(
    document: Any, repository_id: str, series: Series
) -> Iterator[tuple[BackupId, tuple[str, CataloguedManifest]]]:
    common = [
        (
            ManifestDataset(*dataset),
            SendRecord(tuple(flags), version, platform),
            Encryption(tuple(recipients), scheme),
            signer,
        )
        for dataset, (flags, version, platform), (recipients, scheme), signer in document["common"]
    ]
    # A backup is named by those that start from it, and its hash by the next one.
    same: dict[Any, Any] = {}
    for row in document["rows"]:
        stamp, number = row[1:3]
        row[1:3] = ()
        for position in _REPEATED:
            row[position] = same.setdefault(row[position], row[position])
        backup_id, created, seq, previous, level, requested, chain, base_id, base_name, base_guid = row[:10]
        name, guid, createtxg, creation, stream_bytes, stored_bytes, parts, list_bytes, digest = row[10:]
        dataset, send, encryption, signer = common[number]
        summary = BackupSummary(
            repository_id=repository_id,
            series=series,
            backup_id=backup_id,
            created=_time(created),
            seq=seq,
            previous=previous,
            level=level,
            level_requested=requested,
            chain=chain,
            base=Base(base_id, base_name, base_guid) if base_id is not None else None,
            dataset=dataset,
            snapshot=ManifestSnapshot(name, guid, createtxg, _time(creation)),
            send=send,
            encryption=encryption,
            stream_bytes=stream_bytes,
            stored_bytes=stored_bytes,
            part_count=parts,
            list_bytes=list_bytes,
        )
        yield backup_id, (stamp, CataloguedManifest(summary, signer, digest))


_REPEATED: Final = (0, 3, 6, 7, 8, 9, 10, 11, 18)
"""The positions of ids, hashes, names and guids in a row without its stamp and number."""


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
