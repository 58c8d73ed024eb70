# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How many parts a stream becomes, and whether their manifest stays within what a reader accepts."""

from __future__ import annotations

from ..errors import UsageError
from ..values.manifest_json import MAX_PAYLOAD_BYTES

COMFORTABLE_PARTS = 20_000
"""Beyond this many parts the manifest has more than 8 MB, which every later run has to read."""

_ENTRY_BYTES = 340
"""A part's entry in the manifest without its key: two hashes, two lengths, the store's checksum, the names."""


def count_parts(stream_bytes: int, part_size: int) -> int:
    """How many parts a stream of ``stream_bytes`` is cut into."""
    return -(-stream_bytes // part_size)


def check_part_count(stream_bytes: int, part_size: int, *, key: str) -> str:
    """A warning if ``part_size`` makes a needlessly large manifest of ``stream_bytes``, else an empty string.

    Raises :class:`UsageError` if the manifest could not be written at the end; ``key`` is the key of one part.
    """
    count = count_parts(stream_bytes, part_size)
    most = MAX_PAYLOAD_BYTES * 9 // 10 // (len(key) + _ENTRY_BYTES)
    if count > most:
        raise UsageError(
            f"A stream of {stream_bytes} bytes is {count} parts of {part_size} bytes, and a manifest holds {most}",
            subject="part_size",
            next_step=f"Set part_size to {_rounded_mib(stream_bytes // COMFORTABLE_PARTS)} in the configuration",
        )
    if count > COMFORTABLE_PARTS:
        return (
            f"The stream is about {count} parts: its manifest will be large. "
            f"A part_size of {_rounded_mib(stream_bytes // COMFORTABLE_PARTS)} suits it better, from the next full "
            "backup on."
        )
    return ""


def _rounded_mib(size_bytes: int) -> str:
    mib = 256
    while mib << 20 < size_bytes:
        mib *= 2
    return f"{mib}MiB"
