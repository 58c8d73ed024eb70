# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of Python that opens a part for a hybrid key, without this project: docs/open_hybrid_part.py."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from zrb.seal.age import AgeSealer
from zrb.seal.age_keys import new_identity
from zrb.seal.age_stream import PIECE_BYTES

PAGE = Path(__file__).parents[2] / "docs" / "open_hybrid_part.py"
PRIVATE, PUBLIC = new_identity("hybrid")


def sealed_part(plain: bytes) -> bytes:
    sealed = io.BytesIO()
    AgeSealer([new_identity("hybrid")[1], PUBLIC]).encrypt(io.BytesIO(plain), sealed)
    return sealed.getvalue()


def opened(directory: Path, sealed: bytes, *private: str) -> subprocess.CompletedProcess[bytes]:
    (directory / "part.age").write_bytes(sealed)
    (directory / "age.key").write_text("# created: today\n" + "".join(f"{key}\n" for key in private))
    arguments = [sys.executable, "-I", PAGE, directory / "age.key", directory / "part.age"]
    return subprocess.run(arguments, capture_output=True, check=False, cwd=directory)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
def test_it_opens_what_was_sealed(tmp_path: Path, size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    ended = opened(tmp_path, sealed_part(plain), new_identity("hybrid")[0], PRIVATE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, plain, b"")


def test_damage_and_wrong_keys_end_with_a_status_and_a_reason(tmp_path: Path) -> None:
    sealed = sealed_part(b"x" * 2 * PIECE_BYTES)
    header = sealed.index(b"\n--- ")
    for damaged in (
        sealed[:-1],
        sealed + b"x",
        sealed[: -PIECE_BYTES - 16],
        sealed[:-1] + bytes([sealed[-1] ^ 1]),
        sealed[: header + 10] + (b"A" if sealed[header + 10 : header + 11] != b"A" else b"B") + sealed[header + 11 :],
        sealed[:header],
        b"",
    ):
        ended = opened(tmp_path, damaged, PRIVATE)
        assert ended.returncode == 1
        assert ended.stderr
        assert b"Traceback" not in ended.stderr
    ended = opened(tmp_path, sealed, new_identity("hybrid")[0], new_identity()[0])
    assert ended.returncode == 1
    assert b"No key in the file" in ended.stderr


def test_it_is_a_page_and_needs_one_library() -> None:
    text = PAGE.read_text(encoding="utf-8")
    imported = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == {"cryptography"}
    assert len(text.splitlines()) <= 100
