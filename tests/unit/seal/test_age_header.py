# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header: what is written is read, and whatever else stands there is damage, within bounds."""

from __future__ import annotations

import base64
import hmac
import io
import tracemalloc
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import PartDamaged, WrongIdentity
from zrb.seal import age_header
from zrb.seal.age import HEAD_BYTES, AgeOpener, AgeSealer
from zrb.seal.age_header import (
    MAGIC,
    MAX_HEADER_BYTES,
    MAX_STANZAS,
    Stanza,
    decode_base64,
    encode_base64,
    read_header,
    write_header,
)
from zrb.seal.age_hybrid import HybridIdentity
from zrb.seal.age_keys import new_identity, parse_identity
from zrb.seal.age_stream import payload_key
from zrb.seal.age_x25519 import X25519Identity

CLASSIC, CLASSIC_PUBLIC = new_identity("classic")
HYBRID, HYBRID_PUBLIC = new_identity("hybrid")
KINDS = {"classic": (CLASSIC, CLASSIC_PUBLIC), "hybrid": (HYBRID, HYBRID_PUBLIC)}
KEY = bytes(range(16))
PLAIN = b"stream" * 30_000

every_kind = pytest.mark.parametrize("kind", KINDS)
arguments = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
stanzas = st.lists(
    st.builds(Stanza, st.lists(arguments, min_size=1, max_size=4).map(tuple), st.binary(max_size=200)),
    min_size=1,
    max_size=5,
)


@lru_cache
def part(kind: str) -> bytes:
    sealed = io.BytesIO()
    AgeSealer([KINDS[kind][1]] * 2).encrypt(io.BytesIO(PLAIN), sealed)
    return sealed.getvalue()


def opened(sealed: bytes, kind: str) -> bytes:
    """What comes out of a whole part, by the reader that knows the length."""
    view = memoryview(sealed)
    opening = AgeOpener([KINDS[kind][0]]).begin(view[:HEAD_BYTES], part_bytes=len(view))
    out = bytearray(opening.plain_bytes)
    opening.open(opening.header_bytes, [view[opening.header_bytes :]], memoryview(out))
    return bytes(out)


def streamed(sealed: bytes, kind: str) -> bytes:
    plain = io.BytesIO()
    AgeOpener([KINDS[kind][0]]).decrypt(io.BytesIO(sealed), plain)
    return plain.getvalue()


def made_of(stanzas: list[Stanza], file_key: bytes = KEY) -> bytes:
    """A part for whom ``stanzas`` say, with a right MAC, and without content."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    key = payload_key(file_key, bytes(16))
    return write_header(file_key, stanzas) + bytes(16) + ChaCha20Poly1305(key).encrypt(bytes(11) + b"\1", b"", None)


@given(stanzas)
def test_what_is_written_is_read(stanzas: list[Stanza]) -> None:
    written = write_header(KEY, stanzas)
    header = read_header(memoryview(written + b"payload\n"))
    assert header.stanzas == tuple(stanzas)
    assert header.length == len(written)
    assert header.is_of(KEY)
    assert not header.is_of(KEY[::-1])


@given(stanzas, st.integers(0), st.binary(min_size=1, max_size=4))
def test_every_prefix_and_every_other_byte_is_damage_or_another_header(
    stanzas: list[Stanza], place: int, other: bytes
) -> None:
    """A header has one form: what is read is what would be written."""
    written = write_header(KEY, stanzas)
    place %= len(written)
    with pytest.raises(PartDamaged):
        read_header(memoryview(written)[:place])
    changed = written[:place] + other + written[place + len(other) :]
    try:
        header = read_header(memoryview(changed))
    except PartDamaged:
        return
    assert write_header(KEY, header.stanzas)[:-44] == changed[: header.length - 44]
    assert header.is_of(KEY) == (changed[: header.length] == written)


@every_kind
@given(
    st.integers(0),
    st.integers(0, 300),
    st.one_of(
        st.binary(max_size=300),
        st.sampled_from([b"\n", b"\r\n", b" ", b"=", b"--- ", b"-> X25519 ", b"-> scrypt a 1\n"]),
    ),
    st.booleans(),
)
def test_a_part_that_was_changed_is_never_taken(kind: str, place: int, cut: int, put: bytes, in_header: bool) -> None:
    sealed = part(kind)
    place %= sealed.index(b"\n--- ") + 80 if in_header else len(sealed)
    changed = sealed[:place] + put + sealed[place + cut :]
    for read in (opened, streamed):
        if changed == sealed:
            assert read(changed, kind) == PLAIN
            continue
        with pytest.raises((PartDamaged, WrongIdentity)):
            read(changed, kind)


FRAGMENTS = [
    MAGIC,
    b"\n",
    b" ",
    b"-> ",
    b"->",
    b"--- ",
    b"X25519",
    b"mlkem768x25519",
    b"scrypt",
    b"A" * 43,
    b"A" * 64,
    b"A" * 1494,
    b"A" * 42 + b"B",
    b"=",
    b"\r",
    b"\0",
    b"\xc3\xa4",
    b"18",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40), st.booleans())
def test_what_only_looks_like_a_header_is_damage(fragments: list[bytes], with_magic: bool) -> None:
    text = (MAGIC if with_magic else b"") + b"".join(fragments)
    for kind in KINDS:
        for read in (opened, streamed):
            with pytest.raises((PartDamaged, WrongIdentity)):
                read(text, kind)


def hostile_heads() -> Iterator[tuple[str, bytes]]:
    size = 4 * 1024 * 1024
    yield "one endless line", MAGIC + b"-> " + b"a" * size
    yield "an endless number of arguments", MAGIC + b"->" + b" a" * size
    yield "an endless body", MAGIC + b"-> X25519 a\n" + (b"A" * 64 + b"\n") * (size // 65)
    yield "an endless number of stanzas", MAGIC + b"-> a\n\n" * (size // 6)
    yield "empty lines", MAGIC + b"\n" * size
    yield "an endless MAC", MAGIC + b"-> a\n\n--- " + b"A" * size


@pytest.mark.parametrize(
    ("name", "head"), list(hostile_heads()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_hostile_header_costs_no_more_than_the_longest_one(name: str, head: bytes) -> None:
    view = memoryview(head)
    tracemalloc.start()
    try:
        with pytest.raises(PartDamaged):
            AgeOpener([CLASSIC]).begin(view, part_bytes=len(view))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * MAX_HEADER_BYTES


def test_the_number_of_stanzas_bounds_the_key_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(X25519Identity, "unwrap", lambda _self, stanza: tried.append(stanza))
    share = encode_base64(X25519PrivateKey.generate().public_key().public_bytes_raw())
    stanza = b"-> X25519 " + share.encode() + b"\n" + b"A" * 43 + b"\n"
    end = b"--- " + b"A" * 43 + b"\n"
    with pytest.raises(WrongIdentity):
        streamed(MAGIC + stanza * MAX_STANZAS + end, "classic")
    assert len(tried) == MAX_STANZAS
    with pytest.raises(PartDamaged):
        streamed(MAGIC + stanza * (MAX_STANZAS + 1) + end, "classic")
    assert len(tried) == MAX_STANZAS


def test_a_header_of_the_greatest_length_is_read_and_a_longer_one_is_not() -> None:
    def written(argument_bytes: int) -> bytes:
        return MAGIC + b"-> " + b"a" * argument_bytes + b"\n\n--- " + b"A" * 43 + b"\n"

    most = MAX_HEADER_BYTES - len(written(0))
    assert read_header(memoryview(written(most))).length == MAX_HEADER_BYTES
    with pytest.raises(PartDamaged):
        read_header(memoryview(written(most + 1)))


def test_nothing_is_written_that_would_not_be_read() -> None:
    for stanzas in ([], [Stanza(("a",), b"")] * (MAX_STANZAS + 1), [Stanza(("a",), bytes(MAX_HEADER_BYTES))]):
        with pytest.raises(ValueError, match="too long"):
            write_header(KEY, stanzas)


@given(st.binary(max_size=100))
def test_base64_has_one_form(data: bytes) -> None:
    text = encode_base64(data)
    assert text == base64.b64encode(data).decode().replace("=", "")
    assert decode_base64(text) == data
    for other in (text + "=", text + "==", text + "\n", text + " ", "-" + text[1:], text + "\u0661"):
        assert decode_base64(other) is None or other == text
    if len(data) % 3:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        assert decode_base64(text[:-1] + alphabet[alphabet.index(text[-1]) + 1]) is None


@given(st.text(max_size=12))
def test_text_is_no_base64_or_in_its_one_form(text: str) -> None:
    data = decode_base64(text)
    assert data is None or encode_base64(data) == text


LOW_ORDER_POINTS = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
LOW_ORDER_POINTS += [point[:31] + bytes([point[31] | 0x80]) for point in LOW_ORDER_POINTS]
"""All that X25519 takes to zero (cr.yp.to/ecdh.html), with the bit that it ignores."""


@pytest.mark.parametrize("point", LOW_ORDER_POINTS, ids=bytes.hex)
def test_a_secret_of_zeros_is_refused(point: bytes) -> None:
    classic = Stanza(("X25519", encode_base64(point)), bytes(32))
    hybrid = Stanza(("mlkem768x25519", encode_base64(bytes(1088) + point)), bytes(32))
    for kind, stanza in (("classic", classic), ("hybrid", hybrid)):
        with pytest.raises(PartDamaged) as caught:
            streamed(made_of([stanza]), kind)
        assert "zeros" in caught.value.answer


def test_the_mac_is_compared_in_constant_time_and_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, Any]] = []

    def compare(left: Any, right: Any) -> bool:
        compared.append((left, right))
        return False

    assert streamed(part("classic"), "classic") == PLAIN
    monkeypatch.setattr(age_header.hmac, "compare_digest", compare)
    with pytest.raises(PartDamaged, match="header"):
        streamed(part("classic"), "classic")
    ((left, right),) = compared
    assert left == right
    assert len(left) == 32
    assert age_header.hmac is hmac


@pytest.mark.parametrize(
    ("stanza", "kind"),
    [
        (Stanza(("X25519",), bytes(32)), "classic"),
        (Stanza(("X25519", encode_base64(b"\t" * 32), "more"), bytes(32)), "classic"),
        (Stanza(("X25519", encode_base64(b"\t" * 31)), bytes(32)), "classic"),
        (Stanza(("X25519", encode_base64(b"\t" * 33)), bytes(32)), "classic"),
        (Stanza(("X25519", encode_base64(b"\t" * 32)), bytes(31)), "classic"),
        (Stanza(("X25519", encode_base64(b"\t" * 32)), bytes(33)), "classic"),
        (Stanza(("mlkem768x25519",), bytes(32)), "hybrid"),
        (Stanza(("mlkem768x25519", encode_base64(b"\t" * 1120), "more"), bytes(32)), "hybrid"),
        (Stanza(("mlkem768x25519", encode_base64(b"\t" * 1119)), bytes(32)), "hybrid"),
        (Stanza(("mlkem768x25519", encode_base64(b"\t" * 1121)), bytes(32)), "hybrid"),
        (Stanza(("mlkem768x25519", encode_base64(b"\t" * 1120)), bytes(33)), "hybrid"),
    ],
)
def test_a_malformed_stanza_of_our_kinds_is_damage_also_beside_a_good_one(stanza: Stanza, kind: str) -> None:
    identity = parse_identity(KINDS[kind][0])
    good = AgeSealer([KINDS[kind][1]])._recipients[0].wrap(KEY)
    assert isinstance(identity, X25519Identity | HybridIdentity)
    assert identity.unwrap(good) == KEY
    assert streamed(made_of([Stanza(("grease", "\\"), b""), good]), kind) == b""
    for stanzas in ([stanza], [good, stanza], [stanza, good]):
        with pytest.raises(PartDamaged):
            streamed(made_of(stanzas), kind)


def test_a_part_for_the_other_kind_says_which_it_is_for() -> None:
    for kind, other in (("classic", "hybrid"), ("hybrid", "classic")):
        with pytest.raises(WrongIdentity) as caught:
            streamed(part(kind), other)
        assert {"classic": "X25519", "hybrid": "mlkem768x25519"}[kind] in caught.value.answer


@every_kind
def test_a_passphrase_beside_other_recipients_is_damage(kind: str) -> None:
    """Without it the part would open: "An scrypt stanza, if present, MUST be the only stanza in the header." """
    good = AgeSealer([KINDS[kind][1]])._recipients[0].wrap(KEY)
    scrypt = Stanza(("scrypt", encode_base64(bytes(16)), "18"), bytes(32))
    assert streamed(made_of([good]), kind) == b""
    for stanzas in ([good, scrypt], [scrypt, good], [scrypt, scrypt]):
        with pytest.raises(PartDamaged, match="passphrase"):
            streamed(made_of(stanzas), kind)
    with pytest.raises(WrongIdentity):
        streamed(made_of([scrypt]), kind)


def test_a_header_for_nobody_is_damage_and_not_a_question_of_keys() -> None:
    with pytest.raises(PartDamaged, match="no recipient"):
        read_header(memoryview(MAGIC + b"--- " + b"A" * 43 + b"\n"))
