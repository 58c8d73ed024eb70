# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys as people write them: pairs, what is none, and private keys that no message repeats."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import BadRecipient, KeyFileError, LibraryMissing
from zrb.seal import bech32
from zrb.seal.age import AgeSealer
from zrb.seal.age_keys import check_recipient, check_recipients, new_identity, parse_identities, public_of
from zrb.values.recipients import KeyKind, kind_of

PRIVATE, PUBLIC = new_identity()
OTHER_PRIVATE, OTHER_PUBLIC = new_identity()
HYBRID_PRIVATE, HYBRID_PUBLIC = new_identity("hybrid")

every_kind = pytest.mark.parametrize("kind", ["classic", "hybrid"])


def test_the_examples_of_the_specification_are_pairs() -> None:
    assert public_of("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX") == (
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
    )
    hybrid = public_of("AGE-SECRET-KEY-PQ-1XX76JRALNLXDMEW0CRK45QMCCH4X06SE84UN3VPM33W6HWDX0H3SK3ZQFR")
    assert hybrid.startswith("age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zrqtzdxz95p")
    # The whole of it, which has 1,959 characters.
    digest = hashlib.sha256(hybrid.encode()).hexdigest()
    assert digest == "a091dd7e0ee9d62b75173dcc98441a0424baa941e66a8776e570a4ae60ff61ea"


@every_kind
def test_keys_of_a_kind_come_in_pairs_and_never_twice(kind: KeyKind) -> None:
    private, public = new_identity(kind)
    assert public_of(f" {private}\n") == public
    assert check_recipient(f" {public}\n") == public
    assert kind_of(public) == kind
    assert parse_identities(private) == [private]
    assert new_identity(kind) != (private, public)


@every_kind
@given(data=st.data())
def test_a_changed_letter_of_a_key_is_noticed_and_a_private_one_never_repeated(
    kind: KeyKind, data: st.DataObject
) -> None:
    private, public = (PRIVATE, PUBLIC) if kind == "classic" else (HYBRID_PRIVATE, HYBRID_PUBLIC)
    letters = "023456789acdefghjklmnpqrstuvwxyz"
    place = data.draw(st.integers(public.rindex("1") + 1, len(public) - 1))
    letter = data.draw(st.sampled_from(letters.replace(public[place], "")))
    with pytest.raises(BadRecipient, match="checksum"):
        check_recipient(public[:place] + letter + public[place + 1 :])
    place = data.draw(st.integers(private.rindex("1") + 1, len(private) - 1))
    letter = data.draw(st.sampled_from(letters.upper().replace(private[place], "")))
    with pytest.raises(KeyFileError, match="checksum") as caught:
        public_of(private[:place] + letter + private[place + 1 :])
    for begin in range(20, len(private) - 12):
        assert private[begin : begin + 12] not in f"{caught.value}{caught.value.facts()}"


@pytest.mark.parametrize(
    ("prefix", "length"),
    [("age", 31), ("age", 33), ("age", 1216), ("age1pq", 32), ("age1pq", 1215), ("age1pq", 1217), ("agf", 32)],
)
def test_a_key_of_another_length_is_none(prefix: str, length: int) -> None:
    with pytest.raises(BadRecipient):
        check_recipient(bech32.encode(prefix, b"\t" * length))


@pytest.mark.parametrize("prefix", ["age-secret-key-", "age-secret-key-pq-"])
def test_a_private_key_of_another_length_is_none(prefix: str) -> None:
    for length in (31, 33):
        with pytest.raises(KeyFileError):
            public_of(bech32.encode(prefix, b"\t" * length).upper())


def test_a_public_key_that_makes_every_secret_zero_is_refused() -> None:
    mlkem = (bech32.decode(HYBRID_PUBLIC) or ("", b""))[1][:1184]
    for text in (
        bech32.encode("age", bytes(32)),
        bech32.encode("age", b"\1" + bytes(31)),
        bech32.encode("age1pq", mlkem + bytes(32)),
    ):
        with pytest.raises(BadRecipient, match="genuine"):
            check_recipient(text)


def test_a_public_key_that_is_none_of_mlkem_is_refused() -> None:
    """FIPS 203, 7.2: a coefficient of 3329 or more is none."""
    raw = (bech32.decode(HYBRID_PUBLIC) or ("", b""))[1]
    with pytest.raises(BadRecipient, match="genuine"):
        check_recipient(bech32.encode("age1pq", b"\xff" * 3 + raw[3:]))


def test_kinds_are_not_mixed() -> None:
    check_recipients([])
    check_recipients([PUBLIC, OTHER_PUBLIC])
    check_recipients([HYBRID_PUBLIC])
    with pytest.raises(BadRecipient, match="one kind"):
        check_recipients([PUBLIC, HYBRID_PUBLIC])


def test_a_library_that_is_too_old_for_hybrid_keys_says_which_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = __import__("sys").modules
    for module in ("cryptography.hazmat.primitives.hpke", "cryptography.hazmat.primitives.asymmetric.mlkem"):
        __import__(module)
        with monkeypatch.context() as patch:
            package, _, name = module.rpartition(".")
            patch.setitem(modules, module, None)
            patch.delattr(modules[package], name)
            with pytest.raises(LibraryMissing, match="48") as caught:
                check_recipient(HYBRID_PUBLIC)
            assert caught.value.subject == "cryptography"
            assert "cryptography>=48" in caught.value.next_step
            check_recipient(PUBLIC)
            AgeSealer([PUBLIC]).begin()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric import mlkem

    class Unsupported:
        @staticmethod
        def from_seed_bytes(_: bytes) -> None:
            raise UnsupportedAlgorithm("ML-KEM-768 is not supported by this backend.")

    with monkeypatch.context() as patch:  # as version 47 says, whose OpenSSL has none
        patch.setattr(mlkem, "MLKEM768PrivateKey", Unsupported)
        for attempt in (lambda: check_recipient(HYBRID_PUBLIC), lambda: public_of(HYBRID_PRIVATE)):
            with pytest.raises(LibraryMissing, match="48"):
                attempt()
    monkeypatch.delattr(hpke, "MLKEM768X25519PublicKey")
    with pytest.raises(LibraryMissing, match="48"):
        check_recipient(HYBRID_PUBLIC)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not an age public key"),
        ("age1", "'age1' is not an age public key"),
        (PUBLIC.upper(), "is not an age public key"),
        (PUBLIC[:-1] + ("q" if PUBLIC[-1] != "q" else "p"), "checksum"),
        (f"{PUBLIC} {OTHER_PUBLIC}", "is not an age public key"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", "SSH key"),
        ("age1pq1" + "q" * 100, "checksum"),
        ("age1" + "q" * 5000, "is not an age public key"),
        ("age1yubikey1" + "q" * 50, "plugin"),
        ("age1../../x", "is not an age public key"),
        ("zrbsign1" + "a" * 58, "signer"),
    ],
)
def test_what_is_no_recipient_is_named(text: str, problem: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        check_recipient(text)
    assert problem in caught.value.problem
    assert caught.value.next_step
    with pytest.raises(BadRecipient):
        AgeSealer([PUBLIC, text])


@pytest.mark.parametrize("private", [PRIVATE, PRIVATE.lower(), HYBRID_PRIVATE, "AGE-PLUGIN-YUBIKEY-1QQQ"])
def test_a_private_key_in_the_place_of_a_public_one_is_not_repeated(private: str) -> None:
    with pytest.raises(BadRecipient) as caught:
        check_recipient(private)
    assert "private key" in caught.value.problem
    assert private[10:] not in f"{caught.value}{caught.value.facts()}"


def test_a_key_file_has_comments_blank_lines_and_keys() -> None:
    text = f"# created: 2026-01-31T02:00:00Z\n# public key: {PUBLIC}\n\n{PRIVATE}\r\n  {HYBRID_PRIVATE}  \n"
    assert parse_identities(text) == [PRIVATE, HYBRID_PRIVATE]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no age private key"),
        ("# only a comment\n", "no age private key"),
        (PUBLIC, "public key"),
        ("ZRB-SIGNING-KEY-1ABC", "signing key"),
        ("ZRB-SIGNING-KEY-PQ-1ABC", "signing key"),
        ("-----BEGIN AGE ENCRYPTED FILE-----", "passphrase"),
        ("age-encryption.org/v1\n-> scrypt", "passphrase"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "SSH"),
        ("AGE-PLUGIN-YUBIKEY-1QQQ", "plugin"),
        (PRIVATE.lower(), "something else"),
        (HYBRID_PRIVATE.replace("-PQ-", "-"), "checksum"),
        (PRIVATE[:-1], "something else"),
        (PRIVATE[:-1] + ("Q" if PRIVATE[-1] != "Q" else "P"), "checksum"),
    ],
)
def test_what_is_no_key_file_is_named_and_not_repeated(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        parse_identities(text, name="usb.key")
    assert problem in caught.value.problem
    assert "usb.key" in caught.value.problem
    assert caught.value.subject == "usb.key"
    assert caught.value.next_step
    assert PRIVATE[20:50] not in f"{caught.value}{caught.value.facts()}"


def test_a_missing_library_says_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(LibraryMissing, match="pip install cryptography"):
        new_identity()
