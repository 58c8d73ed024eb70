# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The records of a ``zfs send`` stream, one after the other, as its bytes flow by.

Source, as in stream_records: OpenZFS' include/sys/zfs_ioctl.h. After its header of 312 bytes, a record may have a
payload, whose length the header says. Only streams of little-endian machines are read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import StreamDamaged
from .stream_records import RECORD_BYTES

BEGIN, OBJECT, FREEOBJECTS, WRITE, FREE, END, WRITE_BYREF, SPILL, WRITE_EMBEDDED, OBJECT_RANGE, REDACT = range(11)

_TO_THE_END: Final = (1 << 64) - 1

Position = tuple[int, int]
"""Object, and offset in it: a stream writes them in order."""


@dataclass(frozen=True, slots=True)
class Record:
    """A header. ``position`` is where it begins to act, and ``end`` is where it ends: what has an end at or before a
    position has happened when that is reached."""

    at: int
    """Offset in the stream."""
    header: bytes
    kind: int
    payload_bytes: int
    position: Position
    end: Position

    @property
    def writes(self) -> bool:
        """Whether it brings data of an object: a receive can stand at such a record."""
        return self.kind in (WRITE, WRITE_EMBEDDED)


def parse_record(header: bytes, at: int) -> Record:
    """Read a header. Raises :class:`StreamDamaged` for one that is none, or of a kind that no stream of ours has."""
    kind, begin_payload, one, two, three = struct.unpack_from("<IIQQQ", header)
    payload = 0
    position = end = (one, 0)
    if kind == BEGIN:
        payload, position, end = begin_payload, (0, 0), (0, 0)
    elif kind == OBJECT:
        bonus, raw_bonus = struct.unpack_from("<28xIxxxxI", header)
        payload, end = raw_bonus or -(-bonus // 8) * 8, (one + 1, 0)
    elif kind in (FREEOBJECTS, OBJECT_RANGE):
        end = (min(one + two, _TO_THE_END), 0)
    elif kind == WRITE:
        (compression,) = struct.unpack_from("<50xB", header)
        (compressed,) = struct.unpack_from("<96xQ", header)
        (logical,) = struct.unpack_from("<32xQ", header)
        payload = compressed if compression else logical
        position, end = (one, three), (one, three + 1)
    elif kind in (FREE, REDACT):
        position, end = (one, two), (one, min(two + three, _TO_THE_END))
    elif kind == SPILL:
        (compressed,) = struct.unpack_from("<40xQ", header)
        payload, end = compressed or two, (one + 1, 0)
    elif kind == WRITE_EMBEDDED:
        (stored,) = struct.unpack_from("<52xI", header)
        payload, position, end = -(-stored // 8) * 8, (one, two), (one, two + 1)
    elif kind == END:
        position = end = (_TO_THE_END, _TO_THE_END)
    else:
        raise StreamDamaged(
            f"At byte {at} of the stream there is no record of a kind that is known ({kind})",
            next_step="Run the same restore without --continue, into another target",
        )
    return Record(at, header, kind, payload, position, end)


class RecordFlow:
    """Cuts what flows by into headers and stretches of payloads. The first byte is that of a header."""

    def __init__(self, at: int = 0) -> None:
        self._at = at
        self._header = bytearray()
        self._payload_left = 0

    def cut(self, view: memoryview) -> Iterator[Record | memoryview]:
        """What is in ``view``: records, and after each of them stretches of its payload."""
        while view:
            if self._payload_left:
                stretch = view[: self._payload_left]
                self._payload_left -= len(stretch)
                yield stretch
            else:
                stretch = view[: RECORD_BYTES - len(self._header)]
                self._header += stretch
                if len(self._header) == RECORD_BYTES:
                    record = parse_record(bytes(self._header), self._at + len(stretch) - RECORD_BYTES)
                    self._header.clear()
                    self._payload_left = record.payload_bytes
                    yield record
            self._at += len(stretch)
            view = view[len(stretch) :]
