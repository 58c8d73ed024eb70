# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a ``zfs receive -s`` that was cut off stands, by its ``receive_resume_token``; and a BEGIN that says so.

A token is ``1-CHECKSUM-LENGTH-HEX``: an nvlist, packed as it is in memory (OpenZFS up to 2.3) or in XDR, and deflated.
See get_receive_resume_token_impl() of OpenZFS' module/zfs/dsl_dataset.c, and for nvlists module/nvpair/nvpair.c.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from ..errors import StreamDamaged, ZfsError
from ..values.zfs import ResumePoint

_VERSION: Final = "1"
_TOKEN_BYTES: Final = 64 << 10
_LIST_HEAD_BYTES: Final = 12
"""Encoding, byte order, two bytes of nothing; version; flags: the same length in both encodings."""
_NATIVE, _XDR = 0, 1
_LITTLE_ENDIAN: Final = 1
_UNIQUE_NAMES: Final = 1
_UINT64: Final = 8


def parse_token(token: str, *, subject: str) -> ResumePoint:
    """The point that a token names. Raises :class:`ZfsError` if it is none."""
    try:
        version, _checksum, length, packed = token.strip().split("-")
        if version != _VERSION or int(length, 16) > _TOKEN_BYTES:
            raise ValueError(version, length)
        numbers = _numbers(zlib.decompressobj().decompress(bytes.fromhex(packed), _TOKEN_BYTES))
        from_guid = numbers.get("fromguid", 0)
        return ResumePoint(
            to_guid=str(numbers["toguid"]),
            from_guid=str(from_guid) if from_guid else None,
            object=numbers["object"],
            offset=numbers["offset"],
        )
    except (ValueError, KeyError, IndexError, struct.error, zlib.error) as error:
        raise ZfsError(
            f"The resume token of {subject} is not of a kind that is known",
            subject=subject,
            answer=token[:200],
            next_step=f"Give up what was received of it with `zfs receive -A {subject}`, then run this command again",
        ) from error


def _numbers(packed: bytes) -> dict[str, int]:
    """The 64-bit numbers of an nvlist."""
    order = "<" if packed[1] == _LITTLE_ENDIAN else ">"
    found: dict[str, int] = {}
    at = _LIST_HEAD_BYTES
    while True:
        size, name, value = _xdr_pair_at(packed, at) if packed[0] == _XDR else _native_pair_at(packed, at, order)
        if size <= 0:
            return found
        if value is not None:
            found[name] = value
        at += size


def _xdr_pair_at(packed: bytes, at: int) -> tuple[int, str, int | None]:
    """Length of a pair, its name, and its value if that is one 64-bit number. The length is 0 at the end."""
    (size,) = struct.unpack_from(">i", packed, at)
    if size <= 0:
        return size, "", None
    (name_bytes,) = struct.unpack_from(">I", packed, at + 8)
    name = packed[at + 12 : at + 12 + name_bytes].decode()
    facts = struct.unpack_from(">II", packed, at + 12 + -(-name_bytes // 4) * 4)
    return size, name, struct.unpack_from(">Q", packed, at + size - 8)[0] if facts == (_UINT64, 1) else None


def _native_pair_at(packed: bytes, at: int, order: str) -> tuple[int, str, int | None]:
    """As :func:`_xdr_pair_at`."""
    (size,) = struct.unpack_from(f"{order}i", packed, at)
    if size <= 0:
        return size, "", None
    name_bytes, *facts = struct.unpack_from(f"{order}HxxII", packed, at + 4)
    name = packed[at + 16 : at + 15 + name_bytes].decode()
    return size, name, struct.unpack_from(f"{order}Q", packed, at + size - 8)[0] if facts == [1, _UINT64] else None


def resuming_payload(payload: bytes, point: ResumePoint) -> bytes:
    """The payload of a BEGIN record, which is empty or an nvlist, with ``point`` in it.

    Raises :class:`StreamDamaged` if it is an nvlist of a machine with the other byte order.
    """
    facts = (("resume_object", point.object), ("resume_offset", point.offset))
    if not payload:
        pairs = b"".join(_xdr_pair(name, value) for name, value in facts)
        whole = struct.pack(">BBxxII", _XDR, _LITTLE_ENDIAN, 0, _UNIQUE_NAMES) + pairs + bytes(8)
        return whole + bytes(-len(whole) % 8)
    if payload[0] == _XDR:
        pairs = b"".join(_xdr_pair(name, value) for name, value in facts)
    elif payload[:2] == bytes((_NATIVE, _LITTLE_ENDIAN)):
        pairs = b"".join(_native_pair(name, value) for name, value in facts)
    else:
        raise StreamDamaged(
            "The stream does not begin in a way that is known", next_step="Restore it without --continue"
        )
    return payload[:_LIST_HEAD_BYTES] + pairs + payload[_LIST_HEAD_BYTES:]


def _xdr_pair(name: str, value: int) -> bytes:
    padded = name.encode() + bytes(-len(name) % 4)
    in_memory = len(_native_pair(name, value))
    return struct.pack(
        f">III{len(padded)}sIIQ", 28 + len(padded), in_memory, len(name), padded, _UINT64, 1, value
    )  # fmt: skip


def _native_pair(name: str, value: int) -> bytes:
    ended = name.encode() + b"\0"
    padded = ended + bytes(-len(ended) % 8)
    return struct.pack(f"<IHHII{len(padded)}sQ", 24 + len(padded), len(ended), 0, 1, _UINT64, padded, value)
