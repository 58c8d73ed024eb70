# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""age keys as people write them: texts in, keys out, and what is wrong with a text that is none.

Two kinds: ``classic`` (X25519; ``age1…``, ``AGE-SECRET-KEY-1…``) and ``hybrid`` (MLKEM768-X25519; ``age1pq1…``,
``AGE-SECRET-KEY-PQ-1…``). Keys of age's plugins, of SSH and passphrases are refused: nothing here runs a program or
asks somebody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..errors import BadRecipient, KeyFileError
from ..values.recipients import KeyKind, kind_of, shown
from . import age_hybrid, age_x25519, bech32
from .age_hybrid import HybridIdentity, HybridRecipient
from .age_x25519 import X25519Identity, X25519Recipient

Recipient: TypeAlias = "X25519Recipient | HybridRecipient"
Identity: TypeAlias = "X25519Identity | HybridIdentity"


@dataclass(frozen=True, slots=True)
class _Written:
    """How keys of one kind are written: the prefix ("HRP") of each half, and how many bytes follow it."""

    kind: KeyKind
    recipient: str
    recipient_bytes: int
    identity: str
    identity_bytes: int


_CLASSIC = _Written("classic", "age", age_x25519.KEY_BYTES, "age-secret-key-", age_x25519.KEY_BYTES)
_HYBRID = _Written("hybrid", "age1pq", age_hybrid.RECIPIENT_BYTES, "age-secret-key-pq-", age_hybrid.IDENTITY_BYTES)
_MAX_TEXT = 4096
MAX_RECIPIENTS: Final = 32
"""So many hybrid stanzas fit the longest header that is read, with room to spare."""


def check_recipient(text: str) -> str:
    """``text`` without surrounding blanks, if it is a native age public key of either kind.

    Raises :class:`BadRecipient`; a private key is named as one and never repeated. Raises :class:`LibraryMissing`
    if the installed ``cryptography`` is too old for a hybrid one.
    """
    key = text.strip()
    parse_recipient(key)
    return key


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise :class:`BadRecipient` if these public keys cannot be those of one part: too many, or of both kinds.

    The specification: "the same file SHOULD NOT be encrypted to both this recipient type and to other
    non-quantum-resistant recipient types". The classic key would undo what the hybrid one is for.
    """
    if len(recipients) > MAX_RECIPIENTS:
        raise BadRecipient(
            f"There are {len(recipients)} recipients, and a part has {MAX_RECIPIENTS} at most",
            next_step="Give fewer; people can share a private key that is kept in one place",
        )
    if len({kind_of(text.strip()) for text in recipients}) > 1:
        raise BadRecipient(
            "Hybrid (age1pq1…) and classic (age1…) age public keys are mixed, and a part has recipients of one kind",
            next_step="Give keys of one kind: for the sake of the classic one, a quantum computer could read what the "
            "hybrid one is to keep from it",
        )


def parse_recipient(text: str) -> Recipient:
    """The public key that ``text`` is. Raises as :func:`check_recipient` does."""
    key = text.strip()
    if re.match(r"age-(secret-key|plugin)-", key, re.IGNORECASE):
        raise BadRecipient(
            "An age private key stands where a public key belongs",
            next_step="Put its public half there (age1…, printed by `age-keygen -y FILE`), and treat the private key "
            "as disclosed if others could read this text",
        )
    if not re.fullmatch(r"age1(pq1)?[02-9ac-hj-np-z]+", key) or len(key) > _MAX_TEXT:
        raise BadRecipient(_wrong_recipient(key), subject=shown(key), next_step=_RECIPIENT_WANTED)
    written = _HYBRID if kind_of(key) == "hybrid" else _CLASSIC
    decoded = bech32.decode(key)
    if decoded is None:
        raise BadRecipient(
            f"{shown(key)!r} is not an age public key: its checksum is wrong, so a character was lost or changed",
            subject=shown(key),
            next_step="Copy the key again; `age-keygen -y FILE` prints it",
        )
    prefix, raw = decoded
    if prefix != written.recipient or len(raw) != written.recipient_bytes:
        raise BadRecipient(_wrong_recipient(key), subject=shown(key), next_step=_RECIPIENT_WANTED)
    try:
        return HybridRecipient(raw) if written is _HYBRID else X25519Recipient(raw)
    except ValueError:
        raise BadRecipient(
            f"{shown(key)!r} is an age public key that nobody can have made: anybody could open what is made for it",
            subject=shown(key),
            next_step="Do not use it; `zrb genkey` makes a pair",
        ) from None


_RECIPIENT_WANTED = "Give a native age public key (age1pq1… or age1…), as `zrb genkey` prints it"


def _wrong_recipient(key: str) -> str:
    if key.startswith(("ssh-", "ecdsa-")):
        return f"{key[:40]!r} is an SSH key, and parts are encrypted for native age keys only"
    if key.startswith("zrbsign1"):
        return f"{key!r} is a public key for signatures; it cannot encrypt"
    if re.match(r"age1[a-z0-9-]+1", key) and not key.startswith("age1pq1"):
        return f"{key[:40]!r} is the key of an age plugin, and plugins are never run"
    return f"{shown(key)!r} is not an age public key"


def new_identity(kind: KeyKind = "classic") -> tuple[str, str]:
    """A fresh private key and its public key."""
    if kind == "hybrid":
        return _pair(HybridIdentity(age_hybrid.new_private_key()))
    return _pair(X25519Identity(age_x25519.new_private_key()))


def public_of(private: str) -> str:
    """The public key of a private one. Raises :class:`KeyFileError`."""
    return _pair(parse_identity(private))[1]


def parse_identities(text: str, *, name: str = "the age key file") -> list[str]:
    """The private keys of an age key file: one a line, with blank lines and ``#`` comments.

    ``name`` is what messages call the file. Raises :class:`KeyFileError`.
    """
    lines = [line.strip() for line in text.splitlines()]
    identities = [line for line in lines if line and not line.startswith("#")]
    for line in identities:
        parse_identity(line, name=name)
    if not identities:
        raise KeyFileError(
            f"There is no age private key in {name}",
            next_step="It has to hold a line AGE-SECRET-KEY-PQ-1… or AGE-SECRET-KEY-1…",
            subject=name,
        )
    return identities


def parse_identity(text: str, *, name: str = "the text") -> Identity:
    """The private key that ``text`` is; ``name`` is where it stands. Raises :class:`KeyFileError`."""
    key = text.strip()
    wanted = (
        "An age key file holds a line AGE-SECRET-KEY-PQ-1… or AGE-SECRET-KEY-1…, as `zrb genkey` or `age-keygen` "
        "write it"
    )
    written = _HYBRID if key.startswith("AGE-SECRET-KEY-PQ-1") else _CLASSIC
    if not re.fullmatch(r"AGE-SECRET-KEY-(PQ-)?1[02-9AC-HJ-NP-Z]{58}", key):
        raise KeyFileError(f"{_wrong_identity(key)} in {name}", subject=name, next_step=wanted)
    decoded = bech32.decode(key)
    if decoded is None or decoded[0] != written.identity or len(decoded[1]) != written.identity_bytes:
        raise KeyFileError(
            f"The age private key in {name} has a wrong checksum: a character was lost or changed",
            subject=name,
            next_step="Copy the key again from where it is kept",
        )
    return HybridIdentity(decoded[1]) if written is _HYBRID else X25519Identity(decoded[1])


def _pair(identity: Identity) -> tuple[str, str]:
    written = _HYBRID if isinstance(identity, HybridIdentity) else _CLASSIC
    private = bech32.encode(written.identity, identity.raw).upper()
    return private, bech32.encode(written.recipient, identity.recipient)


def _wrong_identity(key: str) -> str:
    if key.startswith("age1"):
        return "An age public key stands where a private key belongs"
    if key.upper().startswith("ZRB-SIGNING-KEY-"):
        return "A private key for signatures, which cannot decrypt, stands"
    if key.startswith(("age-encryption.org/", "-----BEGIN AGE ENCRYPTED")):
        return "A key that is itself encrypted with a passphrase (decrypt it first with `age -d`) stands"
    if key.startswith("-----BEGIN"):
        return "A PEM or SSH private key, which opens no part, stands"
    if key.upper().startswith("AGE-PLUGIN-"):
        return "The key of an age plugin, and plugins are never run, stands"
    return "Something that is not an age private key stands"
