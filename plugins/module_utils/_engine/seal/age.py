# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""age: public keys in, ciphertext out; private keys in, plaintext out. Nothing of pyrage leaves this room.

A part is one binary age v1 file for native X25519 recipients (docs/format.md, "Part"). pyrage asks its reader
for 8 KiB at a time and gives its writer at most 64 KiB + 16.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import BadRecipient, EngineError, KeyFileError, LibraryMissing, PartDamaged, WrongIdentity

MAGIC = b"age-encryption.org/v1\n"
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
_IDENTITY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")


class Reader(Protocol):
    """Where bytes come from. Never gives more than it is asked for; nothing only at the end."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""


class Writer(Protocol):
    """Where bytes go to. Takes all it is given."""

    def write(self, data: bytes, /) -> int:
        """Take ``data``; its length."""


def check_recipient(text: str) -> str:
    """``text`` without surrounding blanks, where it is a native age public key (X25519).

    Raises :class:`BadRecipient`; a private key is named as one and never repeated.
    """
    key = text.strip()
    if re.match(r"age-(secret-key|plugin)-", key, re.IGNORECASE):
        raise BadRecipient(
            "An age private key stands where a public key belongs",
            next_step="Put its public half there (age1…, printed by `age-keygen -y FILE`), and treat the private key "
            "as disclosed if others could read this text",
        )
    if not _RECIPIENT.fullmatch(key):
        raise BadRecipient(_wrong_recipient(key), subject=key, next_step=_RECIPIENT_WANTED)
    try:
        _x25519().Recipient.from_str(key)
    except _pyrage().RecipientError:
        raise BadRecipient(
            f"{key!r} is not an age public key: its checksum is wrong, so a character was lost or changed",
            subject=key,
            next_step="Copy the key again; `age-keygen -y FILE` prints it",
        ) from None
    return key


_RECIPIENT_WANTED = "Give a native age public key: age1 and 58 more characters, as `zrb genkey` prints it"


def _wrong_recipient(key: str) -> str:
    if key.startswith(("ssh-", "ecdsa-")):
        return f"{key[:40]!r} is an SSH key, and parts are encrypted for native age keys only"
    if key.startswith("age1pq1"):
        return f"{key[:40]!r} is a post-quantum age key, which format 1 does not use yet"
    if key.startswith("zrbsign1"):
        return f"{key!r} is a public key for signatures; it cannot encrypt"
    if re.match(r"age1[a-z0-9-]+1", key):
        return f"{key[:40]!r} is the key of an age plugin, and plugins are never run"
    return f"{key[:80]!r} is not an age public key"


class AgeSealer:
    """Encrypts for a fixed set of recipients. Raises :class:`BadRecipient` where one of them is none."""

    def __init__(self, recipients: Sequence[str]) -> None:
        if not recipients:
            raise BadRecipient("There is nobody to encrypt for", next_step=_RECIPIENT_WANTED)
        x25519 = _x25519()
        self._recipients = [x25519.Recipient.from_str(check_recipient(text)) for text in recipients]

    def encrypt(self, reader: Reader, writer: Writer) -> None:
        """Encrypt all that ``reader`` gives. What ``reader`` and ``writer`` raise comes out unchanged."""
        pyrage = _pyrage()
        source, sink = _Source(reader), _Sink(writer)
        try:
            pyrage.encrypt_io(source, sink, self._recipients)
        except (pyrage.EncryptError, OSError) as error:
            _reraise(source.failure or sink.failure)
            raise EngineError(
                "A part could not be encrypted",
                answer=str(error),
                next_step="Run again; if it comes back, report it with this message",
            ) from None


class AgeOpener:
    """Decrypts with any of some private keys. Raises :class:`KeyFileError` where one of them is none."""

    def __init__(self, identities: Sequence[str]) -> None:
        x25519 = _x25519()
        self._identities = [
            x25519.Identity.from_str(_check_identity(text, "the list of identities")) for text in identities
        ]
        if not self._identities:
            raise KeyFileError(
                "There is no age private key to decrypt with", next_step="Give the file with the age private key"
            )

    def decrypt(self, reader: Reader, writer: Writer) -> None:
        """Decrypt one part. Plaintext is handed on 64 KiB after 64 KiB, before the end is known to be whole.

        Raises :class:`WrongIdentity` where none of the private keys fits, :class:`PartDamaged` where the bytes are
        not one whole, unchanged, binary age file. What ``reader`` and ``writer`` raise comes out unchanged.
        """
        pyrage = _pyrage()
        source, sink = _Source(reader, head=_head(reader)), _Sink(writer)
        try:
            pyrage.decrypt_io(source, sink, self._identities)
        except (pyrage.DecryptError, OSError) as error:
            _reraise(source.failure or sink.failure)
            if str(error) == "No matching keys found":
                raise self._wrong_identity() from None
            raise _damaged(str(error)) from None

    def _wrong_identity(self) -> WrongIdentity:
        count = len(self._identities)
        given = (
            "The age private key that was given does not open"
            if count == 1
            else f"None of the {count} age private keys opens"
        )
        return WrongIdentity(
            f"{given} this part",
            next_step="Give the private key of one of the recipients the backup was made for; "
            "`age-keygen -y FILE` shows which public key a file belongs to",
        )


def _damaged(answer: str) -> PartDamaged:
    return PartDamaged(
        "A part is not a whole and unchanged age file",
        answer=answer,
        next_step="Its bytes were damaged or exchanged: fetch the part again, or restore from another backup",
    )


def new_identity() -> tuple[str, str]:
    """A fresh private key and its public key."""
    identity = _x25519().Identity.generate()
    return str(identity), str(identity.to_public())


def public_of(private: str) -> str:
    """The public key of a private one. Raises :class:`KeyFileError`."""
    return str(_x25519().Identity.from_str(_check_identity(private, "the text")).to_public())


def parse_identities(text: str, *, name: str = "the age key file") -> list[str]:
    """The private keys of an age key file: one a line, with blank lines and ``#`` comments.

    ``name`` is what messages call the file. Raises :class:`KeyFileError`.
    """
    lines = [line.strip() for line in text.splitlines()]
    identities = [_check_identity(line, name) for line in lines if line and not line.startswith("#")]
    if not identities:
        raise KeyFileError(
            f"There is no age private key in {name}", next_step="It has to hold a line AGE-SECRET-KEY-1…", subject=name
        )
    return identities


def _check_identity(text: str, name: str) -> str:
    key = text.strip()
    wanted = "An age key file holds a line AGE-SECRET-KEY-1…, as `zrb genkey` or `age-keygen` write it"
    if not _IDENTITY.fullmatch(key):
        raise KeyFileError(f"{_wrong_identity_text(key)} in {name}", subject=name, next_step=wanted)
    try:
        _x25519().Identity.from_str(key)
    except _pyrage().IdentityError:
        raise KeyFileError(
            f"The age private key in {name} has a wrong checksum: a character was lost or changed",
            subject=name,
            next_step="Copy the key again from where it is kept",
        ) from None
    return key


def _wrong_identity_text(key: str) -> str:
    if key.startswith("age1"):
        return "An age public key stands where a private key belongs"
    if key.upper().startswith("ZRB-SIGNING-KEY-1"):
        return "A private key for signatures, which cannot decrypt, stands"
    if key.startswith(("age-encryption.org/", "-----BEGIN AGE ENCRYPTED")):
        return "A key that is itself encrypted with a passphrase (decrypt it first with `age -d`) stands"
    if key.startswith("-----BEGIN"):
        return "A PEM or SSH private key, which opens no part, stands"
    if key.upper().startswith("AGE-PLUGIN-"):
        return "The key of an age plugin, and plugins are never run, stands"
    return "Something that is not an age private key stands"


class _Source:
    """The reader as pyrage sees it. pyrage turns what a reader raises into text: remember it."""

    def __init__(self, reader: Reader, head: bytes = b"") -> None:
        self._read = reader.read
        self._head = head
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, those already taken first."""
        try:
            if self._head:
                data, self._head = self._head[:size], self._head[size:]
                return data
            data = self._read(size)
        except BaseException as error:
            self.failure = error
            raise
        if len(data) > size:
            self.failure = ValueError(f"a reader gave {len(data)} bytes where {size} were asked for")
            raise self.failure
        return data


class _Sink:
    """The writer as pyrage sees it, with the same memory."""

    def __init__(self, writer: Writer) -> None:
        self._write = writer.write
        self.failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Hand on ``data``."""
        try:
            taken = self._write(data)
        except BaseException as error:
            self.failure = error
            raise
        if taken != len(data):
            self.failure = ValueError(f"a writer took {taken} bytes where {len(data)} were given")
            raise self.failure
        return taken


def _head(reader: Reader) -> bytes:
    """The first bytes of a part. pyrage would also take an armored file; format 1 has none."""
    head = b""
    while len(head) < len(MAGIC):
        data = reader.read(len(MAGIC) - len(head))
        if not data:
            break
        head += data
    if head != MAGIC:
        raise _damaged("it is empty" if not head else "it does not begin like a binary age file")
    return head


def _reraise(failure: BaseException | None) -> None:
    if failure is not None:
        raise failure


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise LibraryMissing.named("pyrage", error) from error
    return pyrage


def _x25519() -> Any:
    return _pyrage().x25519
