# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ZFS objects. The engine identifies them by guid and orders them by createtxg, never by name or clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

DatasetType = Literal["filesystem", "volume"]


@dataclass(frozen=True, slots=True)
class Pool:
    """An imported pool. ``guid`` is a decimal string, since JSON numbers lose its last digits."""

    name: str
    guid: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """A filesystem or volume. ``name`` is the full name, pool first."""

    name: str
    guid: str
    type: DatasetType
    encrypted: bool = False

    @property
    def pool_name(self) -> str:
        """The part of the name before the first slash."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot; ``name`` is ``pool/dataset@snapshot``."""

    name: str
    guid: str
    createtxg: int
    creation: datetime
    user_holds: int = 0
    written: int | None = None
    """Bytes written since the snapshot before it, if this ZFS can tell."""
    ours: bool = False
    """zrb took it, and nobody has renamed it since."""

    @property
    def dataset_name(self) -> str:
        """The dataset's full name."""
        return self.name.partition("@")[0]

    @property
    def short_name(self) -> str:
        """The part after the ``@``."""
        return self.name.partition("@")[2]


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A bookmark; ``name`` is ``pool/dataset#bookmark``. Its guid is the guid of the snapshot it remembers."""

    name: str
    guid: str
    createtxg: int
    creation: datetime


@dataclass(frozen=True, slots=True)
class Inventory:
    """A dataset, its own snapshots and its own bookmarks, oldest (lowest createtxg) first."""

    dataset: Dataset
    snapshots: tuple[Snapshot, ...]
    bookmarks: tuple[Bookmark, ...]


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A snapshot, and the properties that its dataset does not inherit: those set or received on it."""

    snapshot: Snapshot
    properties: dict[str, str]


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where a receive that was cut off stands: at the record of its stream that writes ``object`` at ``offset``, the
    last one that is safely there. Guids as in :class:`Snapshot`; ``from_guid`` is ``None`` in a full stream."""

    to_guid: str
    from_guid: str | None
    object: int
    offset: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the ZFS of this machine can do. Probed once, never derived from the platform's name."""

    version: str
    """The ZFS's own name: ``zfs-2.3.2-2`` or, before ``zfs version`` existed, ``pool version 23``."""
    platform: str
    """``platform.system()`` and kernel release, e.g. ``Linux 6.12.48``."""
    send_large_blocks: bool
    """``zfs send -L``."""
    send_compressed: bool
    """``zfs send -c``."""
    send_raw: bool
    """``zfs send -w``."""
    send_estimate: bool
    """``zfs send -nP``."""
    bookmarks: bool
    multiple_snapshots: bool
    """``zfs snapshot a@x b@x`` in one transaction group."""
    receive_unmounted: bool
    """``zfs receive -u``."""
    receive_properties: bool
    """``zfs receive -o property=value`` and ``-x property``."""
    receive_resumable: bool
    """``zfs receive -s`` and the property ``receive_resume_token``."""
    encryption: bool
    """Datasets have the property ``encryption``."""
