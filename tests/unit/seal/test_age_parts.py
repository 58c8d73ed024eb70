# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts cut into runs, and opened in stretches: any division gives the same file, and no nonce comes twice."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import PartDamaged
from zrb.seal import age_stream
from zrb.seal.age import HEAD_BYTES, AgeOpener, AgeSealer, PartOpening, PartSeal, Run
from zrb.seal.age_keys import new_identity
from zrb.seal.age_stream import PIECE_BYTES, SEALED_PIECE_BYTES, TAG_BYTES

PRIVATE, PUBLIC = new_identity()
SIZES = sorted({max(0, pieces * PIECE_BYTES + beside) for pieces in range(4) for beside in (-1, 0, 1)})


def content(size: int) -> bytes:
    return Random(size).randbytes(size)


def divided(buffer: bytearray | bytes, borders: Sequence[int]) -> list[memoryview]:
    """The buffer as views with borders at those places."""
    places = sorted({0, len(buffer), *(border % (len(buffer) + 1) for border in borders)})
    return [memoryview(buffer)[begin:end] for begin, end in itertools.pairwise(places)] or [memoryview(buffer)]


def runs_of(part: PartSeal, size: int, pieces: Sequence[int]) -> Iterator[tuple[int, Run]]:
    """Runs of as many pieces each, in turn, with where they begin in the plaintext."""
    begin = 0
    for count in itertools.cycle(pieces):
        length = min(count * PIECE_BYTES, size - begin)
        yield begin, part.cut(length, last=begin + length == size)
        begin += length
        if begin == size:
            return


def sealed_in_runs(plain: bytes, pieces: Sequence[int], borders: Sequence[int], recipient: str = PUBLIC) -> bytes:
    part = AgeSealer([recipient]).begin()
    file = bytearray(part.header)
    for begin, run in list(runs_of(part, len(plain), pieces)):
        assert run.offset == len(file)
        out = bytearray(run.sealed_bytes)
        run.seal(memoryview(plain)[begin : begin + run.plain_bytes], divided(out, borders))
        file += out
    return bytes(file)


def opened(sealed: bytes, identity: str = PRIVATE) -> tuple[PartOpening, memoryview]:
    view = memoryview(sealed)
    return AgeOpener([identity]).begin(view[:HEAD_BYTES], part_bytes=len(sealed)), view


pieces = st.lists(st.integers(1, 3), min_size=1, max_size=4)
borders = st.lists(st.integers(0, 5 * SEALED_PIECE_BYTES), max_size=5)


@given(st.sampled_from(SIZES), pieces, borders)
def test_however_a_part_is_cut_it_is_the_file_of_its_content(size: int, pieces: list[int], borders: list[int]) -> None:
    plain = content(size)
    sealed = sealed_in_runs(plain, pieces, borders)
    assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(PRIVATE)]) == plain


@given(st.sampled_from(SIZES), pieces, borders, st.randoms(use_true_random=False))
def test_however_a_part_is_opened_its_content_comes_out(
    size: int, pieces: list[int], borders: list[int], random: Random
) -> None:
    plain = content(size)
    sealed = pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(PUBLIC)])
    opening, view = opened(sealed)
    assert opening.plain_bytes == size
    stretches = []
    begin = opening.header_bytes
    for count in itertools.cycle(pieces):
        end = min(begin + count * SEALED_PIECE_BYTES, len(sealed))
        stretches.append((begin, end))
        begin = end
        if end == len(sealed):
            break
    random.shuffle(stretches)
    out = bytearray(size)
    for begin, end in stretches:
        place = (begin - opening.header_bytes) // SEALED_PIECE_BYTES * PIECE_BYTES
        target = memoryview(out)[place:]
        length = opening.open(begin, divided(view[begin:end].tobytes(), borders), target)
        assert length == end - begin - TAG_BYTES * -(-(end - begin) // SEALED_PIECE_BYTES)
    assert out == plain


class Recorded:
    """The cipher, with the memory of which key and nonce were used."""

    def __init__(self, key: bytes, used: list[tuple[bytes, bytes]]) -> None:
        self._cipher: Any = CIPHER(key)
        self._key = key
        self._used = used

    def encrypt_into(self, nonce: bytes, *rest: Any) -> None:
        self._used.append((self._key, nonce))
        self._cipher.encrypt_into(nonce, *rest)


CIPHER = age_stream._cipher


@given(st.lists(st.tuples(st.integers(0, 5 * PIECE_BYTES), st.booleans()), min_size=1, max_size=12), st.integers(1, 3))
def test_no_key_meets_a_nonce_twice(cuts: list[tuple[int, bool]], parts: int) -> None:
    """Whatever a caller tries to cut, and however often two threads seal what they got."""
    used: list[tuple[bytes, bytes]] = []
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as threads:
        patch.setattr(age_stream, "_cipher", lambda key: Recorded(key, used))
        sealer = AgeSealer([PUBLIC])
        runs = []
        for part in [sealer.begin() for _ in range(parts)]:
            for length, last in cuts:
                try:
                    runs.append(part.cut(length, last=last))
                except ValueError:
                    continue

        def seal(run: Run) -> bool:
            try:
                run.seal(memoryview(bytes(run.plain_bytes)), [memoryview(bytearray(run.sealed_bytes))])
            except ValueError:
                return False
            return True

        done = list(threads.map(seal, [*runs, *reversed(runs), *runs]))
    assert done.count(True) == len(runs)
    assert len(used) == len(set(used)) == sum(age_stream.pieces_of(run.plain_bytes) for run in runs)
    assert len({key for key, _ in used}) <= parts


def test_threads_that_cut_at_once_get_different_places() -> None:
    part = AgeSealer([PUBLIC]).begin()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            offsets = list(threads.map(lambda _: part.cut(PIECE_BYTES, last=False).offset, range(4000)))
    finally:
        sys.setswitchinterval(before)
    assert sorted(offsets) == [len(part.header) + place * SEALED_PIECE_BYTES for place in range(4000)]


def test_parts_share_nothing_that_is_secret() -> None:
    sealer = AgeSealer([PUBLIC])
    parts = [sealer.begin() for _ in range(50)]
    assert len({part._key for part in parts}) == len(parts)
    for begin, end in ((0, -16), (-16, None)):  # stanzas and MAC; payload nonce
        assert len({part.header[begin:end] for part in parts}) == len(parts)


@pytest.mark.parametrize("pieces", [0, 1, 2])
def test_a_part_cannot_go_past_its_last_run(pieces: int) -> None:
    part = AgeSealer([PUBLIC]).begin()
    part.cut(pieces * PIECE_BYTES, last=True)
    for last in (False, True):
        for length in (0, 1, PIECE_BYTES):
            with pytest.raises(ValueError, match="last run"):
                part.cut(length, last=last)


def test_only_what_the_specification_allows_can_be_cut() -> None:
    part = AgeSealer([PUBLIC]).begin()
    for length in (1, PIECE_BYTES - 1, PIECE_BYTES + 1, 0, -1, -PIECE_BYTES):
        with pytest.raises(ValueError, match="run"):
            part.cut(length, last=False)
    with pytest.raises(ValueError, match="run"):
        part.cut(-1, last=True)
    first = part.cut(PIECE_BYTES, last=False)
    with pytest.raises(ValueError, match="empty run"):
        part.cut(0, last=True)
    second = part.cut(1, last=True)
    assert (first.offset, second.offset) == (len(part.header), len(part.header) + SEALED_PIECE_BYTES)


def test_a_run_is_sealed_once_even_when_that_failed() -> None:
    run = AgeSealer([PUBLIC]).begin().cut(5, last=True)
    with pytest.raises(ValueError, match="ciphertext"):
        run.seal(memoryview(b"plain"), [memoryview(bytearray(5))])
    with pytest.raises(ValueError, match="sealed already"):
        run.seal(memoryview(b"plain"), [memoryview(bytearray(21))])


@given(st.sampled_from(SIZES), borders, st.integers(0), st.booleans())
def test_what_was_sealed_is_proved_and_a_flipped_bit_is_found(
    size: int, borders: list[int], bit: int, whole: bool
) -> None:
    part = AgeSealer([PUBLIC]).begin()
    run = part.cut(size, last=True)
    plain, sealed, out = content(size), bytearray(run.sealed_bytes), bytearray(size)
    run.seal(memoryview(plain), [memoryview(sealed)])
    run.prove(divided(sealed, borders), memoryview(out))
    assert out == plain
    bit %= len(sealed) * 8
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(PartDamaged) as caught:
        run.prove(divided(sealed, [] if whole else borders), memoryview(out))
    assert "memory" in caught.value.next_step


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 3 * PIECE_BYTES + 5])
def test_nothing_of_a_damaged_piece_is_given(size: int) -> None:
    sealed = bytearray(sealed_in_runs(b"\xff" * size, [9], []))
    sealed[-1] ^= 1
    opening, view = opened(bytes(sealed))
    out = bytearray(b"\xff" * size)
    with pytest.raises(PartDamaged):
        opening.open(opening.header_bytes, [view[opening.header_bytes :]], memoryview(out))
    intact = max(0, size - 1) // PIECE_BYTES * PIECE_BYTES
    assert out[intact:] == bytes(size - intact)


def test_stretches_that_are_no_pieces_of_the_part_are_refused() -> None:
    sealed = sealed_in_runs(content(3 * PIECE_BYTES), [9], [])
    opening, view = opened(sealed)
    begin = opening.header_bytes
    out = memoryview(bytearray(4 * PIECE_BYTES))
    for offset, length in [
        (begin, 0),
        (begin, 1),
        (begin, SEALED_PIECE_BYTES + 1),
        (begin + 1, SEALED_PIECE_BYTES),
        (begin - SEALED_PIECE_BYTES, SEALED_PIECE_BYTES),
        (begin + 2 * SEALED_PIECE_BYTES, SEALED_PIECE_BYTES - 1),
        (begin + 2 * SEALED_PIECE_BYTES, SEALED_PIECE_BYTES + 1),
        (begin + 3 * SEALED_PIECE_BYTES, SEALED_PIECE_BYTES),
    ]:
        with pytest.raises(ValueError, match="pieces of"):
            opening.open(offset, [memoryview(bytes(length))], out)
    with pytest.raises(ValueError, match="plaintext"):
        opening.open(begin, [view[begin : begin + SEALED_PIECE_BYTES]], out[: PIECE_BYTES - 1])


def test_too_little_of_a_part_is_the_callers_mistake() -> None:
    sealed = sealed_in_runs(content(2 * PIECE_BYTES), [9], [])
    with pytest.raises(ValueError, match="cannot be begun"):
        AgeOpener([PRIVATE]).begin(memoryview(sealed)[: HEAD_BYTES - 1], part_bytes=len(sealed))


@given(st.sampled_from(SIZES[1:]), st.integers(1, 3 * SEALED_PIECE_BYTES), st.booleans())
def test_a_part_of_another_length_than_it_was_made_is_damaged(size: int, change: int, longer: bool) -> None:
    sealed = sealed_in_runs(content(size), [9], [])
    other = sealed + content(change) if longer else sealed[: max(0, len(sealed) - change)]
    with pytest.raises(PartDamaged):
        opening, view = opened(other)
        begin = opening.header_bytes
        opening.open(begin, [view[begin:]], memoryview(bytearray(opening.plain_bytes)))
        raise AssertionError(f"{len(other)} bytes were taken for a part of {len(sealed)}")


def test_a_library_that_cannot_write_into_buffers_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = content(2 * PIECE_BYTES + 1)
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    monkeypatch.setattr(age_stream, "_cipher", lambda key: age_stream._CopyingCipher(ChaCha20Poly1305(key)))
    sealed = sealed_in_runs(plain, [1, 2], [100_000])
    opening, view = opened(sealed)
    out = bytearray(len(plain))
    opening.open(opening.header_bytes, [view[opening.header_bytes :]], memoryview(out))
    assert out == plain
