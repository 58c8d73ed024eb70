# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes of a stored stream what ``zfs send -t TOKEN`` would send: the same stream, without what the receiver has.

The BEGIN record says where the receiver stands, with the feature flag for it. Records that end before that point are
left out. All others follow as they are, but for their checksums, which cover all that was sent before: they are
computed anew without reading the payloads, out of the checksums that were there (see fletcher).

The way to know what may be left out is that of OpenZFS' module/zfs/dmu_send.c (dump_dnode, setup_resume_points) and
dmu_recv.c (resume_check, save_resume_state): writes come in order, a receiver stands at a write, and what came before
it in the stream was committed with it or earlier. Raw streams say how blocks of 32 dnodes are encrypted in records of
their own (OBJECT_RANGE); the receiver forgets the last one when it is cut off, so that one is repeated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import StreamDamaged
from ..values.zfs import ResumePoint
from .fletcher import (
    CHECKSUM_BYTES,
    NOTHING,
    WORD_BYTES,
    Sums,
    add_bytes,
    add_sums,
    add_words,
    pass_words,
    subtract_sums,
)
from .record_flow import BEGIN, END, OBJECT_RANGE, Position, Record, parse_record
from .resume_token import resuming_payload
from .stream_records import RECORD_BYTES, parse_begin

_SUMS: Final = struct.Struct("<4Q")
_WORDS: Final = struct.Struct("<8I")
_SUMS_AT: Final = RECORD_BYTES - CHECKSUM_BYTES
_SUMS_OF_END_AT: Final = 8
"""END says in its body too what the checksum of all before it is."""
_RESUMING: Final = 1 << 20 + 2
"""DMU_BACKUP_FEATURE_RESUMING in ``drr_versioninfo``, whose two lowest bits are the kind of stream."""
_NEVER: Final = 1 << 64


@dataclass(frozen=True, slots=True)
class Milestone:
    """A place in a stream from which it can be read: a record begins ``at`` this byte, in part number ``part``.
    ``passed`` is the last write before it, ``range`` the last OBJECT_RANGE record before it, if any."""

    part: int
    at: int
    passed: Position
    range: bytes = b""


class Notes(Protocol):
    """Where the places of a stream are written down."""

    def note_begin(self, begin: bytes) -> None:
        """The BEGIN record with its payload."""

    def note_milestone(self, milestone: Milestone) -> None:
        """A place to go on from."""


class Surveyor:
    """Writes down the BEGIN record, and the first record of each part, while a stream flows by."""

    def __init__(self, starts: Iterable[int], notes: Notes, *, since: Milestone | None = None) -> None:
        self._starts = iter(starts)
        self._next = next(self._starts)
        self._part = -1
        self._notes = notes
        self._begin = bytearray()
        self._passed = since.passed if since else (0, 0)
        self._range = since.range if since else b""

    def see(self, piece: Record | memoryview) -> None:
        """The next record of the stream, or a stretch of its payload."""
        if not isinstance(piece, Record):
            if self._begin:
                self._begin += piece
        elif piece.kind == BEGIN:
            self._begin += piece.header
        else:
            self._see_record(piece)

    def _see_record(self, record: Record) -> None:
        if self._begin:
            self._notes.note_begin(bytes(self._begin))
            self._begin.clear()
        if record.at >= self._next:
            while record.at >= self._next:
                self._part += 1
                self._next = next(self._starts, _NEVER)
            self._notes.note_milestone(Milestone(self._part, record.at, self._passed, self._range))
        if record.writes:
            self._passed = record.position
        elif record.kind == OBJECT_RANGE:
            self._range = record.header


class ResumedStream:
    """Takes a stream from its start, or from a milestone with the BEGIN record and its payload given; ``write`` gets
    the stream that goes on at ``point``."""

    def __init__(
        self,
        point: ResumePoint,
        write: Callable[[memoryview], object],
        *,
        begin: bytes = b"",
        since: Milestone | None = None,
    ) -> None:
        self._point = (point.object, point.offset)
        self._resume = point
        self._write = write
        self._sums: Sums = NOTHING
        """Of all that was written, as long as records are picked one by one."""
        self._ahead: Sums | None = None
        """From the point on, by how much our checksum is ahead of the one in the stored stream."""
        self._payload_bytes = 0
        """Payload since ``_sums`` or ``_ahead`` were right."""
        self._payload = bytearray()
        """It, as long as records are picked: theirs is small."""
        self._begin: bytearray | None = bytearray()
        self._dropping = False
        self._out = bytearray()
        if since is not None:
            self._start(begin)
            if since.range and parse_record(since.range, 0).end > self._point:
                self._repeat(since.range)

    def take(self, piece: Record | memoryview) -> None:
        """The next record, or the next stretch of its payload."""
        if isinstance(piece, Record):
            self._take_record(piece)
        elif self._begin is not None:
            self._begin += piece
        elif not self._dropping:
            self._out += piece
            self._payload_bytes += len(piece)
            if self._ahead is None:
                self._payload += piece

    def flush(self) -> None:
        """Hand out what was taken."""
        if self._out:
            self._write(memoryview(self._out))
            self._out = bytearray()

    def _take_record(self, record: Record) -> None:
        if record.kind == BEGIN:
            self._begin = bytearray(record.header)
            return
        if self._begin is not None:
            self._start(bytes(self._begin))
        self._count_payload()
        if self._ahead is not None or self._is_from_the_point_on(record):
            self._dropping = False
            self._follow(record)
        else:
            # Frees and the like of the object itself say once more what is there already: so does zfs send.
            self._dropping = record.end <= self._point
            if not self._dropping:
                self._repeat(record.header)

    def _count_payload(self) -> None:
        if self._ahead is None:
            self._sums = add_bytes(self._sums, self._payload)
            self._payload.clear()
        else:
            self._ahead = pass_words(self._ahead, self._payload_bytes // WORD_BYTES)
        self._payload_bytes = 0

    def _is_from_the_point_on(self, record: Record) -> bool:
        return (record.writes and record.position >= self._point) or record.position[0] > self._point[0]

    def _start(self, begin: bytes) -> None:
        """Write the BEGIN record."""
        self._begin = None
        header, payload = bytearray(begin[:RECORD_BYTES]), begin[RECORD_BYTES:]
        says = parse_begin(header)
        if (says.to_guid, says.from_guid) != (self._resume.to_guid, self._resume.from_guid):
            raise StreamDamaged(
                f"The stream ends at the snapshot with guid {says.to_guid}, and what was received is of "
                f"{self._resume.to_guid}",
                next_step="Restore without --continue, into another target",
            )
        payload = resuming_payload(payload, self._resume)
        (version,) = struct.unpack_from("<Q", header, 16)
        struct.pack_into("<I", header, 4, len(payload))
        struct.pack_into("<Q", header, 16, version | _RESUMING)
        self._out += header + payload
        self._sums = add_bytes(NOTHING, header + payload)

    def _repeat(self, header: bytes) -> None:
        """Write a record that stands before the point, with a checksum of its own."""
        self._sums = add_bytes(self._sums, header[:_SUMS_AT])
        ours = _SUMS.pack(*self._sums)
        self._out += header[:_SUMS_AT] + ours
        self._sums = add_bytes(self._sums, ours)

    def _follow(self, record: Record) -> None:
        """Write a record from the point on: from here, nothing is left out any more."""
        header = bytearray(record.header)
        theirs = _SUMS.unpack_from(header, _SUMS_AT)
        if theirs == NOTHING:
            raise StreamDamaged(
                "The records of this stream have no checksums, so that it can only be received from its start",
                next_step="Give up what was received with `zfs receive -A` of the target, then run this command again",
            )
        if self._ahead is None:
            ours = self._end(header, self._sums) if record.kind == END else add_bytes(self._sums, header[:_SUMS_AT])
        elif record.kind == END:
            ours = self._end(header, add_sums(_SUMS.unpack_from(header, _SUMS_OF_END_AT), self._ahead))
        else:
            ours = add_sums(theirs, pass_words(self._ahead, _SUMS_AT // WORD_BYTES))
        _SUMS.pack_into(header, _SUMS_AT, *ours)
        self._out += header
        our_words, their_words = _WORDS.unpack_from(header, _SUMS_AT), _WORDS.unpack_from(record.header, _SUMS_AT)
        changed = [our - their for our, their in zip(our_words, their_words, strict=True)]
        self._ahead = add_words(subtract_sums(ours, theirs), changed)

    @staticmethod
    def _end(header: bytearray, sums: Sums) -> Sums:
        """Say in END what the checksum of all before it is; return the one of END itself."""
        _SUMS.pack_into(header, _SUMS_OF_END_AT, *sums)
        return add_bytes(sums, header[:_SUMS_AT])
