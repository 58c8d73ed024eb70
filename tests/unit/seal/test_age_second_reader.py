# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The second reader agrees with the first, and lets through what its reader and writer raise."""

from __future__ import annotations

import io

import pytest
from zrb.errors import KeyFileError, LibraryMissing, PartDamaged, StoreUnavailable, WrongIdentity
from zrb.seal.age import PIECE_BYTES, AgeSealer, new_identity
from zrb.seal.age_second_reader import open_independently

PRIVATE, PUBLIC = new_identity()
HYBRID, _ = new_identity("hybrid")


def sealed_part(plain: bytes) -> bytes:
    sealed = io.BytesIO()
    AgeSealer([PUBLIC]).encrypt(io.BytesIO(plain), sealed)
    return sealed.getvalue()


def opened(sealed: bytes, identities: list[str]) -> bytes:
    plain = io.BytesIO()
    open_independently(io.BytesIO(sealed).read, plain.write, identities)
    return plain.getvalue()


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES])
def test_the_second_reader_opens_what_we_sealed(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert opened(sealed_part(plain), [HYBRID, PRIVATE]) == plain


def test_it_names_damage_and_wrong_keys_as_the_first_one_does() -> None:
    sealed = sealed_part(b"stream" * 30_000)
    for other in (sealed[:-1], sealed[:-1] + b"x", sealed + b"x", b""):
        with pytest.raises(PartDamaged):
            opened(other, [PRIVATE])
    with pytest.raises(WrongIdentity):
        opened(sealed, [new_identity()[0]])
    with pytest.raises(KeyFileError):
        opened(sealed, [HYBRID])


@pytest.mark.parametrize("error", [StoreUnavailable("The line is down", next_step="Wait"), OSError(5, "I/O")])
def test_what_its_reader_or_writer_raises_comes_out_unchanged(error: Exception) -> None:
    def fail(_: object) -> int:
        raise error

    for attempt in (
        lambda: open_independently(fail, io.BytesIO().write, [PRIVATE]),  # type: ignore[arg-type]
        lambda: open_independently(io.BytesIO(sealed_part(b"x" * 100_000)).read, fail, [PRIVATE]),
    ):
        with pytest.raises(type(error)) as caught:
            attempt()
        assert caught.value is error


def test_without_its_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyrage", None)
    with pytest.raises(LibraryMissing) as caught:
        opened(b"", [PRIVATE])
    assert caught.value.subject == "pyrage"
