# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams of the fake ZFS: BEGIN and END records as the real ones have them, and between them what changed.

Source and sink are real processes behind real pipes, so that whoever reads or writes a stream meets exit
statuses, stderr, SIGPIPE and short reads as with ``zfs send`` and ``zfs receive``.
"""

from __future__ import annotations

import hashlib
import os
import struct
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from zrb.errors import EngineError, StreamDamaged
from zrb.zfs.child_processes import Ended, ReceiveChild, SendChild
from zrb.zfs.stream_records import RECORD_BYTES, StreamBegin, parse_begin

_MAGIC = 0x2F5BACBAC
_HEADER = struct.Struct("<QQ")
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


def make_stream(
    *, to_name: str, to_guid: str, from_guid: str | None, content: bytes, base_content: bytes, nonce: int
) -> bytes:
    """A stream that turns ``base_content`` into ``content``: it carries what comes after their common prefix."""
    shared = _shared_bytes(base_content, content)
    begin = struct.pack("<IxxxxQQQIIQQ", 0, _MAGIC, 1, 0, 2, 0, int(to_guid), int(from_guid or 0))
    begin += to_name.encode().ljust(RECORD_BYTES - len(begin), b"\0")
    body = begin + _HEADER.pack(nonce, shared) + content[shared:]
    return body + _end_record(body, to_guid)


def apply_stream(stream: bytes, base_content: bytes) -> bytes:
    """The content after receiving a whole stream on top of ``base_content``. Raises ``ValueError`` in the words
    of ``zfs receive`` where the stream was cut or changed."""
    begin = parse_begin(stream[:RECORD_BYTES])
    body = stream[:-RECORD_BYTES]
    if len(body) < RECORD_BYTES + _HEADER.size:
        raise ValueError("cannot receive: incomplete stream")
    if stream[-RECORD_BYTES:] != _end_record(body, begin.to_guid):
        raise ValueError("cannot receive: invalid stream (checksum mismatch)")
    _, shared = _HEADER.unpack_from(body, RECORD_BYTES)
    return base_content[:shared] + body[RECORD_BYTES + _HEADER.size :]


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


def _end_record(body: bytes, to_guid: str) -> bytes:
    record = struct.pack("<Ixxxx", 5) + hashlib.blake2b(body, digest_size=32).digest() + struct.pack("<Q", int(to_guid))
    return record.ljust(RECORD_BYTES, b"\0")


class _Memory:
    """Bytes in memory that a child process can open by path."""

    def __init__(self, content: bytes = b"") -> None:
        self._file = os.fdopen(os.memfd_create("fake-zfs-stream"), "w+b")
        self._file.write(content)
        self._file.flush()
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"

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
    """A process that takes a stream; what it took is handed to ``commit`` when the stream was finished."""

    def __init__(
        self,
        commit: Callable[[bytes], None],
        fault: ReceiveFault | None,
        *,
        failure: Callable[[Ended], EngineError],
    ) -> None:
        self._commit = commit
        self._memory = _Memory()
        limit, stderr = (str(fault.after_bytes), fault.stderr) if fault else ("", "")
        super().__init__(["sh", "-c", _RECEIVE, self._memory.path, limit, stderr], failure=failure)

    def finish(self) -> None:
        """End the stream and commit it."""
        super().finish()
        self._commit(self._memory.take())
