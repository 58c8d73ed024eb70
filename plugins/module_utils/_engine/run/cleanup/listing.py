# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists the parts that are in a repository, by the backup that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...plan.price_list import PriceList
from ...store.protocol import Store, StoredObject
from ...values.repository_names import part_index


@dataclass
class Listed:
    """What a listing shows about the parts of one backup: the youngest of each class, how many these are, and the sums
    of their bytes and of the bytes that they are billed as."""

    count: int = 0
    bytes: int = 0
    count_of: dict[str, int] = field(default_factory=dict)
    billed_of: dict[str, int] = field(default_factory=dict)
    youngest: dict[str, StoredObject] = field(default_factory=dict)

    def add(self, item: StoredObject, prices: PriceList) -> None:
        """Count one more part."""
        name = item.storage_class
        self.count += 1
        self.bytes += item.bytes
        self.count_of[name] = self.count_of.get(name, 0) + 1
        self.billed_of[name] = self.billed_of.get(name, 0) + prices.billed_bytes(name, item.bytes)
        if name not in self.youngest or written(item) > written(self.youngest[name]):
            self.youngest[name] = item


def list_parts(store: Store, prefixes: Sequence[str], prices: PriceList) -> dict[str, Listed]:
    """By the prefix of a backup's parts. Lists a thousand objects per request."""
    found: dict[str, Listed] = {}
    for item in list_all(store, prefixes):
        prefix, slash, name = item.key.rpartition("/")
        if part_index(name) is not None:
            found.setdefault(prefix + slash, Listed()).add(item, prices)
    return found


def parts_below(store: Store, data_prefix: str) -> Iterator[StoredObject]:
    """The parts of one backup, and nothing that is not named like one."""
    return (item for item in store.list(data_prefix) if part_index(item.key.removeprefix(data_prefix)) is not None)


def list_all(store: Store, prefixes: Sequence[str]) -> Iterator[StoredObject]:
    """All objects with any of these prefixes, each once."""
    done = "/"
    for prefix in sorted(prefixes):
        if not prefix.startswith(done):  # else it was listed with the dataset above
            done = prefix
            yield from store.list(prefix)


def written(item: StoredObject) -> float:
    """When the object was written, for comparisons."""
    return item.modified.timestamp() if item.modified else 0.0
