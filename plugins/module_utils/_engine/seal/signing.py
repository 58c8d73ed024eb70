# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ed25519 signatures of what a repository says, in DSSE v1 envelopes (github.com/secure-systems-lab/dsse, protocol.md).

Written form of the keys: a prefix, then base32 without padding of the 32 key bytes and the first 4 bytes of their
SHA-256. The key id is the whole SHA-256 of the public key, in hex.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import KeyFileError, LibraryMissing, ManifestInvalid, SignatureInvalid
from ..values.strict_json import Record, check_names, parse_object

MAX_ENVELOPE_BYTES = 1536 * 1024
MAX_SIGNATURES = 16
PUBLIC_PREFIX = "zrbsign1"
PRIVATE_PREFIX = "ZRB-SIGNING-KEY-1"
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
    """An Ed25519 private key that signs manifests and retirement records."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._key = _ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        raw = self._key.public_key().public_bytes_raw()
        self.public: str = PUBLIC_PREFIX + _written(raw).lower()
        self.keyid: str = _keyid(raw)

    @classmethod
    def generate(cls) -> SigningKey:
        """A fresh key."""
        return cls(_ed25519().Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str, *, name: str = "the signing key file") -> SigningKey:
        """The one private key in the text of a key file; ``name`` is what messages call the file.

        Raises :class:`KeyFileError`, which never repeats what stands there.
        """
        lines = [line.strip() for line in text.splitlines()]
        keys = [line for line in lines if line and not line.startswith("#")]
        wanted = f"A signing key file holds one line {PRIVATE_PREFIX}…, as `zrb signing-key` writes it"
        if len(keys) != 1:
            count = "no private key" if not keys else f"{len(keys)} lines that are not comments, and not one"
            raise KeyFileError(f"There is {count} in {name}", subject=name, next_step=wanted)
        if not keys[0].startswith(PRIVATE_PREFIX):
            raise KeyFileError(f"{_wrong_signing_key(keys[0])} in {name}", subject=name, next_step=wanted)
        seed = _read_key(keys[0].removeprefix(PRIVATE_PREFIX))
        if seed is None:
            raise KeyFileError(
                f"The signing key in {name} is damaged: its length or its checksum is wrong",
                subject=name,
                next_step="Copy the key again from where it is kept, or make a new one and add it to trusted_signers",
            )
        return cls(seed)

    def text(self, *, created: str | None = None) -> str:
        """What a private key file holds; ``created`` is a time for its comment."""
        comment = f"# created: {created}\n" if created else ""
        return f"{comment}# public key: {self.public}\n{PRIVATE_PREFIX}{_written(self._seed)}\n"

    def sign(self, payload: bytes, kind: PayloadKind = MANIFEST) -> bytes:
        """A DSSE envelope, as JSON, around ``payload``."""
        signature = self._key.sign(pre_authentication_encoding(payload, kind.media_type))
        envelope = {
            "payloadType": kind.media_type,
            "payload": base64.b64encode(payload).decode("ascii"),
            "signatures": [{"keyid": self.keyid, "sig": base64.b64encode(signature).decode("ascii")}],
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
    _public_bytes(text)
    return text.strip()


def open_envelope(
    envelope: bytes, kind: PayloadKind = MANIFEST, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> Opened:
    """The payload of a DSSE envelope of this ``kind``, once the key of one of the ``trusted`` signers has proven it.

    With ``allow_unsigned`` a payload that no trusted key proves is given back too, without a signer. Raises
    :class:`SignatureInvalid`, or :class:`ManifestInvalid` if the envelope is not one.
    """
    signers = {_keyid(raw): (raw, text.strip()) for text in trusted for raw in [_public_bytes(text)]}
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
    for keyid, signature in signatures:
        raw, signer = signers.get(keyid, (b"", ""))
        if raw and _proves(raw, signature, message):
            return Opened(payload, signer)
    if allow_unsigned:
        return Opened(payload, None)
    raise _refused(kind, [keyid for keyid, _signature in signatures], signers)


def no_trusted_signer() -> SignatureInvalid:
    """The refusal to trust anything while no trusted key is known."""
    return SignatureInvalid(
        "No trusted signer is known, so nothing proves who wrote the manifests",
        next_step="Give the public key of the machine that made the backups (zrbsign1…) in trusted_signers or with "
        "--trusted-signer; --allow-unsigned takes any manifest, also one that an intruder wrote",
    )


def _refused(kind: PayloadKind, keyids: Sequence[str], signers: dict[str, tuple[bytes, str]]) -> SignatureInvalid:
    if any(keyid in signers for keyid in keyids):
        return SignatureInvalid(
            f"The signature of a trusted signer does not fit the {kind.noun}: it was changed after it was signed",
            next_step="Do not use it. Find out who can write to the repository, and use another backup or another copy",
        )
    return SignatureInvalid(
        f"The {kind.noun} is signed by the key {', '.join(keyid[:16] + '…' for keyid in keyids)}, and none of the "
        f"{len(signers)} trusted signers has that key",
        next_step="If the machine that made the backup is yours, add its public key (zrbsign1…) to trusted_signers; "
        "else somebody without the right to do so wrote it",
    )


def _parse_envelope(envelope: bytes, kind: PayloadKind) -> tuple[bytes, list[tuple[str, bytes]]]:
    record = parse_object(envelope, limit=MAX_ENVELOPE_BYTES)
    check_names(record, ("payloadType", "payload", "signatures"))
    if record["payloadType"] != kind.media_type:
        raise ValueError(f"has the payload type {str(record['payloadType'])[:80]!r}, and not {kind.media_type}")
    signatures = record["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise ValueError(f"does not have 1 to {MAX_SIGNATURES} signatures")
    return _base64(record["payload"], "payload"), [_parse_signature(one) for one in signatures]


def _parse_signature(record: object) -> tuple[str, bytes]:
    if not isinstance(record, dict):
        raise ValueError("has a signature that is not an object")
    fields: Record = record
    check_names(fields, ("keyid", "sig"))
    if not isinstance(fields["keyid"], str) or not _KEYID.fullmatch(fields["keyid"]):
        raise ValueError("has a signature whose keyid is not 64 lowercase hex digits")
    signature = _base64(fields["sig"], "sig")
    if len(signature) != 64:
        raise ValueError(f"has a signature of {len(signature)} bytes, and Ed25519 makes 64")
    return fields["keyid"], signature


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


def _proves(raw: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        _ed25519().Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _public_bytes(text: str) -> bytes:
    key = text.strip()
    wanted = f"Give the public key of a signer: {PUBLIC_PREFIX}…, as `zrb signing-key` prints it"
    if key.upper().startswith(("ZRB-SIGNING-KEY-", "AGE-SECRET-KEY-", "-----BEGIN")):
        raise KeyFileError(
            "A private key stands where the public key of a signer belongs",
            next_step=f"{wanted}; treat the private key as disclosed if others could read this text",
        )
    if not key.startswith(PUBLIC_PREFIX):
        raise KeyFileError(_wrong_signer(key), subject=key[:80], next_step=wanted)
    digits = key.removeprefix(PUBLIC_PREFIX)
    raw = _read_key(digits.upper()) if digits == digits.lower() else None
    if raw is None:
        raise KeyFileError(
            f"{key[:80]!r} is not the public key of a signer: its length or its checksum is wrong",
            subject=key[:80],
            next_step="Copy the key again; it stands in a comment of the signing key file",
        )
    return raw


def _wrong_signer(key: str) -> str:
    if key.startswith("age1"):
        return f"{key[:80]!r} is an age public key; it encrypts and cannot sign"
    return f"{key[:80]!r} is not the public key of a signer"


def _wrong_signing_key(key: str) -> str:
    if key.startswith(PUBLIC_PREFIX):
        return "The public key of a signer stands where the private key belongs"
    if key.upper().startswith("AGE-SECRET-KEY-"):
        return "An age private key, which cannot sign, stands"
    return "Something that is not a signing key stands"


def _keyid(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _written(raw: bytes) -> str:
    return base64.b32encode(raw + hashlib.sha256(raw).digest()[:4]).decode("ascii").rstrip("=")


def _read_key(digits: str) -> bytes | None:
    """The 32 bytes that uppercase base32 ``digits`` stand for, if their checksum is right."""
    try:
        raw = base64.b32decode(digits + "=" * (-len(digits) % 8))[:32]
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == 32 and _written(raw) == digits else None


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise LibraryMissing.named("cryptography", error) from error
    return ed25519
