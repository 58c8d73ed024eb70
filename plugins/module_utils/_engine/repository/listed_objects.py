# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Adds up what a listing shows, by storage class."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..plan.price_list import PriceList
from ..plan.retention import StoredBackup, StoredParts
from ..store.protocol import StoredObject
from ..values.manifest import BackupSummary


@dataclass(slots=True)
class ListedClass:
    """Objects of one storage class: how many, their bytes, the bytes that they are billed as, and the youngest one."""

    objects: int = 0
    bytes: int = 0
    billed_bytes: int = 0
    youngest: StoredObject | None = None

    def add(self, item: StoredObject, billed_bytes: int) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += item.bytes
        self.billed_bytes += billed_bytes
        if self.youngest is None or _written(item) > _written(self.youngest):
            self.youngest = item


@dataclass(slots=True)
class Listed:
    """The objects of one backup."""

    of_class: dict[str, ListedClass] = field(default_factory=dict)

    def add(self, item: StoredObject, prices: PriceList) -> None:
        """Count one more."""
        billed_bytes = prices.billed_bytes(item.storage_class, item.bytes)
        self.of_class.setdefault(item.storage_class, ListedClass()).add(item, billed_bytes)

    @property
    def objects(self) -> int:
        """How many they are."""
        return sum(one.objects for one in self.of_class.values())

    @property
    def bytes(self) -> int:
        """The sum of their lengths."""
        return sum(one.bytes for one in self.of_class.values())

    @property
    def youngest(self) -> list[StoredObject]:
        """The youngest one of each class."""
        return [one.youngest for one in self.of_class.values() if one.youngest is not None]

    def as_backup(self, manifest: BackupSummary) -> StoredBackup:
        """What a plan needs to know. If the store does not say when an object was written, the manifest does."""
        parts = []
        for name, one in self.of_class.items():
            written = one.youngest.modified if one.youngest else None
            parts.append(StoredParts(name, one.objects, one.billed_bytes, written or manifest.created))
        return StoredBackup(manifest, tuple(parts))


def _written(item: StoredObject) -> float:
    return item.modified.timestamp() if item.modified else 0.0
