# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bech32 as age uses it: the checksum and alphabet of BIP 173, for data of any length.

age specification: "Bech32 is as specified in [BIP173][], but without length limits on the data part. Note that Bech32
strings can only be all uppercase or all lowercase, but the checksum is always computed over the lowercase string."
Libraries keep Bitcoin's limit of 90 characters, but a hybrid recipient has 1,959.
"""

from __future__ import annotations

from collections.abc import Iterable

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LETTERS = 6


def encode(prefix: str, data: bytes) -> str:
    """Encode ``data``: the lowercase ``prefix`` (the "human-readable part"), the separator ``1``, then the data."""
    values = _groups_of_five(data)
    checked = _polymod([*_expanded(prefix), *values, *[0] * _CHECKSUM_LETTERS]) ^ 1
    checksum = [checked >> 5 * (_CHECKSUM_LETTERS - 1 - place) & 31 for place in range(_CHECKSUM_LETTERS)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in [*values, *checksum])}"


def decode(text: str) -> tuple[str, bytes] | None:
    """The prefix, in lowercase, and the data of ``text``. ``None`` if it is not Bech32 or its checksum is wrong."""
    lowered = text.lower()
    if text not in (lowered, text.upper()) or not text.isascii():
        return (
            None  # BIP 173: "Decoders MUST NOT accept strings where some characters are uppercase and some lowercase"
        )
    prefix, separator, letters = lowered.rpartition("1")
    if not separator or not prefix or any(not "!" <= letter <= "~" for letter in prefix):
        return None
    values = [_VALUES.get(letter, -1) for letter in letters]
    if len(values) < _CHECKSUM_LETTERS or -1 in values or _polymod([*_expanded(prefix), *values]) != 1:
        return None
    data = _bytes_of(values[:-_CHECKSUM_LETTERS])
    return None if data is None else (prefix, data)


def _expanded(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [*(code >> 5 for code in codes), 0, *(code & 31 for code in codes)]


def _polymod(values: Iterable[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate(_GENERATOR):
            check ^= generator if top >> place & 1 else 0
    return check


def _groups_of_five(data: bytes) -> list[int]:
    bits = len(data) * 8
    padding = -bits % 5
    number = int.from_bytes(data, "big") << padding
    return [number >> shift & 31 for shift in range(bits + padding - 5, -1, -5)]


def _bytes_of(values: list[int]) -> bytes | None:
    """The bytes in groups of five bits. ``None`` if the padding breaks BIP 173: "the incomplete
    group at the end … MUST be 4 bits or less, MUST be all zeroes"."""
    padding = len(values) * 5 % 8
    number = 0
    for value in values:
        number = number << 5 | value
    if padding > 4 or number & (1 << padding) - 1:
        return None
    return (number >> padding).to_bytes(len(values) * 5 // 8, "big")
