# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures: who is believed, and that nothing else is."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import IntegrityError, KeyFileError, LibraryMissing, ManifestInvalid, SignatureInvalid
from zrb.seal import signing
from zrb.seal.signing import (
    MANIFEST,
    MAX_SIGNATURES,
    RETIREMENT,
    SigningKey,
    check_signer,
    open_envelope,
    pre_authentication_encoding,
)

KEY = SigningKey.generate()
OTHER = SigningKey.generate()
PAYLOAD = '{"format":1,"host":"nas1","note":"täglich"}'.encode()
ENVELOPE = KEY.sign(PAYLOAD)


def raw_public(key: SigningKey) -> bytes:
    return base64.b32decode(key.public.removeprefix("zrbsign1").upper() + "======")[:32]


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(ENVELOPE), **fields}).encode()


def with_signature(**fields: Any) -> bytes:
    return changed(signatures=[{**json.loads(ENVELOPE)["signatures"][0], **fields}])


def test_the_envelope_is_dsse() -> None:
    record = json.loads(ENVELOPE)
    assert list(record) == ["payloadType", "payload", "signatures"]
    assert record["payloadType"] == "application/vnd.zrb.manifest.v1+json"
    assert base64.b64decode(record["payload"]) == PAYLOAD
    (signature,) = record["signatures"]
    assert signature["keyid"] == KEY.keyid == hashlib.sha256(raw_public(KEY)).hexdigest()
    kind = MANIFEST.media_type
    message = f"DSSEv1 {len(kind)} {kind} {len(PAYLOAD)} ".encode() + PAYLOAD
    Ed25519PublicKey.from_public_bytes(raw_public(KEY)).verify(base64.b64decode(signature["sig"]), message)


def test_the_encoding_is_that_of_the_specification() -> None:
    # The example in the protocol.md of DSSE.
    encoded = pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_is_signed_as_one_kind_is_not_read_as_another() -> None:
    record = KEY.sign(PAYLOAD, RETIREMENT)
    assert open_envelope(record, RETIREMENT, trusted=[KEY.public]).payload == PAYLOAD
    for envelope, kind, other in ((record, MANIFEST, RETIREMENT), (ENVELOPE, RETIREMENT, MANIFEST)):
        with pytest.raises(ManifestInvalid, match=kind.noun):
            open_envelope(envelope, kind, trusted=[KEY.public])
        renamed = envelope.replace(other.media_type.encode(), kind.media_type.encode())
        with pytest.raises(SignatureInvalid, match=kind.noun):
            open_envelope(renamed, kind, trusted=[KEY.public])


def test_a_trusted_signer_is_believed() -> None:
    opened = open_envelope(ENVELOPE, trusted=[OTHER.public, f" {KEY.public}\n"])
    assert (opened.payload, opened.signer) == (PAYLOAD, KEY.public)


def test_one_good_signature_of_several_is_enough() -> None:
    both = [*json.loads(OTHER.sign(PAYLOAD))["signatures"], *json.loads(ENVELOPE)["signatures"]]
    assert open_envelope(changed(signatures=both), trusted=[KEY.public]).signer == KEY.public
    assert open_envelope(changed(signatures=both), trusted=[OTHER.public]).signer == OTHER.public


def test_a_stranger_is_not_believed() -> None:
    with pytest.raises(SignatureInvalid) as caught:
        open_envelope(ENVELOPE, trusted=[OTHER.public])
    assert KEY.keyid[:16] in caught.value.problem
    assert "trusted signers" in caught.value.problem
    assert "trusted_signers" in caught.value.next_step


def test_a_changed_payload_is_not_believed() -> None:
    forged = base64.b64encode(PAYLOAD.replace(b"nas1", b"nas2")).decode()
    with pytest.raises(SignatureInvalid) as caught:
        open_envelope(changed(payload=forged), trusted=[KEY.public])
    assert "changed" in caught.value.problem
    assert "Do not use it" in caught.value.next_step


def test_a_signature_under_a_trusted_keyid_by_another_key_is_not_believed() -> None:
    other = json.loads(OTHER.sign(PAYLOAD))["signatures"][0]["sig"]
    with pytest.raises(SignatureInvalid, match="changed"):
        open_envelope(with_signature(sig=other), trusted=[KEY.public])


def test_without_any_trusted_signer_nothing_is_believed() -> None:
    with pytest.raises(SignatureInvalid) as caught:
        open_envelope(ENVELOPE, trusted=[])
    assert "trusted signer" in caught.value.problem
    assert "--allow-unsigned" in caught.value.next_step


def test_unsigned_manifests_are_taken_only_on_request() -> None:
    assert open_envelope(ENVELOPE, trusted=[], allow_unsigned=True).signer is None
    assert open_envelope(ENVELOPE, trusted=[OTHER.public], allow_unsigned=True).payload == PAYLOAD
    assert open_envelope(ENVELOPE, trusted=[KEY.public], allow_unsigned=True).signer == KEY.public
    with pytest.raises(ManifestInvalid):
        open_envelope(ENVELOPE[:-1], trusted=[], allow_unsigned=True)


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (b"", "it is not valid JSON"),
        (b"[]", "it is not a JSON object"),
        (b"\xff", "it is not valid UTF-8"),
        (b"[" * 100_000, "it is nested too deeply"),
        (ENVELOPE[:-1] + b',"payload":""}', "it names 'payload' twice"),
        (changed(extra=1), "it has the unknown field 'extra'"),
        (json.dumps({"payload": "", "signatures": []}).encode(), "it lacks 'payloadType'"),
        (
            changed(payloadType="application/json"),
            "it has the payload type 'application/json', and not application/vnd",
        ),
        (changed(payloadType=None), "it has the payload type 'None'"),
        (changed(payload=None), "it has a payload that is not text"),
        (changed(payload="e30"), "it has a payload that is not standard base64"),
        (changed(payload="e3\n0="), "it has a payload that is not standard base64"),
        (changed(payload="e31="), "it has a payload that is not standard base64"),
        (changed(payload="-_-_"), "it has a payload that is not standard base64"),
        (changed(payload="täg="), "it has a payload that is not standard base64"),
        (changed(signatures={}), "it does not have 1 to 16 signatures"),
        (changed(signatures=[]), "it does not have 1 to 16 signatures"),
        (changed(signatures=[{}] * (MAX_SIGNATURES + 1)), "it does not have 1 to 16 signatures"),
        (changed(signatures=["x"]), "it has a signature that is not an object"),
        (changed(signatures=[{"sig": ""}]), "it lacks 'keyid'"),
        (with_signature(cert="x"), "it has the unknown field 'cert'"),
        (with_signature(keyid="AB" * 32), "it has a signature whose keyid is not 64 lowercase hex digits"),
        (with_signature(keyid=None), "it has a signature whose keyid is not 64 lowercase hex digits"),
        (with_signature(sig="AAAA"), "it has a signature of 3 bytes, and Ed25519 makes 64"),
        (with_signature(sig=7), "it has a sig that is not text"),
    ],
)
def test_a_bad_envelope_is_refused_with_its_reason(envelope: bytes, reason: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        open_envelope(envelope, trusted=[KEY.public])
    assert caught.value.problem.startswith("The envelope of a manifest is not valid: ")
    assert reason in caught.value.problem
    assert caught.value.next_step


def test_an_oversized_envelope_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MAX_ENVELOPE_BYTES", len(ENVELOPE) - 1)
    with pytest.raises(ManifestInvalid, match=f"{len(ENVELOPE)} bytes.* {len(ENVELOPE) - 1}"):
        open_envelope(ENVELOPE, trusted=[KEY.public])


def test_no_single_bit_of_an_envelope_can_change() -> None:
    for position in range(len(ENVELOPE) * 8):
        forged = bytearray(ENVELOPE)
        forged[position // 8] ^= 1 << position % 8
        with pytest.raises(IntegrityError):
            open_envelope(bytes(forged), trusted=[KEY.public])


@given(st.binary(max_size=300))
def test_every_payload_can_be_signed(payload: bytes) -> None:
    assert open_envelope(KEY.sign(payload), trusted=[KEY.public]).payload == payload


@given(st.binary(max_size=300))
def test_no_garbage_is_believed(garbage: bytes) -> None:
    with pytest.raises(IntegrityError):
        open_envelope(garbage, trusted=[KEY.public])


def test_a_key_survives_its_file() -> None:
    text = KEY.text(created="2026-01-31T02:00:00Z")
    created, public, private, end = text.split("\n")
    assert created == "# created: 2026-01-31T02:00:00Z"
    assert public == f"# public key: {KEY.public}"
    assert private.startswith("ZRB-SIGNING-KEY-1")
    assert end == ""
    again = SigningKey.parse(text.replace("\n", "\r\n"))
    assert (again.public, again.keyid) == (KEY.public, KEY.keyid)
    assert again.sign(PAYLOAD) == ENVELOPE


def test_a_signing_key_does_not_show_itself() -> None:
    private = KEY.text().splitlines()[-1]
    assert repr(KEY) == f"SigningKey({KEY.public})"
    assert private[20:40] not in f"{KEY} {KEY!r}"


PRIVATE = KEY.text().splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "There is no private key in nas.key"),
        (f"{PRIVATE}\n{PRIVATE}", "There is 2 lines that are not comments, and not one in nas.key"),
        (KEY.public, "nas.key holds the public key of a signer"),
        ("AGE-SECRET-KEY-1QQQ", "nas.key holds an age private key"),
        ("-----BEGIN PRIVATE KEY-----", "nas.key holds something that is not a signing key"),
        (PRIVATE[:-1], "The signing key in nas.key is damaged"),
        (PRIVATE + "A", "The signing key in nas.key is damaged"),
        (PRIVATE.replace("KEY-1", "KEY-1!", 1), "The signing key in nas.key is damaged"),
        (PRIVATE[:30] + ("A" if PRIVATE[30] != "A" else "B") + PRIVATE[31:], "The signing key in nas.key is damaged"),
    ],
)
def test_what_is_no_signing_key_is_named_and_not_repeated(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        SigningKey.parse(text, name="nas.key")
    assert problem in caught.value.problem
    assert caught.value.next_step
    assert PRIVATE[35:60] not in f"{caught.value}{caught.value.facts()}"


def test_a_signer_is_checked_to_the_last_character() -> None:
    assert check_signer(f" {KEY.public} ") == KEY.public
    for position in range(len("zrbsign1"), len(KEY.public)):
        other = "a" if KEY.public[position] != "a" else "b"
        with pytest.raises(KeyFileError, match="checksum"):
            check_signer(KEY.public[:position] + other + KEY.public[position + 1 :])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not the public key of a signer"),
        ("age1gde050sg4l5pa7g2vvd7ly8lmenf36xxlsx6an388uepxrh6457qk5v69w", "it encrypts and cannot sign"),
        (KEY.public[:-1], "its length or its checksum is wrong"),
        (KEY.public + "a", "its length or its checksum is wrong"),
        ("zrbsign1" + KEY.public[8:].upper(), "its length or its checksum is wrong"),
        ("zrbsign1", "its length or its checksum is wrong"),
    ],
)
def test_what_is_no_signer_is_named(text: str, problem: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        check_signer(text)
    assert problem in caught.value.problem
    assert caught.value.next_step
    with pytest.raises(KeyFileError):
        open_envelope(ENVELOPE, trusted=[KEY.public, text])


@pytest.mark.parametrize(
    "private", [PRIVATE, PRIVATE.lower(), "AGE-SECRET-KEY-1QQQQQQQQQQQQ", "-----BEGIN PRIVATE KEY-----"]
)
def test_a_private_key_in_the_place_of_a_signer_is_not_repeated(private: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        check_signer(private)
    assert "private key" in caught.value.problem
    assert private[17:] not in f"{caught.value}{caught.value.facts()}" or private.startswith("-----")


def test_a_missing_cryptography_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(LibraryMissing, match="cryptography"):
        SigningKey.generate()
