# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of an age file: its grammar, its limits and its MAC. Quotations are from the age specification
(https://c2sp.org/age)."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import PartDamaged

MAGIC: Final = b"age-encryption.org/v1\n"
"""``v1-line = %s"age-encryption.org/v1" LF``"""
FILE_KEY_BYTES: Final = 16
"""``Each file is encrypted with a 128-bit symmetric file key.``"""
MAX_HEADER_BYTES: Final = 64 * 1024
"""The longest header that we read; the specification sets no limit. 20 hybrid recipients take 32 KiB."""
MAX_STANZAS: Final = 256
"""The most stanzas that we read: each one costs a key exchange for every private key given."""

_COLUMNS = 64
_MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class Stanza:
    """The file key, wrapped for one recipient. The first of its ``arguments`` is the kind."""

    arguments: tuple[str, ...]
    body: bytes

    @property
    def kind(self) -> str:
        """The first argument."""
        return self.arguments[0]


@dataclass(frozen=True, slots=True)
class Header:
    """A header that was read. ``length`` counts its bytes, the MAC's line included; ``authenticated`` are the bytes
    that the MAC covers."""

    stanzas: tuple[Stanza, ...]
    mac: bytes
    length: int
    authenticated: bytes

    def is_of(self, file_key: bytes) -> bool:
        """Whether the MAC was made with ``file_key`` over these bytes. Takes the same time in any case."""
        return hmac.compare_digest(self.mac, _mac(file_key, self.authenticated))


def damaged(answer: str) -> PartDamaged:
    """The error for a part that is not a valid age file; ``answer`` says what is wrong with it."""
    return PartDamaged(
        "A part is not a whole and unchanged age file",
        answer=answer,
        next_step="Its bytes were damaged or replaced: fetch the part again, or restore from another backup",
    )


def write_header(file_key: bytes, stanzas: Sequence[Stanza]) -> bytes:
    """The header with its MAC: ``header = v1-line 1*stanza end``."""
    lines = MAGIC + b"".join(_written(stanza) for stanza in stanzas) + b"---"
    header = lines + b" " + encode_base64(_mac(file_key, lines)).encode() + b"\n"
    if len(header) > MAX_HEADER_BYTES or not 1 <= len(stanzas) <= MAX_STANZAS:
        raise ValueError(f"{len(stanzas)} recipients make a header of {len(header)} bytes, too long to read back")
    return header


def read_header(head: memoryview) -> Header:
    """The header at the beginning of ``head``. Raises :class:`PartDamaged`.

    Makes one pass over at most :data:`MAX_HEADER_BYTES`, whatever they hold.
    """
    lines = _Lines(bytes(head[:MAX_HEADER_BYTES]))
    if not len(head):
        raise damaged("it is empty")
    if lines.text[: len(MAGIC)] != MAGIC:
        raise damaged("it does not begin like a binary age file")
    lines.position = len(MAGIC)
    stanzas: list[Stanza] = []
    while not lines.text.startswith(b"---", lines.position):
        if len(stanzas) == MAX_STANZAS:
            raise damaged(f"its header has more than {MAX_STANZAS} stanzas")
        stanzas.append(_stanza(lines))
    if not stanzas:
        raise damaged("its header names no recipient")  # header = v1-line 1*stanza end
    # "The MAC is computed with HMAC-SHA-256 over the whole header up to and including the `---` mark (excluding the
    # space following it)."
    authenticated = lines.text[: lines.position + 3]
    end = lines.next()
    mac = decode_base64(end[4:]) if end.startswith("--- ") else None  # end = "--- " 43base64char LF
    if mac is None or len(mac) != _MAC_BYTES:
        raise damaged("the line of the MAC in its header is malformed")
    return Header(tuple(stanzas), mac, lines.position, authenticated)


def encode_base64(data: bytes) -> str:
    """``the standard Base 64 encoding specified in RFC 4648, Section 4, without = padding characters``"""
    return base64.b64encode(data).decode("ascii").rstrip("=")


def decode_base64(text: str) -> bytes | None:
    """The bytes that ``text`` encodes, or ``None``.

    ``decoders MUST reject non-canonical encodings and encodings ending with = padding characters``
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode_base64(data) == text else None


def derive_key(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """32 bytes: ``Keys derived with HKDF-SHA-256 are produced by applying HKDF-Extract with the specified salt followed
    by HKDF-Expand with the specified info``"""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


def _mac(file_key: bytes, authenticated: bytes) -> bytes:
    # "HMAC key = HKDF-SHA-256(ikm = file key, salt = empty, info = "header")"
    return hmac.digest(derive_key(file_key, salt=b"", info=b"header"), authenticated, "sha256")


def _written(stanza: Stanza) -> bytes:
    # "a base64-encoded body wrapped at 64 columns. The body MUST end with a line shorter than 64 characters, which MAY
    # be empty."
    body = encode_base64(stanza.body)
    lines = [body[start : start + _COLUMNS] for start in range(0, len(body) + 1, _COLUMNS)]
    return ("\n".join([" ".join(["->", *stanza.arguments]), *lines]) + "\n").encode("ascii")


class _Lines:
    """The lines of a header, one after the other."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.position = 0

    def next(self) -> str:
        end = self.text.find(b"\n", self.position)
        if end < 0:
            long = len(self.text) == MAX_HEADER_BYTES
            raise damaged(f"its header is longer than {MAX_HEADER_BYTES} bytes" if long else "it ends in its header")
        line = self.text[self.position : end]
        self.position = end + 1
        return line.decode("latin-1")  # one character a byte; the caller checks which are allowed


def _stanza(lines: _Lines) -> Stanza:
    # arg-line = "-> " argument *(SP argument) LF;  argument = 1*VCHAR
    mark, *arguments = lines.next().split(" ")
    if mark != "->" or not arguments or not all(map(_is_argument, arguments)):
        raise damaged("the first line of a stanza in its header is malformed")
    body: list[bytes] = []
    while True:
        # stanza = arg-line *full-line final-line;  full-line = 64base64char LF;  final-line = *63base64char LF
        line = lines.next()
        piece = decode_base64(line)
        if piece is None or len(line) > _COLUMNS:
            raise damaged("the body of a stanza in its header is malformed")
        body.append(piece)
        if len(line) < _COLUMNS:
            return Stanza(tuple(arguments), b"".join(body))


def _is_argument(text: str) -> bool:
    return bool(text) and all("!" <= character <= "~" for character in text)
