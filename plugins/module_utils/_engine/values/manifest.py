# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of one backup: the payload of docs/format.md as values. The types of the fields say what they
may hold; ``manifest_json`` reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from .field_types import (
    AnyBackupId,
    ChecksumKind,
    Count,
    DatasetName,
    Guid,
    Hash,
    Level,
    Line,
    Name,
    PartCount,
    PartIndex,
    PartKey,
    PartListKey,
    Positive,
    Recipients,
    RepositoryId,
    SendFlags,
    SnapshotName,
    Texts,
    Time,
)
from .recipients import KeyKind, kind_of
from .repository_names import BackupId, Series
from .zfs import DatasetType


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the store returned for an object: ``kind`` is ``sha256``, ``sha256-composite`` …, or ``none`` if it keeps
    no checksum; ``value`` is as the store writes it. ``etag`` is the one of S3, which a listing shows, too: the same
    one means that nobody wrote the object again, another one means nothing."""

    kind: ChecksumKind
    value: Line
    etag: Line = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One age file, one object."""

    index: PartIndex
    key: PartKey
    plain_bytes: Positive
    plain_blake3: Hash
    bytes: Positive
    sha256: Hash
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class PartsSummary:
    """What the manifest says of the list of parts, which is an object of its own: its key, length and SHA-256 (hex),
    how many parts it names, and their encrypted bytes together."""

    key: PartListKey
    bytes: Positive
    sha256: Hash
    count: PartCount
    stored_bytes: Positive


@dataclass(frozen=True, slots=True)
class Base:
    """The backup that an incremental starts from; ``snapshot`` is the full snapshot name at that time."""

    backup_id: AnyBackupId
    snapshot: SnapshotName
    guid: Guid


@dataclass(frozen=True, slots=True)
class ManifestPool:
    """Pool the stream came from."""

    name: Name
    guid: Guid


@dataclass(frozen=True, slots=True)
class ManifestDataset:
    """Dataset the stream came from; ``name`` is the full name."""

    name: DatasetName
    guid: Guid
    type: DatasetType
    encrypted: bool


@dataclass(frozen=True, slots=True)
class ManifestSnapshot:
    """Snapshot that was sent; ``name`` is the full name."""

    name: SnapshotName
    guid: Guid
    createtxg: Count
    creation: Time


@dataclass(frozen=True, slots=True)
class SendRecord:
    """How the stream was made; the flags are frozen for the chain."""

    flags: SendFlags
    zfs_version: Name
    platform: Name


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """Length and BLAKE3 (hex) of the whole stream."""

    bytes: Positive
    blake3: Hash


@dataclass(frozen=True, slots=True)
class Encryption:
    """Who can open the parts, with keys of one kind; ``scheme`` is always ``age`` in format 1."""

    recipients: Recipients
    scheme: Literal["age"] = "age"

    @property
    def kind(self) -> KeyKind:
        """The kind of all the recipients."""
        return "hybrid" if any(kind_of(recipient) == "hybrid" for recipient in self.recipients) else "classic"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The payload of one manifest, format 1. ``previous`` is the SHA-256 (hex) of the payload of the manifest
    with ``seq`` - 1 in the same series, or ``None`` for the first."""

    format: Literal[1] = field(default=1, kw_only=True)
    repository_id: RepositoryId
    backup_id: AnyBackupId
    host: Name
    created: Time
    seq: Positive
    previous: Hash | None
    level: Level
    level_requested: Level
    chain: AnyBackupId
    base: Base | None
    pool: ManifestPool
    dataset: ManifestDataset
    snapshot: ManifestSnapshot
    send: SendRecord
    stream: StreamDigest
    encryption: Encryption
    part_size: Positive
    parts: PartsSummary
    properties: Texts
    tool: Name
    job: Texts

    @property
    def series(self) -> Series:
        """The series of backups this one belongs to."""
        return Series(host=self.host, dataset=self.dataset.name)

    @property
    def summary(self) -> BackupSummary:
        """What a catalogue keeps of it."""
        return BackupSummary(
            repository_id=self.repository_id,
            series=self.series,
            backup_id=self.backup_id,
            created=self.created,
            seq=self.seq,
            previous=self.previous,
            level=self.level,
            level_requested=self.level_requested,
            chain=self.chain,
            base=self.base,
            dataset=self.dataset,
            snapshot=self.snapshot,
            send=self.send,
            encryption=self.encryption,
            stream_bytes=self.stream.bytes,
            stored_bytes=self.parts.stored_bytes,
            part_count=self.parts.count,
            list_bytes=self.parts.bytes,
        )


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What lists, surveys and chains need of a manifest: half a kilobyte, so that there can be 100,000. A field that
    has the name of one of the manifest means the same; ``list_bytes`` is the length of the list of parts."""

    repository_id: str
    series: Series
    backup_id: BackupId
    created: datetime
    seq: int
    previous: str | None
    level: int
    level_requested: int
    chain: BackupId
    base: Base | None
    dataset: ManifestDataset
    snapshot: ManifestSnapshot
    send: SendRecord
    encryption: Encryption
    stream_bytes: int
    stored_bytes: int
    part_count: int
    list_bytes: int

    @property
    def host(self) -> str:
        """The machine that made it."""
        return self.series.host


@dataclass(frozen=True, slots=True)
class CataloguedManifest:
    """The summary of a committed manifest with what vouches for it: the public key (``None`` for nobody), the SHA-256
    (hex) of its payload, which the next manifest of the series names as ``previous``, and whether its list of parts is
    there, at its length."""

    manifest: BackupSummary
    signer: str | None
    payload_sha256: str
    has_part_list: bool = True

    @property
    def key(self) -> str:
        """Where the manifest stands."""
        return self.manifest.series.manifest_key(self.manifest.backup_id)
