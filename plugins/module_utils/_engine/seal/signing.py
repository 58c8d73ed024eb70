# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Signatures of what a repository says, in DSSE v1 envelopes (github.com/secure-systems-lab/dsse, protocol.md).

A classic key signs with Ed25519. A hybrid one signs with ML-DSA-65 besides, and who trusts it wants both signatures.
Written form of the keys: a prefix, then base32 without padding of the key bytes and the first 4 bytes of their SHA-256.
A key id is the whole SHA-256 of a raw public key, in hex. The public key of a hybrid signer is the Ed25519 key and the
SHA-256 of the ML-DSA key. That key is long: the envelope brings it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import KeyFileError, LibraryMissing, ManifestInvalid, SignatureInvalid
from ..values.recipients import KeyKind
from ..values.strict_json import Record, check_names, parse_object
from . import mldsa

MAX_ENVELOPE_BYTES = 1536 * 1024
MAX_SIGNATURES = 16
PUBLIC_PREFIX = "zrbsign1"
HYBRID_PUBLIC_PREFIX = "zrbsign1pq1"
PRIVATE_PREFIX = "ZRB-SIGNING-KEY-1"
HYBRID_PRIVATE_PREFIX = "ZRB-SIGNING-KEY-PQ-1"
_CLASSIC_BYTES = 32
_HYBRID_BYTES = 64
_KEYID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PayloadKind:
    """What an envelope holds: its payload type, which is signed too, and what messages call it."""

    media_type: str
    noun: str


MANIFEST = PayloadKind("application/vnd.zrb.manifest.v1+json", "manifest")
RETIREMENT = PayloadKind("application/vnd.zrb.retirement.v1+json", "retirement record")


@dataclass(frozen=True, slots=True)
class Opened:
    """The payload of an envelope, and the public key that vouches for it: ``None`` for nobody."""

    payload: bytes
    signer: str | None


class SigningKey:
    """A private key that signs manifests and retirement records: the seed of an Ed25519 key, and that of an ML-DSA-65
    key after it if it is a hybrid one."""

    def __init__(self, seeds: bytes) -> None:
        self._seeds = seeds
        self._ed25519 = _ed25519().Ed25519PrivateKey.from_private_bytes(seeds[:_CLASSIC_BYTES])
        self._mldsa = mldsa.MlDsaKey(seeds[_CLASSIC_BYTES:]) if len(seeds) == _HYBRID_BYTES else None
        raw = self._ed25519.public_key().public_bytes_raw()
        self.keyid: str = _keyid(raw)
        self.public: str = PUBLIC_PREFIX + _written(raw).lower()
        if self._mldsa:
            raw += hashlib.sha256(self._mldsa.public).digest()
            self.public = HYBRID_PUBLIC_PREFIX + _written(raw).lower()

    @classmethod
    def generate(cls, kind: KeyKind = "classic") -> SigningKey:
        """A fresh key."""
        return cls(os.urandom(_HYBRID_BYTES if kind == "hybrid" else _CLASSIC_BYTES))

    @classmethod
    def parse(cls, text: str, *, name: str = "the signing key file") -> SigningKey:
        """The one private key in the text of a key file; ``name`` is what messages call the file.

        Raises :class:`KeyFileError`, which never repeats the text.
        """
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        wanted = (
            f"A signing key file holds one line {PRIVATE_PREFIX}… or {HYBRID_PRIVATE_PREFIX}…, as `zrb "
            "signing-key` writes it"
        )
        if len(keys) != 1:
            count = "no private key" if not keys else f"{len(keys)} lines that are not comments, and not one"
            raise KeyFileError(f"There is {count} in {name}", subject=name, next_step=wanted)
        if keys[0].startswith(HYBRID_PRIVATE_PREFIX):
            seeds = _read_key(keys[0].removeprefix(HYBRID_PRIVATE_PREFIX), _HYBRID_BYTES)
        elif keys[0].startswith(PRIVATE_PREFIX):
            seeds = _read_key(keys[0].removeprefix(PRIVATE_PREFIX), _CLASSIC_BYTES)
        else:
            raise KeyFileError(f"{name} holds {_what_it_is(keys[0])}", subject=name, next_step=wanted)
        if seeds is None:
            raise KeyFileError(
                f"The signing key in {name} is damaged: its length or its checksum is wrong",
                subject=name,
                next_step="Copy the key again from where it is kept, or make a new one and add it to trusted_signers",
            )
        return cls(seeds)

    def text(self, *, created: str | None = None) -> str:
        """What a private key file holds; ``created`` is a time for its comment."""
        comment = f"# created: {created}\n" if created else ""
        prefix = HYBRID_PRIVATE_PREFIX if self._mldsa else PRIVATE_PREFIX
        return f"{comment}# public key: {self.public}\n{prefix}{_written(self._seeds)}\n"

    def sign(self, payload: bytes, kind: PayloadKind = MANIFEST) -> bytes:
        """A DSSE envelope, as JSON, around ``payload``. That of a hybrid key is another one each time."""
        message = pre_authentication_encoding(payload, kind.media_type)
        signatures = [{"keyid": self.keyid, "sig": _encoded(self._ed25519.sign(message))}]
        if self._mldsa:
            public, signature = self._mldsa.public, self._mldsa.sign(message)
            signatures.append({"keyid": _keyid(public), "sig": _encoded(signature), "public": _encoded(public)})
        envelope = {
            "payloadType": kind.media_type,
            "payload": _encoded(payload),
            "signatures": signatures,
        }
        return json.dumps(envelope, separators=(",", ":")).encode("ascii")

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"


def pre_authentication_encoding(payload: bytes, media_type: str) -> bytes:
    """The bytes that are signed: ``DSSEv1 SP len(type) SP type SP len(body) SP body``."""
    return b"DSSEv1 %d %b %d %b" % (len(media_type), media_type.encode("ascii"), len(payload), payload)


def check_signer(text: str) -> str:
    """``text`` without surrounding blanks, if it is a public key of a signer.

    Raises :class:`KeyFileError`; a private key is named as one and never repeated.
    """
    _parse_signer(text)
    return text.strip()


def open_envelope(
    envelope: bytes, kind: PayloadKind = MANIFEST, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> Opened:
    """The payload of a DSSE envelope of this ``kind``, if the key of a ``trusted`` signer proves it. A hybrid key
    does so with both its signatures, even if its Ed25519 half is trusted by itself as well.

    With ``allow_unsigned`` a payload that no trusted key proves is returned too, without a signer. Raises
    :class:`SignatureInvalid`, or :class:`ManifestInvalid` if the envelope is not one.
    """
    signers: dict[str, _Signer] = {}
    for signer in map(_parse_signer, trusted):
        if signer.mldsa_keyid or signer.keyid not in signers:
            signers[signer.keyid] = signer
    if not signers and not allow_unsigned:
        raise no_trusted_signer()
    try:
        payload, signatures = _parse_envelope(envelope, kind)
    except ValueError as error:
        raise ManifestInvalid(
            f"The envelope of a {kind.noun} is not valid: it {error}",
            next_step="It was damaged or not written by zrb: restore that object from a copy, or use another backup",
        ) from None
    message = pre_authentication_encoding(payload, kind.media_type)
    for one in signatures:
        signer_of_it = signers.get(one.keyid)
        if signer_of_it and _is_proven(signer_of_it, one, signatures, message):
            return Opened(payload, signer_of_it.text)
    if allow_unsigned:
        return Opened(payload, None)
    raise _refused(kind, [one.keyid for one in signatures], signers)


@dataclass(frozen=True, slots=True)
class _Signer:
    """A public key as it is written, its Ed25519 key, and the key id of its ML-DSA key, or nothing."""

    text: str
    ed25519: bytes
    mldsa_keyid: str

    @property
    def keyid(self) -> str:
        return _keyid(self.ed25519)


@dataclass(frozen=True, slots=True)
class _Signature:
    """One signature of an envelope; ``mldsa_public`` is the key of one with ML-DSA, whose id was checked, and empty for
    one with Ed25519."""

    keyid: str
    signature: bytes
    mldsa_public: bytes


def _is_proven(signer: _Signer, first: _Signature, signatures: Sequence[_Signature], message: bytes) -> bool:
    """Whether ``first``, and the second signature if ``signer`` makes two, are right."""
    if first.mldsa_public or not _ed25519_proves(signer.ed25519, first.signature, message):
        return False
    return not signer.mldsa_keyid or any(
        one.mldsa_public and one.keyid == signer.mldsa_keyid and mldsa.proves(one.mldsa_public, one.signature, message)
        for one in signatures
    )


def no_trusted_signer() -> SignatureInvalid:
    """The refusal to trust anything while no trusted key is known."""
    return SignatureInvalid(
        "No trusted signer is known, so nothing proves who wrote the manifests",
        next_step="Give the public key of the machine that made the backups (zrbsign1…) in trusted_signers or with "
        "--trusted-signer; --allow-unsigned takes any manifest, also one that an intruder wrote",
    )


def _refused(kind: PayloadKind, keyids: Sequence[str], signers: Mapping[str, _Signer]) -> SignatureInvalid:
    known = [signers[keyid] for keyid in keyids if keyid in signers]
    if any(signer.mldsa_keyid and signer.mldsa_keyid not in keyids for signer in known):
        return SignatureInvalid(
            f"The {kind.noun} lacks the ML-DSA signature that the key of its trusted signer makes: it was removed",
            next_step="Do not use it. Find out who can write to the repository, and use another backup or another copy",
        )
    if known:
        return SignatureInvalid(
            f"The signature of a trusted signer does not fit the {kind.noun}: it was changed after it was signed",
            next_step="Do not use it. Find out who can write to the repository, and use another backup or another copy",
        )
    return SignatureInvalid(
        f"The {kind.noun} is signed by the key {', '.join(keyid[:16] + '…' for keyid in keyids)}, and none of the "
        f"{len(signers)} trusted signers has that key",
        next_step="If the machine that made the backup is yours, add its public key (zrbsign1…) to trusted_signers; "
        "otherwise somebody wrote it who had no right to",
    )


def _parse_envelope(envelope: bytes, kind: PayloadKind) -> tuple[bytes, list[_Signature]]:
    record = parse_object(envelope, limit=MAX_ENVELOPE_BYTES)
    check_names(record, ("payloadType", "payload", "signatures"))
    if record["payloadType"] != kind.media_type:
        raise ValueError(f"has the payload type {str(record['payloadType'])[:80]!r}, and not {kind.media_type}")
    signatures = record["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise ValueError(f"does not have 1 to {MAX_SIGNATURES} signatures")
    return _base64(record["payload"], "payload"), [_parse_signature(one) for one in signatures]


def _parse_signature(record: object) -> _Signature:
    if not isinstance(record, dict):
        raise ValueError("has a signature that is not an object")
    fields: Record = record
    check_names(fields, ("keyid", "sig", "public") if "public" in fields else ("keyid", "sig"))
    keyid = fields["keyid"]
    if not isinstance(keyid, str) or not _KEYID.fullmatch(keyid):
        raise ValueError("has a signature whose keyid is not 64 lowercase hex digits")
    signature = _base64(fields["sig"], "sig")
    public = _base64(fields["public"], "public") if "public" in fields else b""
    name, wanted = ("ML-DSA-65", mldsa.SIGNATURE_BYTES) if "public" in fields else ("Ed25519", 64)
    if len(signature) != wanted:
        raise ValueError(f"has a signature of {len(signature)} bytes, and {name} makes {wanted}")
    if "public" in fields and (len(public) != mldsa.PUBLIC_BYTES or _keyid(public) != keyid):
        raise ValueError("has a public key whose keyid is another, or whose length is not that of ML-DSA-65")
    return _Signature(keyid, signature, public)


def _base64(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"has a {name} that is not text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    # Padding bits that decode to the same bytes would let one manifest have two forms.
    if data is None or base64.b64encode(data).decode("ascii") != text:
        raise ValueError(f"has a {name} that is not standard base64")
    return data


def _ed25519_proves(raw: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _ed25519().Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _parse_signer(text: str) -> _Signer:
    key = text.strip()
    wanted = f"Give the public key of a signer: {PUBLIC_PREFIX}…, as `zrb signing-key` prints it"
    if key.upper().startswith(("ZRB-SIGNING-KEY-", "AGE-SECRET-KEY-", "-----BEGIN")):
        raise KeyFileError(
            "This is a private key, and the public key of a signer is wanted",
            next_step=f"{wanted}; treat the private key as disclosed if others could read this text",
        )
    if not key.startswith(PUBLIC_PREFIX):
        raise KeyFileError(_wrong_signer(key), subject=key[:80], next_step=wanted)
    is_hybrid = key.startswith(HYBRID_PUBLIC_PREFIX)
    prefix, length = (HYBRID_PUBLIC_PREFIX, _HYBRID_BYTES) if is_hybrid else (PUBLIC_PREFIX, _CLASSIC_BYTES)
    digits = key.removeprefix(prefix)
    raw = _read_key(digits.upper(), length) if digits == digits.lower() else None
    if raw is None:
        raise KeyFileError(
            f"{key[:80]!r} is not the public key of a signer: its length or its checksum is wrong",
            subject=key[:80],
            next_step="Copy the key again: it is in a comment of the signing key file",
        )
    return _Signer(key, raw[:_CLASSIC_BYTES], raw[_CLASSIC_BYTES:].hex())


def _wrong_signer(key: str) -> str:
    if key.startswith("age1"):
        return f"{key[:80]!r} is an age public key; it encrypts and cannot sign"
    return f"{key[:80]!r} is not the public key of a signer"


def _what_it_is(key: str) -> str:
    if key.startswith(PUBLIC_PREFIX):
        return "the public key of a signer, and not the private key"
    if key.upper().startswith("AGE-SECRET-KEY-"):
        return "an age private key, which cannot sign"
    return "something that is not a signing key"


def _keyid(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _written(raw: bytes) -> str:
    return base64.b32encode(raw + hashlib.sha256(raw).digest()[:4]).decode("ascii").rstrip("=")


def _read_key(digits: str, length: int) -> bytes | None:
    """The ``length`` bytes that uppercase base32 ``digits`` stand for, if their checksum is right."""
    try:
        raw = base64.b32decode(digits + "=" * (-len(digits) % 8))[:length]
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length and _written(raw) == digits else None


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise LibraryMissing.named("cryptography", error) from error
    return ed25519
