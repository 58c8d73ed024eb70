# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists the parts that are in a repository, by the backup that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...plan.price_list import PriceList
from ...repository.listed_objects import Listed
from ...store.protocol import Store, StoredObject
from ...values.repository_names import part_index


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
