# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two hashes of format 1: BLAKE3 for plaintext, SHA-256 for what is stored."""

from __future__ import annotations

import hashlib
from typing import Protocol, cast

from ..errors import LibraryMissing


class Hasher(Protocol):
    """A running hash."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The hash of all bytes so far."""

    def hexdigest(self) -> str:
        """The hash of all bytes so far, in lowercase hex."""


def stream_hasher() -> Hasher:
    """BLAKE3 of a stream or of a part's plaintext."""
    try:
        from blake3 import blake3
    except ImportError as error:
        raise LibraryMissing.named("blake3", error) from error
    return cast(Hasher, blake3())


def part_hasher() -> Hasher:
    """SHA-256 of a part as it is stored."""
    return cast(Hasher, hashlib.sha256())
