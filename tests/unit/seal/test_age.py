# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts: what the recipients can open, what nobody can, and what each failure is called."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import (
    BadRecipient,
    KeyFileError,
    PartDamaged,
    StoreUnavailable,
    WrongIdentity,
)
from zrb.seal.age import HEAD_BYTES, AgeOpener, AgeSealer
from zrb.seal.age_header import MAGIC
from zrb.seal.age_keys import MAX_RECIPIENTS, new_identity
from zrb.values.recipients import KeyKind

PRIVATE, PUBLIC = new_identity()
OTHER_PRIVATE, OTHER_PUBLIC = new_identity()
CHUNK = 64 * 1024


def seal(plain: bytes, recipients: tuple[str, ...] = (PUBLIC,)) -> bytes:
    sealed = io.BytesIO()
    AgeSealer(recipients).encrypt(io.BytesIO(plain), sealed)
    return sealed.getvalue()


def unseal(sealed: bytes, identities: tuple[str, ...] = (PRIVATE,)) -> bytes:
    plain = io.BytesIO()
    AgeOpener(identities).decrypt(io.BytesIO(sealed), plain)
    return plain.getvalue()


@lru_cache
def part() -> bytes:
    return seal(b"stream" * 30_000)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_part_opens_to_what_was_sealed(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert unseal(seal(plain)) == plain


@given(st.binary(max_size=1000), st.integers(1, 1000))
def test_joined_pieces_are_the_stream(stream: bytes, piece: int) -> None:
    pieces = [stream[start : start + piece] for start in range(0, len(stream), piece)]
    assert b"".join(unseal(seal(one)) for one in pieces) == stream


def test_the_length_of_a_part_is_that_of_the_specification() -> None:
    for size in (1, CHUNK, CHUNK + 1, 200_000):
        sealed = seal(b"x" * size)
        header = sealed.index(b"\n", sealed.index(b"\n--- ") + 1) + 1
        assert len(sealed) == header + 16 + size + 16 * -(-size // CHUNK)


def test_each_recipient_can_open_a_part_and_nobody_else() -> None:
    sealed = seal(b"stream", (PUBLIC, OTHER_PUBLIC))
    assert unseal(sealed) == unseal(sealed, (OTHER_PRIVATE,)) == b"stream"
    assert unseal(seal(b"stream"), (OTHER_PRIVATE, PRIVATE)) == b"stream"
    with pytest.raises(WrongIdentity) as caught:
        unseal(seal(b"stream"), (OTHER_PRIVATE,))
    assert "does not open" in caught.value.problem
    assert "age-keygen -y" in caught.value.next_step
    with pytest.raises(WrongIdentity, match="2 age private keys"):
        unseal(seal(b"stream"), (OTHER_PRIVATE, new_identity()[0]))


@pytest.mark.parametrize(
    ("damage", "answer"),
    [
        (lambda _: b"", "it is empty"),
        (lambda _: b"\0" * 500, "it does not begin like a binary age file"),
        (lambda sealed: sealed[: len(MAGIC) - 1], "it does not begin like a binary age file"),
        (lambda sealed: sealed[:100], ""),
        (lambda sealed: sealed[:-1], ""),
        (lambda sealed: sealed[: -(len(sealed) % CHUNK)], ""),
        (lambda sealed: sealed + b"x", ""),
        (lambda sealed: sealed + sealed, ""),
        (lambda sealed: sealed[CHUNK:] + sealed[:CHUNK], ""),
        (lambda _: pyrage.encrypt(b"x", [pyrage.x25519.Recipient.from_str(PUBLIC)], armored=True), "it does not begin"),
    ],
    ids=[
        "empty",
        "zeros",
        "no-magic",
        "cut-header",
        "cut-end",
        "cut-chunk",
        "trailing",
        "two-files",
        "swapped",
        "armor",
    ],
)
def test_damage_is_called_damage(damage: Callable[[bytes], bytes], answer: str) -> None:
    with pytest.raises(PartDamaged) as caught:
        unseal(damage(part()))
    assert "age file" in caught.value.problem
    assert answer in caught.value.answer
    assert caught.value.answer
    assert "fetch" in caught.value.next_step


def test_a_part_cut_at_the_end_of_a_chunk_is_damaged() -> None:
    sealed = seal(b"x" * 2 * CHUNK)
    with pytest.raises(PartDamaged, match="piece 0"):
        unseal(sealed[: -(CHUNK + 16)])


def test_a_part_for_a_passphrase_is_not_opened() -> None:
    with pytest.raises(WrongIdentity):
        unseal(pyrage.passphrase.encrypt(b"stream", "secret"))


@given(st.integers(0, 8 * 30_000))
def test_a_single_changed_bit_is_never_taken(bit: int) -> None:
    sealed = bytearray(part())
    position = bit * 7 % (len(sealed) * 8)
    sealed[position // 8] ^= 1 << position % 8
    with pytest.raises((PartDamaged, WrongIdentity)):
        unseal(bytes(sealed))


@pytest.mark.parametrize(
    "error", [StoreUnavailable("The line is down", next_step="Wait"), KeyboardInterrupt(), OSError(5, "I/O")]
)
def test_what_a_reader_or_writer_raises_comes_out_unchanged(error: BaseException) -> None:
    class Broken(io.BytesIO):
        broken = "read"

        def read(self, size: int | None = -1, /) -> bytes:
            return self.fail() if self.broken == "read" and self.tell() else super().read(size)

        def write(self, data: object, /) -> int:
            return self.fail() if self.broken == "write" else super().write(data)  # type: ignore[arg-type]

        def fail(self) -> int:
            raise error

    def broken(way: str, content: bytes = b"") -> Broken:
        file = Broken(content)
        file.broken = way
        return file

    sealer, opener = AgeSealer([PUBLIC]), AgeOpener([PRIVATE])
    attempts: list[Callable[[], None]] = [
        lambda: sealer.encrypt(broken("read", b"x" * 100_000), io.BytesIO()),
        lambda: sealer.encrypt(io.BytesIO(b"x" * 100_000), broken("write")),
        lambda: opener.decrypt(broken("read", part()), io.BytesIO()),
        lambda: opener.decrypt(io.BytesIO(part()), broken("write")),
    ]
    for attempt in attempts:
        with pytest.raises(type(error)) as caught:
            attempt()
        assert caught.value is error


def test_a_reader_that_gives_too_much_is_found_out() -> None:
    class Generous(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read((size or 0) + 1)

    with pytest.raises(ValueError, match="65537 bytes"):
        AgeSealer([PUBLIC]).encrypt(Generous(b"x" * 100_000), io.BytesIO())


def test_a_writer_that_takes_too_little_is_found_out() -> None:
    class Short(io.BytesIO):
        def write(self, data: object, /) -> int:
            return 3

    with pytest.raises(ValueError, match="took 3 of"):
        AgeSealer([PUBLIC]).encrypt(io.BytesIO(b"x" * 100_000), Short())
    with pytest.raises(ValueError, match="took 3 of"):
        AgeOpener([PRIVATE]).decrypt(io.BytesIO(part()), Short())


def test_somebody_has_to_be_there_to_encrypt_for_and_something_to_decrypt_with() -> None:
    with pytest.raises(BadRecipient, match="no recipient"):
        AgeSealer([])
    with pytest.raises(KeyFileError, match="age private key"):
        AgeOpener([])


@pytest.mark.parametrize("kind", ["classic", "hybrid"])
def test_the_most_recipients_fit_a_header_and_more_are_refused(kind: KeyKind) -> None:
    recipients = [new_identity(kind)[1] for _ in range(MAX_RECIPIENTS)]
    part = AgeSealer(recipients).begin()
    assert len(part.header) <= HEAD_BYTES
    with pytest.raises(BadRecipient, match="33 recipients"):
        AgeSealer([*recipients, recipients[0]])


def test_one_part_has_recipients_of_one_kind() -> None:
    hybrid = new_identity("hybrid")[1]
    for recipients in ((PUBLIC, hybrid), (hybrid, OTHER_PUBLIC, hybrid)):
        with pytest.raises(BadRecipient, match="one kind"):
            AgeSealer(recipients)
