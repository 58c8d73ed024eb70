# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hybrid signatures: who trusts the hybrid key wants both, and who knows one half needs no other."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from zrb.errors import IntegrityError, KeyFileError, LibraryMissing, ManifestInvalid, SignatureInvalid
from zrb.seal.signing import (
    MANIFEST,
    RETIREMENT,
    SigningKey,
    check_signer,
    open_envelope,
    pre_authentication_encoding,
)

KEY = SigningKey.generate("hybrid")
OTHER = SigningKey.generate("hybrid")
PRIVATE = KEY.text().splitlines()[-1]
PAYLOAD = b'{"format":1}'
ENVELOPE = KEY.sign(PAYLOAD)
FIRST, SECOND = json.loads(ENVELOPE)["signatures"]


def halves() -> tuple[str, bytes]:
    """The same Ed25519 key as a classic signer, and the two seeds."""
    digits = PRIVATE.removeprefix("ZRB-SIGNING-KEY-PQ-1")
    seeds = base64.b32decode(digits + "=" * (-len(digits) % 8))[:64]
    return SigningKey(seeds[:32]).public, seeds


CLASSIC, SEEDS = halves()


def with_signatures(*signatures: dict[str, Any]) -> bytes:
    return json.dumps({**json.loads(ENVELOPE), "signatures": signatures}).encode()


def test_both_signatures_are_of_the_same_message() -> None:
    message = pre_authentication_encoding(PAYLOAD, MANIFEST.media_type)
    public = base64.b64decode(SECOND["public"])
    mldsa.MLDSA65PublicKey.from_public_bytes(public).verify(base64.b64decode(SECOND["sig"]), message)
    assert SECOND["keyid"] == hashlib.sha256(public).hexdigest()
    digits = KEY.public.removeprefix("zrbsign1pq1").upper()
    raw = base64.b32decode(digits + "=" * (-len(digits) % 8))
    assert raw[32:64] == hashlib.sha256(public).digest()
    assert FIRST["keyid"] == KEY.keyid == hashlib.sha256(raw[:32]).hexdigest()
    Ed25519PublicKey.from_public_bytes(raw[:32]).verify(base64.b64decode(FIRST["sig"]), message)
    assert raw[64:] == hashlib.sha256(raw[:64]).digest()[:4]


def test_who_trusts_the_hybrid_key_believes_both_signatures() -> None:
    assert open_envelope(ENVELOPE, trusted=[OTHER.public, KEY.public]).signer == KEY.public
    assert open_envelope(KEY.sign(PAYLOAD), trusted=[KEY.public]).payload == PAYLOAD
    assert open_envelope(KEY.sign(PAYLOAD, RETIREMENT), RETIREMENT, trusted=[KEY.public]).signer == KEY.public


def test_who_knows_the_ed25519_key_alone_ignores_the_second() -> None:
    wrong = {**SECOND, "sig": json.loads(OTHER.sign(PAYLOAD))["signatures"][1]["sig"]}
    for envelope in (ENVELOPE, with_signatures(FIRST), with_signatures(FIRST, wrong)):
        assert open_envelope(envelope, trusted=[CLASSIC]).signer == CLASSIC


THEIRS = json.loads(OTHER.sign(PAYLOAD))["signatures"]
ABOUT_ANOTHER = json.loads(KEY.sign(PAYLOAD + b" "))["signatures"]
AS_A_RECORD = json.loads(KEY.sign(PAYLOAD, RETIREMENT))["signatures"]
MIXED = json.loads(SigningKey(SEEDS[:32] + bytes(32)).sign(PAYLOAD))["signatures"]


@pytest.mark.parametrize(
    "signatures",
    [
        [FIRST],
        [SECOND],
        [FIRST, FIRST],
        [FIRST, THEIRS[1]],
        [THEIRS[0], SECOND],
        [FIRST, ABOUT_ANOTHER[1]],
        [ABOUT_ANOTHER[0], SECOND],
        [FIRST, AS_A_RECORD[1]],
        [FIRST, MIXED[1]],
        [FIRST, {**SECOND, "sig": THEIRS[1]["sig"]}],
        [FIRST, {**SECOND, "public": THEIRS[1]["public"]}],
        [FIRST, {**THEIRS[1], "keyid": SECOND["keyid"]}],
        [{**SECOND, "keyid": FIRST["keyid"]}, SECOND],
        [FIRST, {"keyid": SECOND["keyid"], "sig": SECOND["sig"]}],
        [FIRST, {**FIRST, "keyid": SECOND["keyid"]}],
        [FIRST, {**SECOND, "sig": FIRST["sig"]}],
        [FIRST, {**SECOND, "public": FIRST["sig"]}],
        [{**FIRST, "public": SECOND["public"]}, SECOND],
    ],
)
def test_who_trusts_the_hybrid_key_believes_no_less(signatures: list[dict[str, Any]]) -> None:
    """Stripped, swapped, of another key, of another message: also where the Ed25519 half is trusted by itself."""
    for trusted in ([KEY.public], [KEY.public, CLASSIC], [CLASSIC, KEY.public]):
        with pytest.raises(IntegrityError):
            open_envelope(with_signatures(*signatures), trusted=trusted)


def test_the_order_of_the_signatures_does_not_matter_and_neither_do_those_of_others() -> None:
    for signatures in itertools.permutations([FIRST, SECOND, *THEIRS]):
        for key in (KEY, OTHER):
            assert open_envelope(with_signatures(*signatures), trusted=[key.public]).signer == key.public


def test_a_signature_that_was_removed_is_named() -> None:
    with pytest.raises(SignatureInvalid, match="ML-DSA"):
        open_envelope(with_signatures(FIRST), trusted=[KEY.public])
    assert open_envelope(with_signatures(FIRST), trusted=[KEY.public], allow_unsigned=True).signer is None


def test_no_single_bit_of_an_envelope_can_change() -> None:
    for position in range(len(ENVELOPE) * 8):
        forged = bytearray(ENVELOPE)
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            open_envelope(bytes(forged), trusted=[KEY.public])


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({**SECOND, "sig": FIRST["sig"]}, "a signature of 64 bytes, and ML-DSA-65 makes 3309"),
        ({**SECOND, "public": FIRST["sig"]}, "a public key whose keyid is another"),
        ({**SECOND, "keyid": FIRST["keyid"]}, "a public key whose keyid is another"),
        ({**SECOND, "public": None}, "a public that is not text"),
        ({**SECOND, "more": ""}, "the unknown field 'more'"),
    ],
)
def test_a_bad_second_signature_is_refused_with_its_reason(second: dict[str, Any], reason: str) -> None:
    for trusted in (KEY.public, CLASSIC):
        with pytest.raises(ManifestInvalid, match=reason):
            open_envelope(with_signatures(FIRST, second), trusted=[trusted])


def test_a_key_survives_its_file() -> None:
    again = SigningKey.parse(KEY.text(created="2026-01-31T02:00:00Z"))
    assert (again.public, again.keyid) == (KEY.public, KEY.keyid)
    assert open_envelope(again.sign(PAYLOAD), trusted=[KEY.public]).signer == KEY.public
    assert PRIVATE[20:60] not in f"{KEY} {KEY!r}"


@pytest.mark.parametrize(
    "text",
    [PRIVATE[:-1], PRIVATE + "A", PRIVATE.replace("-PQ-", "-"), PRIVATE[:40] + "!" + PRIVATE[41:]],
)
def test_a_damaged_key_is_named_and_not_repeated(text: str) -> None:
    with pytest.raises(KeyFileError, match="damaged") as caught:
        SigningKey.parse(text, name="nas.key")
    assert PRIVATE[45:70] not in f"{caught.value}{caught.value.facts()}"


def test_a_signer_is_checked_to_the_last_character() -> None:
    assert check_signer(f" {KEY.public} ") == KEY.public
    for position in range(len("zrbsign1pq1"), len(KEY.public)):
        other = "a" if KEY.public[position] != "a" else "b"
        with pytest.raises(KeyFileError):
            check_signer(KEY.public[:position] + other + KEY.public[position + 1 :])
    for wrong in (KEY.public.replace("pq1", ""), KEY.public[:-1], CLASSIC.replace("zrbsign1", "zrbsign1pq1")):
        with pytest.raises(KeyFileError, match="length or its checksum"):
            check_signer(wrong)
    with pytest.raises(KeyFileError, match="private key"):
        check_signer(PRIVATE)


def unsupported(*_: object) -> None:
    raise UnsupportedAlgorithm("ML-DSA is not supported by this backend")


def test_a_library_that_is_too_old_is_named_where_a_hybrid_key_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    uses: list[Callable[[], object]] = [
        lambda: SigningKey.generate("hybrid"),
        lambda: SigningKey.parse(PRIVATE),
        lambda: open_envelope(ENVELOPE, trusted=[KEY.public]),
    ]
    missing = {"from_seed_bytes": unsupported, "from_public_bytes": unsupported}
    package = sys.modules["cryptography.hazmat.primitives.asymmetric"]
    for name, value in (("mldsa", None), ("MLDSA65PrivateKey", None), ("MLDSA65PrivateKey", type("Old", (), missing))):
        with monkeypatch.context() as patch:
            if name == "mldsa":
                patch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
                patch.delattr(package, "mldsa")
            elif value is None:
                patch.delattr(mldsa, "MLDSA65PrivateKey")
                patch.delattr(mldsa, "MLDSA65PublicKey")
            else:
                patch.setattr(mldsa, "MLDSA65PrivateKey", value)
                patch.setattr(mldsa, "MLDSA65PublicKey", value)
            for use in uses:
                with pytest.raises(LibraryMissing, match="48"):
                    use()
            assert open_envelope(ENVELOPE, trusted=[CLASSIC]).signer == CLASSIC
            SigningKey.generate("classic").sign(PAYLOAD)
