# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two hashes, against published values."""

from __future__ import annotations

import sys

import pytest
from zrb.errors import LibraryMissing
from zrb.seal.hashing import part_hasher, stream_hasher


def test_the_hash_of_a_stream_is_blake3() -> None:
    hasher = stream_hasher()
    assert hasher.hexdigest() == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    for piece in (b"ab", bytearray(b"c"), memoryview(b"")):
        hasher.update(piece)
    assert hasher.hexdigest() == "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def test_the_hash_of_a_part_is_sha256() -> None:
    hasher = part_hasher()
    hasher.update(b"abc")
    assert hasher.hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_missing_blake3_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(LibraryMissing, match="blake3"):
        stream_hasher()
