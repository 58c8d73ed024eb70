# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of parts of a backup: JSON Lines, one part per line, in order (docs/format.md, "List of parts"). Written and
read as a stream: a backup may have a million parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .json_records import read_record, write_record
from .manifest import Part
from .repository_names import part_name
from .strict_json import canonical_json, parse_object

MAX_LINE_BYTES: Final = 16 * 1024
"""The longest line of a part: its key, its checksum and its ETag have at most 1,024 characters each."""


def count_parts(stream_bytes: int, part_size: int) -> int:
    """The number of parts of a stream of ``stream_bytes``."""
    return -(-stream_bytes // part_size)


def encode_part(part: Part) -> bytes:
    """The line of ``part``, with its newline."""
    return canonical_json(write_record(part)) + b"\n"


def decode_part(line: bytes) -> Part:
    """Read the part in a line. Raises :class:`ValueError`, with a reason that completes "it …"."""
    if not line.endswith(b"\n"):
        raise ValueError(f"has a line that does not end after {len(line)} bytes")
    return read_record(Part, parse_object(line, limit=MAX_LINE_BYTES))


def checked_parts(parts: Iterable[Part], *, prefix: str, part_size: int, stream_bytes: int) -> Iterator[Part]:
    """Check ``parts`` one by one, and yield each that is in its place in a stream of ``stream_bytes``.

    Raises :class:`ValueError`, with a reason that completes "it …", at the first part that is not, and at the end
    if parts are missing: do not act on the whole list before it has ended.
    """
    left = stream_bytes
    position = 0
    for position, part in enumerate(parts, start=1):
        index = position - 1
        if part.index != index:
            raise ValueError(f"has part {part.index} in the place of part {index}")
        if part.key != f"{prefix}{part_name(index)}":
            raise ValueError(f"gives part {index} the key {part.key!r}, which is not its own")
        if part.plain_bytes != min(part_size, left):
            raise ValueError(
                f"gives part {index} {part.plain_bytes} bytes of a stream of {stream_bytes}, with parts of {part_size}"
            )
        if part.bytes <= part.plain_bytes:
            raise ValueError(f"gives part {index} fewer bytes encrypted than plain")
        left -= part.plain_bytes
        yield part
    if left:
        raise ValueError(f"ends after {position} parts, {left} bytes before the end of the stream")
