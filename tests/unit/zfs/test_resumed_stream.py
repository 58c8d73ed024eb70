# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stream that goes on elsewhere than at its start; its checksums, and where it can go on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random

import pytest
from zrb.errors import StreamDamaged, ZfsError
from zrb.values.zfs import ResumePoint
from zrb.zfs import record_flow as kinds
from zrb.zfs.fletcher import NOTHING, Sums, add_bytes, add_sums, pass_words, subtract_sums
from zrb.zfs.record_flow import Record, RecordFlow
from zrb.zfs.resume_token import parse_token, resuming_payload
from zrb.zfs.resumed_stream import Milestone, ResumedStream, Surveyor

from tests.fakes.zfs_streams import StreamWriter

TO_GUID, FROM_GUID = 11293774401255712345, 42


def naive(sums: Sums, data: bytes) -> Sums:
    """Fletcher-4 as it is defined."""
    a, b, c, d = sums
    for (word,) in struct.iter_unpack("<I", data):
        a = (a + word) % 2**64
        b = (b + a) % 2**64
        c = (c + b) % 2**64
        d = (d + c) % 2**64
    return a, b, c, d


class TestFletcher:
    @pytest.mark.parametrize("words", [0, 1, 2, 70, 1000])
    def test_sums(self, words: int) -> None:
        random = Random(words)
        start = (random.getrandbits(64), random.getrandbits(64), random.getrandbits(64), random.getrandbits(64))
        data = random.randbytes(4 * words)
        assert add_bytes(start, data) == naive(start, data)
        assert add_bytes(start, b"\xff" * len(data)) == naive(start, b"\xff" * len(data))

    @pytest.mark.parametrize("words", [0, 1, 2, 3, 4, 1000])
    def test_a_difference_moves_on_without_the_words(self, words: int) -> None:
        random = Random(words)
        ours, theirs = (naive(NOTHING, random.randbytes(400)) for _ in range(2))
        same = random.randbytes(4 * words)
        ahead = pass_words(subtract_sums(ours, theirs), words)
        assert add_sums(naive(theirs, same), ahead) == naive(ours, same)


class Collected:
    """What a surveyor notes."""

    def __init__(self) -> None:
        self.begin = b""
        self.milestones: list[Milestone] = []

    def note_begin(self, begin: bytes) -> None:
        assert not self.begin
        self.begin = begin

    def note_milestone(self, milestone: Milestone) -> None:
        self.milestones.append(milestone)


def raw_stream(*, keydata: bytes = b"", seed: int = 1) -> bytes:
    """A stream with every kind of record: 3 blocks of dnodes, each with objects of some blocks."""
    random = Random(seed)
    writer = StreamWriter(
        struct.pack("<IIQQQIIQQ", kinds.BEGIN, len(keydata), 0x2F5BACBAC, 1 | 1 << 24, 7, 2, 4, TO_GUID, FROM_GUID)
        + b"tank/data@x",
        keydata,
    )
    add = writer.add
    add(struct.pack("<IIQQQ", kinds.FREEOBJECTS, 0, 0, 1, TO_GUID))
    for first in (0, 32, 64):
        add(struct.pack("<IIQQQ", kinds.OBJECT_RANGE, 0, first, 32, TO_GUID) + random.randbytes(28))
        for number in (first + 1, first + 5, first + 31):
            bonus = random.randbytes(8 * random.randrange(20))
            add(
                struct.pack(
                    "<IIQIIIIxxBxIQ", kinds.OBJECT, 0, number, 19, 44, 4096, len(bonus), 1, len(bonus), TO_GUID
                ),
                bonus,
            )
            blocks = random.randrange(1, 7)
            add(struct.pack("<IIQQQQ", kinds.FREE, 0, number, 4096 * 2 * blocks, 2**64 - 1, TO_GUID))
            for block in range(blocks):
                kind = random.randrange(4)
                offset = 4096 * 2 * block
                if kind == 0:
                    data = random.randbytes(8 * random.randrange(1, 14))
                    body = struct.pack(
                        "<IIQQQQBB6xII",
                        kinds.WRITE_EMBEDDED,
                        0,
                        number,
                        offset,
                        4096,
                        TO_GUID,
                        15,
                        0,
                        4096,
                        len(data) - 3,
                    )
                elif kind == 1:
                    data = random.randbytes(512)
                    body = struct.pack(
                        "<IIQIIQQQBBB5x40xQ", kinds.WRITE, 0, number, 19, 0, offset, 4096, TO_GUID, 0, 0, 15, 512
                    )
                else:
                    data = random.randbytes(4096)
                    body = struct.pack("<IIQIIQQQ", kinds.WRITE, 0, number, 19, 0, offset, 4096, TO_GUID)
                add(body, data)
                add(struct.pack("<IIQQQQ", kinds.FREE, 0, number, offset + 4096, 4096, TO_GUID))
            spill = random.randbytes(512)
            add(struct.pack("<IIQQQ", kinds.SPILL, 0, number, 512, TO_GUID), spill)
            add(struct.pack("<IIQQQ", kinds.FREEOBJECTS, 0, number + 1, 1, TO_GUID))
    add(struct.pack("<IIQQQ", kinds.FREEOBJECTS, 0, 96, 2**64 - 1, TO_GUID))
    return writer.end(TO_GUID)


def records(stream: bytes, *, at: int = 0) -> list[tuple[Record, bytes]]:
    """The records of a stream with their payloads."""
    found: list[tuple[Record, bytes]] = []
    for piece in RecordFlow(at).cut(memoryview(stream)):
        if isinstance(piece, Record):
            found.append((piece, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + bytes(piece))
    return found


def assert_valid(stream: bytes) -> None:
    """Every checksum is the one that a receiver computes, and the last record is END."""
    sums = NOTHING
    for record, payload in records(stream):
        head, checksum = record.header[:280], record.header[280:]
        if record.kind == kinds.END:
            assert struct.unpack_from("<4Q", head, 8) == sums
        sums = naive(sums, head)
        if record.kind != kinds.BEGIN:
            assert struct.unpack("<4Q", checksum) == sums, record
        sums = naive(naive(sums, checksum), payload)
    assert record.kind == kinds.END


def resumed(
    stream: bytes, point: ResumePoint, *, piece_bytes: int, since: Milestone | None = None, begin: bytes = b""
) -> bytes:
    """The stream from ``point`` on, read from ``since`` in pieces of some length."""
    out = bytearray()
    again = ResumedStream(point, out.extend, begin=begin, since=since)
    at = since.at if since else 0
    flow = RecordFlow(at)
    for start in range(at, len(stream), piece_bytes):
        for piece in flow.cut(memoryview(stream)[start : start + piece_bytes]):
            again.take(piece)
        again.flush()
    return bytes(out)


def survey(stream: bytes, part_bytes: int) -> Collected:
    """What is noted of a stream whose parts are ``part_bytes`` long."""
    notes = Collected()
    surveyor = Surveyor(range(0, len(stream), part_bytes), notes)
    flow = RecordFlow()
    for start in range(0, len(stream), 1000):
        for piece in flow.cut(memoryview(stream)[start : start + 1000]):
            surveyor.see(piece)
    return notes


def points(stream: bytes) -> list[ResumePoint]:
    """Every point at which a receiver of ``stream`` can stand."""
    found = [record.position for record, _ in records(stream) if record.writes]
    return [ResumePoint(str(TO_GUID), str(FROM_GUID), *position) for position in [(1, 0), *found]]


XDR_KEYDATA = (
    struct.pack(">BBxxII", 1, 1, 0, 1) + struct.pack(">III16sIIQ", 44, 40, 13, b"crypt_keydata", 8, 1, 9) + bytes(12)
)


class TestResumed:
    @pytest.mark.parametrize("keydata", [b"", XDR_KEYDATA], ids=["no payload", "a payload"])
    @pytest.mark.parametrize("piece_bytes", [7, 1000, 1 << 20])
    def test_at_every_point(self, keydata: bytes, piece_bytes: int) -> None:
        stream = raw_stream(keydata=keydata)
        originals = records(stream)
        for point in points(stream):
            here = (point.object, point.offset)
            ours = resumed(stream, point, piece_bytes=piece_bytes)
            assert_valid(ours)
            (begin, payload), *rest = records(ours)
            assert payload.endswith(keydata[12:])
            assert struct.unpack_from("<Q", begin.header, 16)[0] & 1 << 22
            first = next(n for n, (record, _) in enumerate(originals) if record.writes and record.position >= here)
            wanted = [
                (record.header[:8], record.position, payload)
                for number, (record, payload) in enumerate(originals[1:], start=1)
                if number >= first or record.end > here
            ]
            assert [(record.header[:8], record.position, payload) for record, payload in rest] == wanted
            assert not any(record.position < here for record, _ in rest if record.writes)

    @pytest.mark.parametrize("part_bytes", [500, 5000, 20_000])
    def test_from_every_milestone_before_the_point(self, part_bytes: int) -> None:
        """Only the range of dnodes, and nothing else of what came before, is repeated."""
        stream = raw_stream()
        notes = survey(stream, part_bytes)
        starts = [record.at for record, _ in records(stream)]
        assert {milestone.at for milestone in notes.milestones} <= set(starts[1:])
        assert all(m.part * part_bytes <= m.at for m in notes.milestones)
        for point in points(stream)[1:]:
            here = (point.object, point.offset)
            whole = records(resumed(stream, point, piece_bytes=1 << 20))
            tail = [
                (r.header[:280], p)
                for r, p in whole
                if r.position >= here and r.kind not in (kinds.OBJECT, kinds.FREE, kinds.END)
            ]
            usable = [m for m in notes.milestones if m.passed < here]
            assert usable
            for milestone in usable:
                ours = resumed(stream, point, piece_bytes=999, since=milestone, begin=notes.begin)
                assert_valid(ours)
                mine = records(ours)
                assert [
                    (r.header[:280], p)
                    for r, p in mine
                    if r.position >= here and r.kind not in (kinds.OBJECT, kinds.FREE, kinds.END)
                ] == tail
                ranges = [r.position for r, _ in mine if r.kind == kinds.OBJECT_RANGE]
                assert ranges[0] == (point.object // 32 * 32, 0)
                assert len(ours) <= len(stream) - milestone.at + 3 * 312 + 200

    def test_a_stream_of_another_snapshot(self) -> None:
        with pytest.raises(StreamDamaged):
            resumed(raw_stream(), ResumePoint("7", None, 1, 0), piece_bytes=1000)

    def test_a_stream_without_checksums(self) -> None:
        """As those of zfs-fuse, and of OpenZFS before it could resume."""
        stream = bytearray(raw_stream())
        for record, _ in records(bytes(stream)):
            stream[record.at + 280 : record.at + 312] = bytes(32)
        with pytest.raises(StreamDamaged):
            resumed(bytes(stream), points(bytes(stream))[2], piece_bytes=1000)

    def test_what_is_no_record(self) -> None:
        with pytest.raises(StreamDamaged):
            list(RecordFlow().cut(memoryview(b"\x77" * 312)))


def native_token_of(**facts: int) -> str:
    """A token as OpenZFS 2.3 makes it, byte for byte but for the text."""
    packed = bytes.fromhex("000100000000000001000000")
    for name, value in facts.items():
        padded = name.encode() + b"\0"
        padded += bytes(-len(padded) % 8)
        size = 24 + len(padded)
        packed += struct.pack("<iHHII", size, len(name) + 1, 0, 1, 8) + padded + struct.pack("<Q", value)
    packed += struct.pack("<iHHII8s16s", 40, 7, 0, 1, 9, b"toname", b"tank/data@x")
    packed += struct.pack("<iHHII16s", 32, 11, 0, 0, 1, b"compressok") + bytes(4)
    return f"1-abc-{len(packed):x}-{zlib.compress(packed).hex()}"


def xdr_token_of(**facts: int) -> str:
    """A token in the other encoding."""
    packed = struct.pack(">BBxxII", 1, 1, 0, 1)
    for name, value in facts.items():
        padded = name.encode() + bytes(-len(name) % 4)
        packed += struct.pack(f">III{len(padded)}sIIQ", 28 + len(padded), 40, len(name), padded, 8, 1, value)
    packed += struct.pack(">III8sIII12s", 44, 48, 6, b"toname", 9, 1, 11, b"tank/data@x")
    packed += struct.pack(">III12sII", 32, 32, 10, b"compressok", 1, 0) + bytes(8)
    return f"1-abc-{len(packed):x}-{zlib.compress(packed).hex()}"


class TestToken:
    @pytest.mark.parametrize("token_of", [native_token_of, xdr_token_of])
    def test_it_says_where(self, token_of: Callable[..., str]) -> None:
        token = token_of(fromguid=3, object=5, offset=131072, bytes=99, toguid=TO_GUID)
        assert parse_token(token, subject="tank/x") == ResumePoint(str(TO_GUID), "3", 5, 131072)
        assert parse_token(token_of(object=1, offset=0, bytes=0, toguid=8), subject="x") == ResumePoint("8", None, 1, 0)

    def test_the_beginning_of_one_that_openzfs_made(self) -> None:
        """Of OpenZFS 2.3: object 160, offset 0x380000."""
        token = (
            "789c636064000310a501c49c50360710a715e5e7a69766a6304081f685c4637fa7f2bf5100b2d991d4e52765a5269730302c80aac3904f4b2b"
            "4e2d01c958c0e5d990e4932a4b528b8174859a1556fd25f9105784ccdc62c177eed6a"
        )
        packed = zlib.decompressobj().decompress(bytes.fromhex(token[: len(token) // 2 * 2]))
        whole = (
            packed[: packed.index(b"bytes") - 16] + struct.pack("<iHHII8sQ", 32, 7, 0, 1, 8, b"toguid", 77) + bytes(4)
        )
        point = parse_token(f"1-0-{len(whole):x}-{zlib.compress(whole).hex()}", subject="x")
        assert (point.to_guid, point.object, point.offset) == ("77", 160, 0x380000)
        assert point.from_guid == str(int.from_bytes(bytes.fromhex("2bd061c6fd950fec"), "little"))

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "-",
            "2-a-b-c",
            "1-0-10-zz",
            "1-0-10-00",
            "1-0-fffffff-00",
            xdr_token_of(object=1),
            native_token_of(object=1),
        ],
    )
    def test_what_is_none(self, token: str) -> None:
        with pytest.raises(ZfsError) as caught:
            parse_token(token, subject="tank/x")
        assert "zfs receive -A tank/x" in caught.value.next_step


def test_a_native_payload_keeps_its_encoding() -> None:
    native = bytes((0, 1, 0, 0)) + struct.pack("<II", 0, 1) + bytes(4)
    ours = resuming_payload(native, ResumePoint("1", None, 5, 6))
    assert len(ours) % 8 == 0
    size, name_bytes, _, elements, kind = struct.unpack_from("<IHHII", ours, 12)
    assert (size, name_bytes, elements, kind) == (40, 14, 1, 8)
    assert ours[28:44] == b"resume_object\0\0\0"
    assert struct.unpack_from("<Q", ours, 44) == (5,)
    assert struct.unpack_from("<Q", ours, 84) == (6,)
    with pytest.raises(StreamDamaged):
        resuming_payload(bytes((0, 0, 0, 0)) + native[4:], ResumePoint("1", None, 5, 6))
