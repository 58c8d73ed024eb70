# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams of the fake ZFS: records as the real ones have them, of one object that is all the content.

Source and sink are real processes behind real pipes, so that whoever reads or writes a stream meets exit
statuses, stderr, SIGPIPE and short reads as with ``zfs send`` and ``zfs receive``.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from zrb.errors import EngineError, StreamDamaged
from zrb.zfs import record_flow
from zrb.zfs.child_processes import Ended, ReceiveChild, SendChild
from zrb.zfs.fletcher import CHECKSUM_BYTES, NOTHING, add_bytes
from zrb.zfs.stream_records import RECORD_BYTES, StreamBegin, parse_begin

_MAGIC = 0x2F5BACBAC
_SEND = 'cat "$0"; printf %s "$1" >&2; exit "$2"'
_RECEIVE = 'if [ "$1" ]; then head -c "$1" > "$0"; printf %s "$2" >&2; exit 1; fi; exec cat > "$0"'


@dataclass(frozen=True)
class SendFault:
    """Ends a send after ``after_bytes`` of its stream."""

    after_bytes: int
    status: int = 1
    stderr: str = "warning: cannot send: Input/output error\n"


@dataclass(frozen=True)
class ReceiveFault:
    """Makes a receive give up after it took ``after_bytes``."""

    after_bytes: int
    stderr: str = "cannot receive new filesystem stream: out of space\n"


BLOCK_BYTES = 16 << 10
"""Of the one object of a fake dataset."""
_OBJECT = 1
START = (1, 0)
"""Where a receive stands that has not written anything."""
_LAST = (1 << 64) - 1


def make_stream(
    *, to_name: str, to_guid: str, from_guid: str | None, content: bytes, base_content: bytes, nonce: int
) -> bytes:
    """A stream that turns ``base_content`` into ``content``: it carries the blocks from the first changed one on."""
    guid = int(to_guid)
    begin = struct.pack("<IIQQQIIQQ", record_flow.BEGIN, 0, _MAGIC, 1, 0, 2, 0, guid, int(from_guid or 0))
    writer = StreamWriter(begin + to_name.encode())
    writer.add(struct.pack("<IIQQQ", record_flow.FREEOBJECTS, 0, 0, 1, guid))
    writer.add(
        struct.pack("<IIQIIIIxxBxIQ", record_flow.OBJECT, 0, _OBJECT, 19, 44, BLOCK_BYTES, 16, 1, 0, guid),
        struct.pack("<QQ", nonce, len(content)),
    )
    writer.add(
        struct.pack("<IIQQQQ", record_flow.FREE, 0, _OBJECT, -(-len(content) // BLOCK_BYTES) * BLOCK_BYTES, _LAST, guid)
    )
    first = _shared_bytes(base_content, content) // BLOCK_BYTES * BLOCK_BYTES
    for offset in range(first, len(content), BLOCK_BYTES):
        block = content[offset : offset + BLOCK_BYTES]
        block += bytes(-len(block) % 8)
        writer.add(struct.pack("<IIQIIQQQ", record_flow.WRITE, 0, _OBJECT, 19, 0, offset, len(block), guid), block)
    writer.add(struct.pack("<IIQQQ", record_flow.FREEOBJECTS, 0, _OBJECT + 1, _LAST, guid))
    return writer.end(guid)


class StreamWriter:
    """Puts records after each other, with their checksums as ``zfs send`` computes them."""

    def __init__(self, begin: bytes, payload: bytes = b"") -> None:
        self.stream = bytearray(begin.ljust(RECORD_BYTES, b"\0") + payload)
        self._sums = add_bytes(NOTHING, self.stream)

    def add(self, body: bytes, payload: bytes = b"") -> None:
        """A record with these first bytes of its header."""
        head = body.ljust(RECORD_BYTES - CHECKSUM_BYTES, b"\0")
        self._sums = add_bytes(self._sums, head)
        rest = struct.pack("<4Q", *self._sums) + payload
        self._sums = add_bytes(self._sums, rest)
        self.stream += head + rest

    def end(self, guid: int) -> bytes:
        """The stream, ended."""
        self.add(struct.pack("<II4QQ", record_flow.END, 0, *self._sums, guid))
        return bytes(self.stream)


@dataclass
class Arrived:
    """What of a stream has arrived: ``position`` is that of the last write."""

    begin: StreamBegin
    content: bytearray
    position: tuple[int, int] = START
    length: int = 0
    ended: bool = False

    @property
    def whole(self) -> bytes:
        """The content, when the stream has ended."""
        return bytes(self.content[: self.length].ljust(self.length, b"\0"))


def arrive(stream: bytes, base_content: bytes, before: Arrived | None = None) -> Arrived:
    """What arrived with a stream, or with the beginning of one, on top of ``base_content``; or of what arrived
    ``before``, if the stream says that it goes on there. Raises ``ValueError`` in the words of ``zfs receive``."""
    begin = begin_of(stream)
    resuming = bool(begin.features & 1 << 20)
    if (before is not None) != resuming or (before and before.begin.to_guid != begin.to_guid):
        raise ValueError("cannot receive: destination contains partially-complete state from zfs receive -s")
    arrived = before or Arrived(begin, bytearray(base_content))
    first_write = True
    sums = NOTHING
    at = 0
    while at + RECORD_BYTES <= len(stream):
        record = record_flow.parse_record(stream[at : at + RECORD_BYTES], at)
        payload = stream[at + RECORD_BYTES : at + RECORD_BYTES + record.payload_bytes]
        if len(payload) < record.payload_bytes:
            break
        head, checksum = record.header[:-CHECKSUM_BYTES], record.header[-CHECKSUM_BYTES:]
        before_record, sums = sums, add_bytes(sums, head)
        if record.kind == record_flow.BEGIN:
            if resuming and _point_of(payload) != arrived.position:
                raise ValueError("cannot receive: invalid backup stream (it goes on elsewhere)")
        elif struct.unpack("<4Q", checksum) != sums:
            raise ValueError("cannot receive: invalid stream (checksum mismatch)")
        sums = add_bytes(add_bytes(sums, checksum), payload)
        if record.kind == record_flow.OBJECT:
            _, arrived.length = struct.unpack("<QQ", payload)
        elif record.kind == record_flow.WRITE:
            goes_on_here = arrived.position in {record.position, START}
            if record.position < arrived.position or (resuming and first_write and not goes_on_here):
                raise ValueError("cannot receive: invalid backup stream (not in order)")
            first_write = False
            arrived.position = record.position
            offset = record.position[1]
            arrived.content[offset : offset + len(payload)] = payload
        elif record.kind == record_flow.END:
            if struct.unpack_from("<4Q", head, 8) != before_record:
                raise ValueError("cannot receive: invalid stream (checksum mismatch)")
            arrived.ended = True
        at += RECORD_BYTES + record.payload_bytes
    return arrived


def _point_of(payload: bytes) -> tuple[int, int]:
    """What the BEGIN of a resuming stream says, read in the simplest way that is right for it."""
    found = []
    for name in (b"resume_object", b"resume_offset"):
        at = payload.index(name) + 16
        assert struct.unpack_from(">II", payload, at) == (8, 1), "one number of 64 bits"
        found += struct.unpack_from(">Q", payload, at + 8)
    return found[0], found[1]


def begin_of(stream: bytes) -> StreamBegin:
    """The BEGIN of a stream. Raises ``ValueError`` in the words of ``zfs receive`` where it has none."""
    try:
        return parse_begin(stream[:RECORD_BYTES])
    except StreamDamaged as damage:
        raise ValueError("cannot receive: invalid backup stream") from damage


def _shared_bytes(first: bytes, second: bytes) -> int:
    """Length of the common prefix; lengths are halved, since comparing slices is fast and looping is not."""
    return bisect_left(
        range(1, min(len(first), len(second)) + 1), True, key=lambda length: first[:length] != second[:length]
    )


class _Memory:
    """Bytes in memory that a child process can open by path."""

    def __init__(self, content: bytes = b"") -> None:
        self._file = os.fdopen(os.memfd_create("fake-zfs-stream"), "w+b")
        self._file.write(content)
        self._file.flush()
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"

    @property
    def taken(self) -> bool:
        """Whether it is gone."""
        return self._file.closed

    def take(self) -> bytes:
        """The bytes; the memory is gone afterwards."""
        with self._file:
            self._file.seek(0)
            return self._file.read()


class FakeSend(SendChild):
    """A process that writes a stream, or the beginning of one."""

    def __init__(self, stream: bytes, fault: SendFault | None, *, failure: Callable[[Ended], EngineError]) -> None:
        given = stream if fault is None else stream[: fault.after_bytes]
        self._memory = _Memory(given)
        status, stderr = (fault.status, fault.stderr) if fault else (0, "")
        super().__init__(["sh", "-c", _SEND, self._memory.path, stderr, str(status)], failure=failure)


class FakeReceive(ReceiveChild):
    """A process that takes a stream; what it took is handed to ``commit`` when the stream was finished, and to ``cut``
    when it was not."""

    def __init__(
        self,
        commit: Callable[[bytes], None],
        fault: ReceiveFault | None,
        *,
        failure: Callable[[Ended], EngineError],
        cut: Callable[[bytes], None],
    ) -> None:
        self._commit = commit
        self._cut = cut
        self._memory = _Memory()
        limit, stderr = (str(fault.after_bytes), fault.stderr) if fault else ("", "")
        super().__init__(["sh", "-c", _RECEIVE, self._memory.path, limit, stderr], failure=failure)

    def finish(self) -> None:
        """End the stream and commit it."""
        try:
            super().finish()
        except EngineError:
            self._cut(self._memory.take())
            raise
        self._commit(self._memory.take())

    def kill(self) -> None:
        """End it before it has seen the end of its stream."""
        super().kill()
        if not self._memory.taken:
            self._cut(self._memory.take())
