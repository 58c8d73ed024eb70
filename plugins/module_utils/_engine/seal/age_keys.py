# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parses age keys as people write them, and says what is wrong with a text that is not a key.

There are two kinds: ``classic`` (X25519; ``age1…``, ``AGE-SECRET-KEY-1…``) and ``hybrid`` (MLKEM768-X25519;
``age1pq1…``, ``AGE-SECRET-KEY-PQ-1…``). Plugin keys, SSH keys and passphrases are refused: nothing here runs a program
or prompts a user.
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
"""This many hybrid stanzas fit into the longest header that we read, with room to spare."""


def check_recipient(text: str) -> str:
    """``text`` without surrounding blanks, if it is a native age public key of either kind.

    Raises :class:`BadRecipient`; if the text is a private key, the message says so but never repeats it. Raises
    :class:`LibraryMissing` if the installed ``cryptography`` is too old for a hybrid key.
    """
    key = text.strip()
    parse_recipient(key)
    return key


def check_recipients(recipients: Sequence[str]) -> None:
    """Raise :class:`BadRecipient` if one part cannot have all these recipients: too many, or a mix of both kinds.

    The specification: "the same file SHOULD NOT be encrypted to both this recipient type and to other
    non-quantum-resistant recipient types". The classic key would defeat the purpose of the hybrid one.
    """
    if len(recipients) > MAX_RECIPIENTS:
        raise BadRecipient(
            f"There are {len(recipients)} recipients, and a part can have at most {MAX_RECIPIENTS}",
            next_step="Give fewer; several people can share one private key",
        )
    if len({kind_of(text.strip()) for text in recipients}) > 1:
        raise BadRecipient(
            "Hybrid (age1pq1…) and classic (age1…) age public keys are mixed, but a part has recipients of one kind",
            next_step="Give keys of one kind: with a classic key among them, a quantum computer could read the part "
            "despite the hybrid ones",
        )


def parse_recipient(text: str) -> Recipient:
    """Parse ``text`` as a public key. Raises what :func:`check_recipient` raises."""
    key = text.strip()
    if re.match(r"age-(secret-key|plugin)-", key, re.IGNORECASE):
        raise BadRecipient(
            "An age private key was given instead of a public key",
            next_step="Give its public key (age1…, printed by `age-keygen -y FILE`), and treat the private key "
            "as disclosed if others could read this text",
        )
    if not re.fullmatch(r"age1(pq1)?[02-9ac-hj-np-z]+", key) or len(key) > _MAX_TEXT:
        raise BadRecipient(_wrong_recipient(key), subject=shown(key), next_step=_RECIPIENT_WANTED)
    written = _HYBRID if kind_of(key) == "hybrid" else _CLASSIC
    decoded = bech32.decode(key)
    if decoded is None:
        raise BadRecipient(
            f"{shown(key)!r} is not an age public key: its checksum is wrong, so a character is missing or wrong",
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
            f"{shown(key)!r} is not a genuine age public key: anybody could open what is encrypted for it",
            subject=shown(key),
            next_step="Do not use it; `zrb genkey` makes a key pair",
        ) from None


_RECIPIENT_WANTED = "Give a native age public key (age1pq1… or age1…), as `zrb genkey` prints it"


def _wrong_recipient(key: str) -> str:
    if key.startswith(("ssh-", "ecdsa-")):
        return f"{key[:40]!r} is an SSH key, but parts are encrypted for native age keys only"
    if key.startswith("zrbsign1"):
        return f"{key!r} is a public key of a signer; it cannot encrypt"
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
    """The private keys of an age key file: one per line, with blank lines and ``#`` comments.

    ``name`` is what messages call the file. Raises :class:`KeyFileError`.
    """
    lines = [line.strip() for line in text.splitlines()]
    identities = [line for line in lines if line and not line.startswith("#")]
    for line in identities:
        parse_identity(line, name=name)
    if not identities:
        raise KeyFileError(
            f"There is no age private key in {name}",
            next_step="It must have a line AGE-SECRET-KEY-PQ-1… or AGE-SECRET-KEY-1…",
            subject=name,
        )
    return identities


def parse_identity(text: str, *, name: str = "the text") -> Identity:
    """Parse ``text`` as a private key; ``name`` says where it was found. Raises :class:`KeyFileError`."""
    key = text.strip()
    wanted = "An age key file needs a line AGE-SECRET-KEY-PQ-1… or AGE-SECRET-KEY-1…, as `zrb genkey` writes it"
    written = _HYBRID if key.startswith("AGE-SECRET-KEY-PQ-1") else _CLASSIC
    if not re.fullmatch(r"AGE-SECRET-KEY-(PQ-)?1[02-9AC-HJ-NP-Z]{58}", key):
        raise KeyFileError(
            f"There is no usable age private key in {name}, but {_wrong_identity(key)}", subject=name, next_step=wanted
        )
    decoded = bech32.decode(key)
    if decoded is None or decoded[0] != written.identity or len(decoded[1]) != written.identity_bytes:
        raise KeyFileError(
            f"The age private key in {name} has a wrong checksum: a character is missing or wrong",
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
        return "an age public key"
    if key.upper().startswith("ZRB-SIGNING-KEY-"):
        return "a signing key, which cannot decrypt"
    if key.startswith(("age-encryption.org/", "-----BEGIN AGE ENCRYPTED")):
        return "one that is itself encrypted with a passphrase (decrypt it first with `age -d`)"
    if key.startswith("-----BEGIN"):
        return "a PEM or SSH private key, which opens no part"
    if key.upper().startswith("AGE-PLUGIN-"):
        return "the key of an age plugin; plugins are never run"
    return "something else"
