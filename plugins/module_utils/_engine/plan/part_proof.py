# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares parts with a listing, decides whether a store's checksum proves a part, and limits the number of parts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from ..errors import UsageError
from ..values.field_types import MAX_PARTS
from ..values.manifest import Checksum, Part
from ..values.part_list_json import count_parts


class Listed(Protocol):
    """What a listing says about one object."""

    @property
    def key(self) -> str:
        """Its key."""


Item = TypeVar("Item", bound=Listed)


def beside_listing(parts: Iterable[Part], listed: Iterable[Item]) -> Iterator[tuple[Part, Item | None]]:
    """Pair each of ``parts`` with the object of its key in a listing of their prefix. Both are in the order of keys."""
    items = iter(listed)
    item = next(items, None)
    for part in parts:
        while item is not None and item.key < part.key:
            item = next(items, None)
        yield part, item if item is not None and item.key == part.key else None


def proves(found: Checksum, part: Part) -> bool | None:
    """Whether the checksum ``found`` in the store proves that the object is ``part`` (true), or that it is not (false);
    ``None`` if it proves neither.

    Only a SHA-256 of the whole object can prove that it is not. ETags and checksums of checksums depend on the sizes
    of the chunks, so a good copy may have others.
    """
    recorded = part.checksum
    if found.etag and found.etag == recorded.etag:
        return True
    if found.kind != "none" and found.value.partition("-")[0] == recorded.value.partition("-")[0]:
        return True  # some endpoints leave out the number of chunks
    if found.kind == "sha256":
        return found.value == b64encode(bytes.fromhex(part.sha256)).decode()
    return None


def check_part_count(stream_bytes: int, part_size: int) -> None:
    """Raise :class:`UsageError` if ``part_size`` cuts ``stream_bytes`` into more parts than keys can number."""
    count = count_parts(stream_bytes, part_size)
    if count > MAX_PARTS:
        raise UsageError(
            f"A stream of {stream_bytes} bytes makes {count} parts of {part_size} bytes, but a backup has at most "
            f"{MAX_PARTS}",
            subject="part_size",
            next_step=f"Set part_size to {_rounded_mib(stream_bytes // (MAX_PARTS // 2))} in the configuration",
        )


def _rounded_mib(size_bytes: int) -> str:
    mib = 256
    while mib << 20 < size_bytes:
        mib *= 2
    return f"{mib}MiB"
