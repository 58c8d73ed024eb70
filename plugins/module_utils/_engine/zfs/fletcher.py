# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fletcher-4, the checksum in the records of a ``zfs send`` stream: four sums over words of 32 bits.

``a`` adds up the words, ``b`` adds up the ``a`` after each word, ``c`` the ``b``, ``d`` the ``c``, all modulo 2^64. So
it is linear: the *difference* of two checksums over different beginnings and then the same words depends on how many
words these are, and not on what they are.
"""

from __future__ import annotations

import sys
from array import array
from itertools import accumulate
from typing import Final

Sums = tuple[int, int, int, int]

NOTHING: Final[Sums] = (0, 0, 0, 0)
CHECKSUM_BYTES: Final = 32
WORD_BYTES: Final = 4
_MASK: Final = (1 << 64) - 1


def add_bytes(sums: Sums, data: bytes | bytearray | memoryview) -> Sums:
    """The checksum after ``data``, whose length is a multiple of 4, little-endian."""
    words = array("I", bytes(data))
    if sys.byteorder == "big":
        words.byteswap()
    return add_words(sums, words)


def add_words(sums: Sums, words: array[int] | list[int]) -> Sums:
    """The checksum after ``words``. Differences of words may be negative."""
    if not words:
        return sums
    first = list(accumulate(words))
    second = list(accumulate(first))
    third = list(accumulate(second))
    tail = (first[-1], second[-1], third[-1], sum(third))
    return add_sums(pass_words(sums, len(words)), tail)


def pass_words(difference: Sums, count: int) -> Sums:
    """What becomes of the difference of two checksums after ``count`` words that are the same for both."""
    a, b, c, d = difference
    pairs = count * (count + 1) // 2
    return (
        a,
        (b + count * a) & _MASK,
        (c + count * b + pairs * a) & _MASK,
        (d + count * c + pairs * b + pairs * (count + 2) // 3 * a) & _MASK,
    )


def add_sums(one: Sums, other: Sums) -> Sums:
    """Their sums, modulo 2^64."""
    a, b, c, d = (left + right & _MASK for left, right in zip(one, other, strict=True))
    return a, b, c, d


def subtract_sums(one: Sums, other: Sums) -> Sums:
    """Their difference, modulo 2^64."""
    a, b, c, d = (left - right & _MASK for left, right in zip(one, other, strict=True))
    return a, b, c, d
