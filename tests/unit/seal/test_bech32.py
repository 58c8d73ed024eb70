# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bech32: the test vectors of BIP 173 that are whole bytes, and what holds for data of any length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.seal.bech32 import decode, encode

LONG_PREFIX = "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio"
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
prefixes = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).map(str.lower)


@pytest.mark.parametrize(
    ("text", "prefix", "data"),
    [
        ("A12UEL5L", "a", ""),
        ("a12uel5l", "a", ""),
        (f"{LONG_PREFIX}1tt5tgs", LONG_PREFIX, ""),
        ("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", "abcdef", "00443214c74254b635cf84653a56d7c675be77df"),
        (
            "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
            "split",
            "c5f38b70305f519bf66d85fb6cf03058f3dde463ecd7918f2dc743918f2d",
        ),
        ("?1ezyfcl", "?", ""),
    ],
)
def test_what_bip_173_calls_valid_is_read(text: str, prefix: str, data: str) -> None:
    assert decode(text) == (prefix, bytes.fromhex(data))
    assert encode(prefix, bytes.fromhex(data)) == text.lower()


@pytest.mark.parametrize(
    "text",
    [
        "\x201nwldj5",
        "\x7f1axkwrx",
        "\x801eym55h",
        "pzry9x0s0muk",
        "1pzry9x0s0muk",
        "x1b4n0q5v",
        "li1dgmt3",
        "de1lg7wt\xff",
        "A1G7SGD8",
        "10a06t8",
        "1qzzfhee",
        "",
        "1",
        "a1",
        "A12uEL5L",
        "a12UEL5l",
        "\u017f12uel5l",
        "\u212a12uel5l",
    ],
)
def test_what_bip_173_calls_invalid_is_not(text: str) -> None:
    assert decode(text) is None


@given(prefixes, st.binary(max_size=1300))
def test_what_is_written_is_read_in_either_case_and_in_no_mixture(prefix: str, data: bytes) -> None:
    text = encode(prefix, data)
    assert decode(text) == decode(text.upper()) == (prefix, data)
    if text != text.upper():
        place = max(place for place, letter in enumerate(text) if letter.isalpha())
        mixed = text.upper()[:place] + text[place:]
        assert mixed == text or decode(mixed) is None


@given(prefixes, st.binary(max_size=1300), st.data())
def test_another_letter_or_a_lost_one_is_noticed(prefix: str, data: bytes, choose: st.DataObject) -> None:
    text = encode(prefix, data)
    place = choose.draw(st.integers(len(prefix) + 1, len(text) - 1))
    letter = choose.draw(st.sampled_from(ALPHABET.replace(text[place], "")))
    assert decode(text[:place] + letter + text[place + 1 :]) is None
    lost = decode(text[:place] + text[place + 1 :])
    assert lost is None or lost[1] != data


@given(st.text(max_size=60))
def test_text_of_any_kind_is_no_key_or_is_written_as_it_stands(text: str) -> None:
    if (decoded := decode(text)) is not None:
        assert encode(*decoded) == text.lower()


@pytest.mark.parametrize("padding", range(1, 32))
def test_padding_is_zeros_and_less_than_a_letter(padding: int) -> None:
    """One byte is eight bits in two letters: two bits are padding."""
    from zrb.seal.bech32 import _expanded, _polymod

    for values in ([1, padding], [1, 0, padding], [1, 0, 0], [padding]):
        check = _polymod([*_expanded("a"), *values, *[0] * 6]) ^ 1
        text = "a1" + "".join(ALPHABET[value] for value in [*values, *(check >> 5 * (5 - i) & 31 for i in range(6))])
        whole = len(values) * 5 % 8 < 5 and not values[-1] & (1 << len(values) * 5 % 8) - 1
        assert (decode(text) is not None) == whole
