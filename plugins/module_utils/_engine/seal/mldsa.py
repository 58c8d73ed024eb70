# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ML-DSA-65 (FIPS 204), the second signature of hybrid signing keys: pure, with an empty context."""

from __future__ import annotations

from typing import Any, Final

from ..errors import LibraryMissing

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 1952
SIGNATURE_BYTES: Final = 3309
NEEDED_LIBRARY: Final = "48"
"""The first version of ``cryptography`` whose wheels have an OpenSSL with ML-DSA."""


class MlDsaKey:
    """A private key, by its seed. Raises :class:`LibraryMissing` if ``cryptography`` is too old for it."""

    def __init__(self, seed: bytes) -> None:
        self._key = _call("MLDSA65PrivateKey", "from_seed_bytes", seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """A signature, another one each time."""
        signature: bytes = self._key.sign(message)
        return signature


def proves(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` is right. Raises :class:`LibraryMissing`."""
    from cryptography.exceptions import InvalidSignature

    try:
        _call("MLDSA65PublicKey", "from_public_bytes", public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _call(kind: str, method: str, data: bytes) -> Any:
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import mldsa

        make = getattr(getattr(mldsa, kind), method)
    except (ImportError, AttributeError) as error:
        raise _too_old() from error
    try:
        return make(data)
    except UnsupportedAlgorithm as error:
        raise _too_old() from error


def _too_old() -> LibraryMissing:
    try:
        import cryptography
    except ImportError as error:
        return LibraryMissing.named("cryptography", error)
    return LibraryMissing.older(
        "cryptography", found=cryptography.__version__, needed=NEEDED_LIBRARY, purpose="hybrid signing keys"
    )
