# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Other programs open what we seal, and we open what they seal, at every border of pieces, chunks and parts."""

from __future__ import annotations

import io
import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pyrage
import pytest
from zrb.errors import BadRecipient
from zrb.seal.age import HEAD_BYTES, AgeOpener, AgeSealer
from zrb.seal.age_keys import new_identity, public_of
from zrb.seal.age_stream import PIECE_BYTES
from zrb.values.recipients import KeyKind

from tests.fixtures.age_tools import program, system_age

RUN_BYTES = 16 * PIECE_BYTES
CHUNK_BYTES = 1024 * 1024
PART_BYTES = 3 * 1024 * 1024
SIZES = [
    0,
    *(
        border + beside
        for border in (1, PIECE_BYTES, CHUNK_BYTES, PART_BYTES)
        for beside in (-1, 0, 1)
        if border + beside
    ),
]
STREAM = Random(1).randbytes(max(SIZES))


@dataclass(frozen=True)
class Other:
    """Another program for age files, with the path of ``private`` or the text of ``public``."""

    seal: Callable[[bytes, str], bytes]
    open: Callable[[bytes, Path], bytes]


def age(path: str) -> Other:
    def run(*arguments: str, data: bytes) -> bytes:
        ended = subprocess.run([path, *arguments], input=data, capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return Other(
        seal=lambda plain, public: run("--encrypt", "--recipient", public, data=plain),
        open=lambda sealed, private: run("--decrypt", "--identity", str(private), data=sealed),
    )


def rust() -> Other:
    return Other(
        seal=lambda plain, public: pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(public)]),
        open=lambda sealed, private: pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(private.read_text())]),
    )


OTHERS: dict[str, tuple[Callable[[], Other], KeyKind]] = {
    "pyrage": (rust, "classic"),
    "system-age": (lambda: age(system_age()), "classic"),
    "age-1.3": (lambda: age(program("age")), "classic"),
    "age-1.3-hybrid": (lambda: age(program("age")), "hybrid"),
}


@pytest.fixture(params=OTHERS)
def other(request: pytest.FixtureRequest) -> tuple[Other, KeyKind]:
    make, kind = OTHERS[request.param]
    return make(), kind


@pytest.fixture
def keys(other: tuple[Other, KeyKind], tmp_path: Path) -> tuple[Path, str]:
    private, public = new_identity(other[1])
    (tmp_path / "key").write_text(private)
    return tmp_path / "key", public


def sealed_part(plain: bytes, public: str) -> bytes:
    """One part as a backup makes it: cut into runs, and those sealed into chunks whose borders run through pieces."""
    part = AgeSealer([public]).begin()
    view, runs = memoryview(plain), []
    for begin in range(0, max(1, len(plain)), RUN_BYTES):
        length = min(RUN_BYTES, len(plain) - begin)
        runs.append((view[begin : begin + length], part.cut(length, last=begin + length == len(plain))))
    file = memoryview(bytearray(runs[-1][1].offset + runs[-1][1].sealed_bytes))
    file[: len(part.header)] = part.header
    for piece, run in reversed(runs):
        end = run.offset + run.sealed_bytes
        borders = [run.offset, *range(-(-run.offset // CHUNK_BYTES) * CHUNK_BYTES, end, CHUNK_BYTES), end]
        run.seal(piece, [file[begin:stop] for begin, stop in itertools.pairwise(borders)])
    return file.tobytes()


def opened_part(sealed: bytes, private: str) -> bytes:
    view = memoryview(sealed)
    opening = AgeOpener([private]).begin(view[:HEAD_BYTES], part_bytes=len(view))
    out = bytearray(opening.plain_bytes)
    opening.open(opening.header_bytes, [view[opening.header_bytes :]], memoryview(out))
    return bytes(out)


def parts_of(size: int) -> list[bytes]:
    stream = STREAM[:size]
    return [stream[begin : begin + PART_BYTES] for begin in range(0, max(1, size), PART_BYTES)]


@pytest.mark.parametrize("size", SIZES)
def test_another_program_opens_what_we_seal(other: tuple[Other, KeyKind], keys: tuple[Path, str], size: int) -> None:
    private, public = keys
    assert b"".join(other[0].open(sealed_part(part, public), private) for part in parts_of(size)) == STREAM[:size]


@pytest.mark.parametrize("size", SIZES)
def test_we_open_what_another_program_seals(other: tuple[Other, KeyKind], keys: tuple[Path, str], size: int) -> None:
    private, public = keys
    sealed = [other[0].seal(part, public) for part in parts_of(size)]
    assert b"".join(opened_part(part, private.read_text()) for part in sealed) == STREAM[:size]
    streamed = io.BytesIO()
    for part in sealed:
        AgeOpener([private.read_text()]).decrypt(io.BytesIO(part), streamed)
    assert streamed.getvalue() == STREAM[:size]


@pytest.mark.parametrize("kind", ["classic", "hybrid"])
def test_keys_of_both_programs_are_the_same(kind: KeyKind, tmp_path: Path) -> None:
    keygen = program("age-keygen")
    private, public = new_identity(kind)
    derived = subprocess.run([keygen, "-y"], input=private, capture_output=True, check=True, text=True)
    assert derived.stdout.strip() == public
    made = subprocess.run(
        [keygen, *(["-pq"] if kind == "hybrid" else [])], capture_output=True, check=True, text=True
    ).stdout.splitlines()
    theirs = next(line for line in made if line.startswith("AGE-SECRET-KEY-"))
    assert f"# public key: {public_of(theirs)}" in made


def test_a_part_for_several_hybrid_keys_is_opened_with_each(tmp_path: Path) -> None:
    pairs = [new_identity("hybrid") for _ in range(3)]
    part = AgeSealer([public for _, public in pairs]).begin()
    sealed = bytearray(21)
    part.cut(5, last=True).seal(memoryview(b"plain"), [memoryview(sealed)])
    for place, (private, _) in enumerate(pairs):
        key = tmp_path / str(place)
        key.write_text(private)
        assert age(program("age")).open(part.header + sealed, key) == b"plain"


def test_both_programs_refuse_a_mixture_of_kinds() -> None:
    recipients = [new_identity("hybrid")[1], new_identity("classic")[1]]
    with pytest.raises(BadRecipient):
        AgeSealer(recipients)
    arguments = [argument for recipient in recipients for argument in ("--recipient", recipient)]
    ended = subprocess.run([program("age"), *arguments], input=b"x", capture_output=True, check=False)
    assert ended.returncode != 0
