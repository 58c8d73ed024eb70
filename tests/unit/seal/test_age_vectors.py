# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The age test vectors of C2SP (c2sp.org/CCTV/age), which tests/setup/age-tools fetches: every one has its answer here.

Two kinds of files are refused by design, whatever the vector expects of a reader that knows them: armored ones, since a
part is binary (:class:`PartDamaged`), and those for a passphrase (:class:`WrongIdentity`, or :class:`PartDamaged` where
the header is malformed in a way that shows without reading the stanza).
"""

from __future__ import annotations

import hashlib
import io

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from zrb.errors import EngineError, PartDamaged, WrongIdentity
from zrb.seal.age import HEAD_BYTES, AgeOpener
from zrb.seal.age_header import read_header, write_header
from zrb.seal.age_keys import new_identity

from tests.fixtures.age_tools import Vector, lacking, vectors

VECTORS = vectors()
OURS = [vector for vector in VECTORS if not vector.armored and not vector.with_passphrase]
SEALED_PIECE = 64 * 1024 + 16

every_vector = pytest.mark.parametrize("vector", OURS, ids=lambda vector: vector.name)


def outcome(error: EngineError | None) -> str:
    return "success" if error is None else type(error).__name__


def expected(vector: Vector) -> str:
    return {"success": "success", "no match": "WrongIdentity"}.get(vector.expected, "PartDamaged")


def identities_of(vector: Vector) -> tuple[str, ...]:
    """Its keys, or one where it has none."""
    return vector.identities or (new_identity()[0],)


def streamed(vector: Vector) -> tuple[bytes, EngineError | None]:
    """What comes out of the reader that takes a part from its beginning, and the error in the end."""
    plain = io.BytesIO()
    try:
        AgeOpener(identities_of(vector)).decrypt(io.BytesIO(vector.file), plain)
    except EngineError as error:
        return plain.getvalue(), error
    return plain.getvalue(), None


def opened(vector: Vector) -> tuple[bytes, EngineError | None]:
    """The same of the reader that knows the length, and takes stretches of the part, two pieces each."""
    file = memoryview(vector.file)
    plain = bytearray()
    try:
        opening = AgeOpener(identities_of(vector)).begin(file[:HEAD_BYTES], part_bytes=len(file))
        for offset in range(opening.header_bytes, len(file), 2 * SEALED_PIECE):
            out = bytearray(2 * SEALED_PIECE)
            sealed = file[offset : offset + 2 * SEALED_PIECE]
            length = opening.open(offset, [sealed[:100], sealed[100:]], memoryview(out))
            plain += out[:length]
        assert len(plain) == opening.plain_bytes
    except EngineError as error:
        return bytes(plain), error
    return bytes(plain), None


def test_the_vectors_are_there() -> None:
    if not VECTORS:
        lacking("the set of age test vectors")
    assert len(VECTORS) >= 140
    assert len(OURS) >= 80
    assert sum(vector.name.startswith("hybrid") for vector in OURS) >= 15
    assert {"stanza_missing_body", "stanza_missing_final_line"} <= {vector.name for vector in OURS}


@every_vector
def test_every_file_of_our_kinds_has_the_outcome_that_the_specification_wants(vector: Vector) -> None:
    for plain, error in (streamed(vector), opened(vector)):
        assert outcome(error) == expected(vector), error
        if vector.expected == "success":
            assert hashlib.sha256(plain).hexdigest() == vector.plain_sha256
        elif vector.expected != "payload failure":
            assert not plain


@pytest.mark.parametrize(
    "vector", [one for one in OURS if one.expected == "payload failure"], ids=lambda vector: vector.name
)
def test_of_a_damaged_payload_no_more_is_given_than_the_specification_allows(vector: Vector) -> None:
    """A reader that tries each piece as a middle one and as the last gives what the vector has the hash of. Ours know
    which it has to be, so they may end one piece before that, and never give another byte."""
    allowed = pieces_by_trial(vector)
    assert hashlib.sha256(allowed).hexdigest() == vector.plain_sha256
    given, _error = streamed(vector)
    assert allowed.startswith(given)
    assert len(allowed) - len(given) <= 64 * 1024
    assert given.startswith(opened(vector)[0])


def pieces_by_trial(vector: Vector) -> bytes:
    """The payload as the simplest reader gives it, written anew for this test."""
    begin = vector.file.index(b"\n", vector.file.index(b"\n---") + 1) + 1
    nonce, payload = vector.file[begin : begin + 16], vector.file[begin + 16 :]
    if len(nonce) < 16:
        return b""
    cipher = ChaCha20Poly1305(HKDF(SHA256(), 32, nonce, b"payload").derive(vector.file_key))
    plain = b""
    for number in range(len(payload) // SEALED_PIECE + 1):
        piece = payload[number * SEALED_PIECE : (number + 1) * SEALED_PIECE]
        for last in (b"\0", b"\1") if len(piece) == SEALED_PIECE else (b"\1",):
            try:
                opened_piece = cipher.decrypt(number.to_bytes(11, "big") + last, piece, None)
            except InvalidTag:
                continue
            if number and not opened_piece:
                return plain
            plain += opened_piece
            break
        else:
            return plain
        if last == b"\1":
            return plain
    return plain


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if one.armored or one.with_passphrase], ids=lambda vector: vector.name
)
def test_armored_files_and_those_for_a_passphrase_are_refused_by_design(vector: Vector) -> None:
    with pytest.raises((PartDamaged, WrongIdentity)) as caught:
        AgeOpener(identities_of(vector)).decrypt(io.BytesIO(vector.file), io.BytesIO())
    if vector.armored:
        assert type(caught.value) is PartDamaged
    elif vector.expected in {"success", "no match"}:
        assert type(caught.value) is WrongIdentity
        assert "scrypt" in caught.value.answer.lower()


@pytest.mark.parametrize(
    "vector",
    [one for one in VECTORS if one.expected not in {"header failure", "armor failure"} and not one.armored],
    ids=lambda vector: vector.name,
)
def test_a_header_that_was_read_is_written_again_byte_for_byte(vector: Vector) -> None:
    header = read_header(memoryview(vector.file))
    again = write_header(vector.file_key, header.stanzas)
    assert again[:-44] == vector.file[: header.length - 44]
    assert (
        (again == vector.file[: header.length]) == (vector.expected != "HMAC failure") == header.is_of(vector.file_key)
    )
