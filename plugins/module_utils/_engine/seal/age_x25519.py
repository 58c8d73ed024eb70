# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipient type X25519 of age ("classic" here). Every age opens such parts; a quantum computer could, too.

Quotations are from the age specification (https://c2sp.org/age).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import LibraryMissing
from .age_header import FILE_KEY_BYTES, Stanza, damaged, decode_base64, derive_key, encode_base64

KIND: Final = "X25519"
KEY_BYTES: Final = 32
_INFO = b"age-encryption.org/v1/X25519"
_ZERO_NONCE = bytes(12)
"""``the ChaCha20-Poly1305 nonce is fixed as 12 0x00 bytes``: every wrap key is used once."""


@dataclass(frozen=True, slots=True)
class X25519Recipient:
    """A public key, as its 32 bytes. Raises :class:`ValueError` for a point that makes every secret zero."""

    raw: bytes

    def __post_init__(self) -> None:
        x25519 = _x25519()
        # A point of low order makes a shared secret of zeros with every key, and the library then raises ValueError.
        x25519.X25519PrivateKey.from_private_bytes(bytes(KEY_BYTES)).exchange(_public(self.raw))

    def wrap(self, file_key: bytes) -> Stanza:
        """The stanza that gives ``file_key`` to the owner of the private key.

        ``A new ephemeral secret MUST be generated for each stanza and each file.``
        """
        secret = _x25519().X25519PrivateKey.generate()  # ephemeral secret = read(CSPRNG, 32)
        share: bytes = secret.public_key().public_bytes_raw()  # ephemeral share = X25519(ephemeral secret, basepoint)
        wrap_key = _wrap_key(secret.exchange(_public(self.raw)), share, self.raw)
        # body = ChaCha20-Poly1305(key = wrap key, plaintext = file key)
        return Stanza((KIND, encode_base64(share)), _aead(wrap_key).encrypt(_ZERO_NONCE, file_key, None))


@dataclass(frozen=True, slots=True)
class X25519Identity:
    """A private key, as its 32 bytes."""

    raw: bytes = field(repr=False)

    @property
    def recipient(self) -> bytes:
        """The 32 bytes of the public key: ``recipient = X25519(identity, basepoint)``"""
        public: bytes = _private(self.raw).public_key().public_bytes_raw()
        return public

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, if ``stanza`` is for this key. Raises :class:`PartDamaged` for a malformed stanza.

        ``The identity implementation MUST ignore any stanza that does not have X25519 as the first argument``
        """
        from cryptography.exceptions import InvalidTag

        if stanza.kind != KIND:
            return None
        share = check_stanza(stanza)
        try:
            shared = _private(self.raw).exchange(_public(share))
        except ValueError:
            # "If the shared secret is all 0x00 bytes, the identity implementation MUST abort."
            raise damaged("an X25519 stanza of its header makes a secret of zeros") from None
        try:
            wrap_key = _wrap_key(shared, share, self.recipient)
            file_key: bytes = _aead(wrap_key).decrypt(_ZERO_NONCE, stanza.body, None)
        except InvalidTag:
            return None
        return file_key


def check_stanza(stanza: Stanza) -> bytes:
    """The ephemeral share of an X25519 stanza. Raises :class:`PartDamaged`.

    ``MUST otherwise reject any stanza that has more or less than two arguments, or where the second argument is not a
    canonical base64 encoding of a 32-byte value. It MUST check that the body length is exactly 32 bytes before
    attempting to decrypt it``
    """
    share = decode_base64(stanza.arguments[1]) if len(stanza.arguments) == 2 else None
    if share is None or len(share) != KEY_BYTES or len(stanza.body) != FILE_KEY_BYTES + 16:
        raise damaged("an X25519 stanza of its header is malformed")
    return share


def new_private_key() -> bytes:
    """``identity = read(CSPRNG, 32)``"""
    raw: bytes = _x25519().X25519PrivateKey.generate().private_bytes_raw()
    return raw


def _wrap_key(shared_secret: bytes, share: bytes, recipient: bytes) -> bytes:
    # salt = ephemeral share || recipient;  wrap key = HKDF-SHA-256(ikm = shared secret, salt, info)
    return derive_key(shared_secret, salt=share + recipient, info=_INFO)


def _public(raw: bytes) -> Any:
    return _x25519().X25519PublicKey.from_public_bytes(raw)


def _private(raw: bytes) -> Any:
    return _x25519().X25519PrivateKey.from_private_bytes(raw)


def _x25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import x25519
    except ImportError as error:
        raise LibraryMissing.named("cryptography", error) from error
    return x25519


def _aead(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

    return ChaCha20Poly1305(key)
