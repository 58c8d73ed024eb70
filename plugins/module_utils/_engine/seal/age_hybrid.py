# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipient type MLKEM768-X25519 of age ("hybrid" here). It combines ML-KEM-768 and X25519: an attacker has to
break both. age opens it from version 1.3 on.

Quotations are from the age specification (https://c2sp.org/age).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import LibraryMissing
from .age_header import FILE_KEY_BYTES, Stanza, damaged, decode_base64, encode_base64
from .age_x25519 import X25519Recipient

KIND: Final = "mlkem768x25519"
IDENTITY_BYTES: Final = 32
RECIPIENT_BYTES: Final = 1216
"""An ML-KEM-768 encapsulation key of 1,184 bytes and an X25519 public key of 32."""
NEEDED_LIBRARY: Final = "48"
"""The first version of ``cryptography`` with HPKE for MLKEM768-X25519, in wheels whose OpenSSL has ML-KEM."""

_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_ENC_BYTES = 1120
_INFO = b"age-encryption.org/mlkem768x25519"


@dataclass(frozen=True, slots=True)
class HybridRecipient:
    """A public key, as its 1,216 bytes. Raises :class:`ValueError` if they are not a valid key."""

    raw: bytes

    def __post_init__(self) -> None:
        _public(self.raw)
        X25519Recipient(self.raw[_MLKEM_PUBLIC_BYTES:])  # refuses points of low order

    def wrap(self, file_key: bytes) -> Stanza:
        """The stanza that gives ``file_key`` to the owner of the private key:
        ``the file key is encrypted with the HPKE SealBase function``"""
        sealed: bytes = _suite().encrypt(file_key, _public(self.raw), info=_INFO)
        # "two arguments: the first is the fixed string mlkem768x25519, and the second is the base64-encoded
        # encapsulated key enc from SealBase. The body of the recipient stanza is the HPKE ciphertext from SealBase."
        return Stanza((KIND, encode_base64(sealed[:_ENC_BYTES])), sealed[_ENC_BYTES:])


@dataclass(frozen=True, slots=True)
class HybridIdentity:
    """A private key, as its 32 bytes."""

    raw: bytes = field(repr=False)

    @property
    def recipient(self) -> bytes:
        """The 1,216 bytes of the public key: ``recipient = PrivateKeyToPublicKey(identity)``"""
        mlkem, x25519 = _halves(self.raw)
        public: bytes = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        return public

    def unwrap(self, stanza: Stanza) -> bytes | None:
        """The file key, if ``stanza`` is for this key. Raises :class:`PartDamaged` for a malformed stanza.

        ``The identity implementation MUST ignore any stanza that does not have mlkem768x25519 as the first argument``
        """
        from cryptography.exceptions import InvalidTag

        if stanza.kind != KIND:
            return None
        enc = check_stanza(stanza)
        mlkem, x25519 = _halves(self.raw)
        _refuse_zero_secret(x25519, enc)
        private = _hpke().MLKEM768X25519PrivateKey(mlkem, x25519)
        try:
            # "The file key can be decrypted with OpenBase from HPKE with the same parameters as above"
            file_key: bytes = _suite().decrypt(enc + stanza.body, private, info=_INFO)
        except InvalidTag:
            return None
        return file_key


def check_stanza(stanza: Stanza) -> bytes:
    """The encapsulated key of a mlkem768x25519 stanza. Raises :class:`PartDamaged`.

    ``MUST otherwise reject any stanza that has more or less than two arguments, or where the second argument is not a
    canonical base64 encoding of a 1120-byte value. It MUST check that the body length is exactly 32 bytes before
    attempting to decrypt it``
    """
    enc = decode_base64(stanza.arguments[1]) if len(stanza.arguments) == 2 else None
    if enc is None or len(enc) != _ENC_BYTES or len(stanza.body) != FILE_KEY_BYTES + 16:
        raise damaged("a mlkem768x25519 stanza of its header is malformed")
    return enc


def new_private_key() -> bytes:
    """``identity = read(CSPRNG, 32)``"""
    return os.urandom(IDENTITY_BYTES)


def _halves(seed: bytes) -> tuple[Any, Any]:
    """The ML-KEM and the X25519 private key. The KEM (draft-ietf-hpke-pq-03) expands the seed with SHAKE256 to 96
    bytes: the seed of ML-KEM-768, then the key of X25519."""
    _hpke_library, mlkem, x25519 = _libraries()
    expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + 32)
    return (
        mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES]),
        x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:]),
    )


def _refuse_zero_secret(x25519: Any, enc: bytes) -> None:
    """``If the shared secret is all 0x00 bytes, the identity implementation MUST abort.`` The KEM demands the same of
    its X25519 half, but the library only reports a key that does not fit."""
    try:
        x25519.exchange(_libraries()[2].X25519PublicKey.from_public_bytes(enc[-32:]))
    except ValueError:
        raise damaged("a mlkem768x25519 stanza of its header makes a secret of zeros") from None


def _public(raw: bytes) -> Any:
    hpke, mlkem, x25519 = _libraries()
    return hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_PUBLIC_BYTES]),
        x25519.X25519PublicKey.from_public_bytes(raw[_MLKEM_PUBLIC_BYTES:]),
    )


def _suite() -> Any:
    # "KEM: MLKEM768-X25519; KDF: HKDF-SHA256; AEAD: ChaCha20Poly1305"
    hpke = _hpke()
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def _hpke() -> Any:
    return _libraries()[0]


def _libraries() -> tuple[Any, Any, Any]:
    """HPKE, ML-KEM and X25519 of the library. Raises :class:`LibraryMissing` if it or its OpenSSL lacks one."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hpke
        from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

        hpke.MLKEM768X25519PublicKey  # noqa: B018 - the first versions of this file have no hybrid key
        mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(_MLKEM_SEED_BYTES))
    except (ImportError, AttributeError) as error:
        raise _too_old() from error
    except UnsupportedAlgorithm as error:
        raise _too_old() from error
    return hpke, mlkem, x25519


def _too_old() -> LibraryMissing:
    try:
        import cryptography
    except ImportError as error:
        return LibraryMissing.named("cryptography", error)
    return LibraryMissing.older(
        "cryptography", found=cryptography.__version__, needed=NEEDED_LIBRARY, purpose="hybrid age keys"
    )
