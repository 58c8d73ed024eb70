# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import StreamDamaged
from zrb.zfs.stream_records import RECORD_BYTES, StreamBegin, StreamEnd, parse_begin, parse_end

GUIDS = st.integers(1, 2**64 - 1)
FEATURES = 1 << 16 | 1 << 22  # large blocks, compressed


def begin_record(order: str, *, to_guid: int, from_guid: int, name: bytes = b"tank/a@one", kind: int = 0) -> bytes:
    version = 1 | FEATURES << 2
    record = struct.pack(f"{order}IxxxxQQQIIQQ", kind, 0x2F5BACBAC, version, 1_700_000_000, 2, 4, to_guid, from_guid)
    return record + name.ljust(256, b"\0")


def end_record(order: str, *, to_guid: int, kind: int = 5) -> bytes:
    return (struct.pack(f"{order}Ixxxx", kind) + b"\xab" * 32 + struct.pack(f"{order}Q", to_guid)).ljust(
        RECORD_BYTES, b"\0"
    )


@given(st.sampled_from("<>"), GUIDS, st.integers(0, 2**64 - 1))
def test_begin_in_both_byte_orders(order: str, to_guid: int, from_guid: int) -> None:
    record = begin_record(order, to_guid=to_guid, from_guid=from_guid)
    assert len(record) == RECORD_BYTES
    assert parse_begin(memoryview(record)) == StreamBegin(
        to_guid=str(to_guid),
        from_guid=str(from_guid) if from_guid else None,
        features=FEATURES,
        to_name="tank/a@one",
    )


@given(st.sampled_from("<>"), GUIDS)
def test_end_in_both_byte_orders(order: str, to_guid: int) -> None:
    assert parse_end(bytearray(end_record(order, to_guid=to_guid))) == StreamEnd(to_guid=str(to_guid))


def test_a_name_of_full_length_and_one_that_is_no_text() -> None:
    assert parse_begin(begin_record("<", to_guid=1, from_guid=0, name=b"x" * 256)).to_name == "x" * 256
    assert parse_begin(begin_record("<", to_guid=1, from_guid=0, name=b"a\xff\0b")).to_name == "a\ufffd"


@pytest.mark.parametrize(
    "record",
    [
        b"\0" * RECORD_BYTES,
        end_record("<", to_guid=1),
        begin_record("<", to_guid=1, from_guid=0, kind=3),
        b"\0" * 8 + b"\xff" * 304,
    ],
)
def test_what_is_no_begin_is_named(record: bytes) -> None:
    with pytest.raises(StreamDamaged, match="BEGIN") as failure:
        parse_begin(record)
    assert "zpool status" in failure.value.next_step


@pytest.mark.parametrize(
    "record",
    [b"\0" * RECORD_BYTES, begin_record(">", to_guid=1, from_guid=0), end_record("<", to_guid=1, kind=3)],
)
def test_what_is_no_end_is_named(record: bytes) -> None:
    with pytest.raises(StreamDamaged, match="END"):
        parse_end(record)


@pytest.mark.parametrize("length", [0, 1, RECORD_BYTES - 1, RECORD_BYTES + 1])
def test_a_record_of_another_length_is_named(length: int) -> None:
    with pytest.raises(StreamDamaged, match=f"first record.*{length} bytes"):
        parse_begin(b"\0" * length)
    with pytest.raises(StreamDamaged, match=f"last record.*{length} bytes"):
        parse_end(b"\0" * length)
