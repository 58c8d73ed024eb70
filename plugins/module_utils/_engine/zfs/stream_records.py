# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the first and the last record of a ``zfs send`` stream.

Source: ``struct dmu_replay_record`` of OpenZFS' include/sys/zfs_ioctl.h, which is part of the committed stream
format. Every record is 312 bytes long, in the sender's byte order:

====== ===== ============================ ==========================
offset bytes in DRR_BEGIN (type 0)        in DRR_END (type 5)
====== ===== ============================ ==========================
0      4     drr_type                     drr_type
8      8     drr_magic                    drr_checksum, 4 x 8 bytes
16     8     drr_versioninfo
24     8     drr_creation_time
32     4, 4  drr_type, drr_flags
40     8     drr_toguid                   drr_toguid
48     8     drr_fromguid
56     256   drr_toname
====== ===== ============================ ==========================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ..errors import StreamDamaged

RECORD_BYTES: Final = 312
"""Length of every record; a stream is longer than two of them."""

_MAGIC: Final = 0x2F5BACBAC
_BEGIN: Final = 0
_END: Final = 5
_FEATURES_SHIFT: Final = 2
_FEATURES_MASK: Final = (1 << 30) - 1


@dataclass(frozen=True, slots=True)
class StreamBegin:
    """The beginning of a stream. Guids are decimal strings; ``from_guid`` is ``None`` in a full stream; ``features``
    are the ``DMU_BACKUP_FEATURE_*`` bits."""

    to_guid: str
    from_guid: str | None
    features: int
    to_name: str


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of a complete stream, with the guid of its snapshot."""

    to_guid: str


def parse_begin(record: bytes | bytearray | memoryview) -> StreamBegin:
    """Read the first :data:`RECORD_BYTES` bytes of a stream. Raises ``StreamDamaged`` if they are not a BEGIN."""
    _check_length(record, "first")
    order = next((order for order in "<>" if struct.unpack_from(order + "IxxxxQ", record) == (_BEGIN, _MAGIC)), None)
    if order is None:
        raise _damaged("The stream does not begin with the BEGIN record of a zfs send")
    version, to_guid, from_guid = struct.unpack_from(order + "16xQ16xQQ", record)
    return StreamBegin(
        to_guid=str(to_guid),
        from_guid=str(from_guid) if from_guid else None,
        features=(version >> _FEATURES_SHIFT) & _FEATURES_MASK,
        to_name=bytes(record[56:]).partition(b"\0")[0].decode(errors="replace"),
    )


def parse_end(record: bytes | bytearray | memoryview) -> StreamEnd:
    """Read the last :data:`RECORD_BYTES` bytes of a stream. Raises ``StreamDamaged`` if they are not an END."""
    _check_length(record, "last")
    order = next((order for order in "<>" if struct.unpack_from(order + "I", record) == (_END,)), None)
    if order is None:
        raise _damaged("The stream does not end with the END record of a zfs send: it was cut short or changed")
    (to_guid,) = struct.unpack_from(order + "40xQ", record)
    return StreamEnd(to_guid=str(to_guid))


def _check_length(record: bytes | bytearray | memoryview, which: str) -> None:
    if len(record) != RECORD_BYTES:
        raise _damaged(f"The {which} record of the stream has {len(record)} bytes instead of {RECORD_BYTES}")


def _damaged(problem: str) -> StreamDamaged:
    return StreamDamaged(
        problem,
        next_step="Look at `zpool status` and at the messages of zfs send, then run the same backup again",
    )
