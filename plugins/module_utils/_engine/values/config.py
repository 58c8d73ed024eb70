# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration as values. All defaults are here. ``config/`` reads the file into these classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from .retention import Retention

KIB = 1024
MIB = 1024 * KIB

PATIENCE_S = 6 * 3600
PATIENCE_TO_LOOK_S = 5 * 60
"""At a terminal, and of what only looks."""

ChecksumMode = Literal["auto", "required", "off"]
RawMode = Literal["auto", "always", "never"]


@dataclass(frozen=True, slots=True)
class StorageClasses:
    """S3 storage classes: one for manifests, one per level for parts. The last of ``backup_data`` repeats."""

    manifest: str = "STANDARD"
    backup_data: tuple[str, ...] = ("STANDARD",)

    def for_level(self, level: int) -> str:
        """Return the class for parts of a backup at ``level``."""
        return self.backup_data[min(level, len(self.backup_data) - 1)]


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """Explicit credentials from a module's caller. They are never stored in the configuration file."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The bucket and how to access it. ``prefix`` ends with a slash or is empty."""

    bucket: str
    region: str = "us-east-1"
    prefix: str = ""
    endpoint: str = ""
    ca_bundle: str = ""
    validate_certs: bool = True
    """Only a module's caller can turn this off, and gets a warning. The configuration file has no such key."""
    expected_bucket_owner: str = ""
    checksums: ChecksumMode = "auto"
    storage_class: StorageClasses = StorageClasses()
    max_attempts: int = 8
    profile: str = ""
    credentials_file: str = ""
    """An AWS shared credentials file that replaces the default one. If empty, the usual chain applies."""
    credentials: S3Credentials | None = None


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """A repository in a directory."""

    path: PurePosixPath


@dataclass(frozen=True, slots=True)
class Task:
    """A named dataset to back up."""

    name: str
    pool: str
    dataset: str
    """Name below the pool, or empty for the root dataset of the pool."""
    description: str = ""
    enabled: bool = True
    recursive: bool = False
    exclude: tuple[str, ...] = ()
    snapshot_prefix: str = "zrb"
    take_snapshot: bool = True
    raw: RawMode = "auto"
    retention: Retention | None = None
    """``None``: that of the configuration."""

    @property
    def dataset_name(self) -> str:
        """Full ZFS name."""
        return f"{self.pool}/{self.dataset}" if self.dataset else self.pool

    @property
    def hold_tag(self) -> str:
        """Tag of the holds of `zrb snapshot`, until a backup needs the snapshot."""
        return f"zrb:{self.name}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes. A ``part_size`` or ``chunk_size`` of 0 is chosen for each stream: ``plan/part_sizes.py``.
    ``memory_limit`` bounds all buffers together; ``bandwidth_limit`` is bytes/s, 0 for none; ``proof`` decrypts what a
    backup stores, to find bits that flip in memory."""

    part_size: int = 0
    chunk_size: int = 0
    memory_limit: int = 512 * MIB
    workers: int = 4
    bandwidth_limit: int = 0
    proof: bool = True


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a run needs to know. Exactly one of ``s3`` and ``local`` is set."""

    base_dir: PurePosixPath
    log_dir: PurePosixPath
    host: str
    recipients: tuple[str, ...]
    signing_key: PurePosixPath | None = None
    trusted_signers: tuple[str, ...] = ()
    s3: S3Settings | None = None
    local: LocalSettings | None = None
    limits: Limits = Limits()
    patience_s: int | None = None
    """How long a transfer waits for a store that is away. ``None``: the caller decides."""
    retention: Retention = Retention()
    """Of all tasks that have none of their own."""
    prices: Mapping[str, float] = field(default_factory=dict)
    """Of a GB (10**9 bytes) for a month, by storage class, in the owner's currency. What is not here is unknown."""
    tasks: tuple[Task, ...] = ()

    @property
    def destination(self) -> str:
        """Identifies the place of the repository: endpoint, bucket and prefix, or a path."""
        if self.s3 is not None:
            return f"{self.s3.endpoint.rstrip('/')}/{self.s3.bucket}/{self.s3.prefix}"
        return str(self.local.path) if self.local else ""

    @property
    def storage_classes(self) -> StorageClasses:
        """Storage classes of the repository. In a directory, everything is ``STANDARD``."""
        return self.s3.storage_class if self.s3 else StorageClasses()
