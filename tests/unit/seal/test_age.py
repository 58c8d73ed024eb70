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
    EngineError,
    KeyFileError,
    LibraryMissing,
    PartDamaged,
    StoreUnavailable,
    WrongIdentity,
)
from zrb.seal.age import (
    MAGIC,
    AgeOpener,
    AgeSealer,
    check_recipient,
    new_identity,
    parse_identities,
    public_of,
)

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
    assert caught.value.problem == "The age private key that was given does not open this part"
    assert "`age-keygen -y FILE` shows" in caught.value.next_step
    with pytest.raises(WrongIdentity, match="None of the 2 age private keys opens this part"):
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
    assert caught.value.problem == "A part is not a whole and unchanged age file"
    assert answer in caught.value.answer
    assert caught.value.answer
    assert "fetch the part again" in caught.value.next_step


def test_a_part_cut_at_the_end_of_a_chunk_is_damaged() -> None:
    sealed = seal(b"x" * 2 * CHUNK)
    with pytest.raises(PartDamaged, match="truncated"):
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

    with pytest.raises(ValueError, match="a reader gave 8193 bytes where 8192 were asked for"):
        AgeSealer([PUBLIC]).encrypt(Generous(b"x" * 100_000), io.BytesIO())


def test_a_writer_that_takes_too_little_is_found_out() -> None:
    class Short(io.BytesIO):
        def write(self, data: object, /) -> int:
            return 3

    with pytest.raises(ValueError, match=r"a writer took 3 bytes where \d+ were given"):
        AgeSealer([PUBLIC]).encrypt(io.BytesIO(b"x" * 100_000), Short())
    with pytest.raises(ValueError, match="a writer took 3 bytes where 8192 were given"):
        AgeOpener([PRIVATE]).decrypt(io.BytesIO(part()), Short())


def test_what_pyrage_itself_refuses_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pyrage.EncryptError("no entropy")

    monkeypatch.setattr(pyrage, "encrypt_io", refuse)
    with pytest.raises(EngineError, match="A part could not be encrypted: no entropy"):
        seal(b"x")


def test_reads_are_small_and_writes_are_bounded() -> None:
    sizes: dict[str, set[int]] = {"read": set(), "write": set()}

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            sizes["read"].add(size or 0)
            return super().read(size)

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            sizes["write"].add(len(data))
            return super().write(data)

    AgeSealer([PUBLIC]).encrypt(Counting(b"x" * 300_000), Counting())
    assert sizes["read"] == {8192}
    assert max(sizes["write"]) == CHUNK + 16


def test_keys_come_in_pairs() -> None:
    assert public_of(PRIVATE) == PUBLIC
    assert public_of(f" {PRIVATE}\n") == PUBLIC
    assert check_recipient(f" {PUBLIC}\n") == PUBLIC
    assert new_identity() != new_identity()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not an age public key"),
        ("age1", "'age1' is not an age public key"),
        (PUBLIC.upper(), "is not an age public key"),
        (PUBLIC[:-1] + ("q" if PUBLIC[-1] != "q" else "p"), "its checksum is wrong"),
        (f"{PUBLIC} {OTHER_PUBLIC}", "is not an age public key"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", "is an SSH key, and parts are encrypted for native age keys only"),
        ("age1pq1" + "q" * 100, "is a post-quantum age key, which format 1 does not use yet"),
        ("age1yubikey1" + "q" * 50, "is the key of an age plugin, and plugins are never run"),
        ("age1../../x", "is not an age public key"),
        ("zrbsign1" + "a" * 58, "is a public key for signatures; it cannot encrypt"),
    ],
)
def test_what_is_no_recipient_is_named(text: str, problem: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        check_recipient(text)
    assert problem in caught.value.problem
    assert caught.value.next_step
    with pytest.raises(BadRecipient):
        AgeSealer([PUBLIC, text])


@pytest.mark.parametrize("private", [PRIVATE, PRIVATE.lower(), "AGE-PLUGIN-YUBIKEY-1QQQ"])
def test_a_private_key_in_the_place_of_a_public_one_is_not_repeated(private: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        check_recipient(private)
    assert caught.value.problem == "An age private key stands where a public key belongs"
    assert private[10:] not in f"{caught.value}{caught.value.facts()}"


def test_somebody_has_to_be_there_to_encrypt_for_and_something_to_decrypt_with() -> None:
    with pytest.raises(BadRecipient, match="There is nobody to encrypt for"):
        AgeSealer([])
    with pytest.raises(KeyFileError, match="There is no age private key to decrypt with"):
        AgeOpener([])


def test_a_key_file_has_comments_blank_lines_and_keys() -> None:
    text = f"# created: 2026-01-31T02:00:00Z\n# public key: {PUBLIC}\n\n{PRIVATE}\r\n  {OTHER_PRIVATE}  \n"
    assert parse_identities(text) == [PRIVATE, OTHER_PRIVATE]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "There is no age private key in usb.key"),
        ("# only a comment\n", "There is no age private key in usb.key"),
        (PUBLIC, "An age public key stands where a private key belongs in usb.key"),
        ("ZRB-SIGNING-KEY-1ABC", "A private key for signatures, which cannot decrypt, stands in usb.key"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "A key that is itself encrypted with a passphrase"),
        ("age-encryption.org/v1\n-> scrypt", "A key that is itself encrypted with a passphrase"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "A PEM or SSH private key, which opens no part, stands in usb.key"),
        ("AGE-PLUGIN-YUBIKEY-1QQQ", "The key of an age plugin, and plugins are never run, stands in usb.key"),
        (PRIVATE[:-1], "Something that is not an age private key stands in usb.key"),
        (PRIVATE[:-1] + ("Q" if PRIVATE[-1] != "Q" else "P"), "The age private key in usb.key has a wrong checksum"),
    ],
)
def test_what_is_no_key_file_is_named_and_not_repeated(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse_identities(text, name="usb.key")
    assert problem in caught.value.problem
    assert caught.value.next_step
    assert PRIVATE[20:50] not in f"{caught.value}{caught.value.facts()}"


def test_a_missing_library_says_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyrage", None)
    with pytest.raises(LibraryMissing, match=r"The Python library pyrage is needed .* pip install pyrage`"):
        new_identity()
