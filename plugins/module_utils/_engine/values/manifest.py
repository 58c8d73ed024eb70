# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The manifest of one backup: the payload of docs/format.md as values. Reading and writing its JSON is in
``manifest_json``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .recipients import KeyKind, kind_of
from .repository import BackupId, Line
from .zfs import DatasetType


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the store returned for an object: ``kind`` is ``sha256``, ``sha256-composite``, ``crc32``, ``etag`` …,
    or ``none`` where it returned nothing; ``value`` is as the store writes it."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Part:
    """One age file, one object."""

    index: int
    key: str
    plain_bytes: int
    plain_blake3: str
    bytes: int
    sha256: str
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Base:
    """The backup that an incremental starts from; ``snapshot`` is the full snapshot name at that time."""

    backup_id: BackupId
    snapshot: str
    guid: str


@dataclass(frozen=True, slots=True)
class ManifestPool:
    """Pool the stream came from."""

    name: str
    guid: str


@dataclass(frozen=True, slots=True)
class ManifestDataset:
    """Dataset the stream came from; ``name`` is the full name."""

    name: str
    guid: str
    type: DatasetType
    encrypted: bool


@dataclass(frozen=True, slots=True)
class ManifestSnapshot:
    """Snapshot that was sent; ``name`` is the full name."""

    name: str
    guid: str
    createtxg: int
    creation: datetime


@dataclass(frozen=True, slots=True)
class SendRecord:
    """How the stream was made; the flags are frozen for the chain."""

    flags: tuple[str, ...]
    zfs_version: str
    platform: str


@dataclass(frozen=True, slots=True)
class StreamDigest:
    """Length and BLAKE3 (hex) of the whole stream."""

    bytes: int
    blake3: str


@dataclass(frozen=True, slots=True)
class Encryption:
    """Who can open the parts, with keys of one kind; ``scheme`` is always ``age`` in format 1."""

    recipients: tuple[str, ...]
    scheme: Literal["age"] = "age"

    @property
    def kind(self) -> KeyKind:
        """The kind of all the recipients."""
        return "hybrid" if any(kind_of(recipient) == "hybrid" for recipient in self.recipients) else "classic"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The payload of one manifest, format 1. ``previous`` is the SHA-256 (hex) of the payload of the manifest
    with ``seq`` - 1 in the same line, or ``None`` for the first."""

    repository_id: str
    backup_id: BackupId
    host: str
    created: datetime
    seq: int
    previous: str | None
    level: int
    level_requested: int
    chain: BackupId
    base: Base | None
    pool: ManifestPool
    dataset: ManifestDataset
    snapshot: ManifestSnapshot
    send: SendRecord
    stream: StreamDigest
    encryption: Encryption
    part_size: int
    parts: tuple[Part, ...]
    properties: dict[str, str]
    tool: str
    job: dict[str, str]

    @property
    def line(self) -> Line:
        """The line of backups this one belongs to."""
        return Line(host=self.host, dataset=self.dataset.name)

    @property
    def stored_bytes(self) -> int:
        """Encrypted bytes of all parts."""
        return sum(part.bytes for part in self.parts)


@dataclass(frozen=True, slots=True)
class CataloguedManifest:
    """A committed manifest with where it came from: its key, the public key that vouches for it (``None`` for
    nobody), and the SHA-256 (hex) of its payload, which the next manifest of the line names as ``previous``."""

    manifest: Manifest
    key: str
    signer: str | None
    payload_sha256: str
