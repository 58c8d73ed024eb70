# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The comparison behind every restore test must itself notice every kind of difference."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.file_tree import change_tree, compare, describe_tree, main, make_tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    make_tree(root, seed=3, files=40, big_bytes=2**20)
    return root


def same_content(path: Path) -> dict[str, object]:
    return {name: entry.get("sha256") for name, entry in describe_tree(path).items()}


def test_the_same_seed_gives_the_same_files(tree: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    for root, seed in ((again, 3), (other, 4)):
        root.mkdir()
        make_tree(root, seed=seed, files=40, big_bytes=2**20)
    assert same_content(again) == same_content(tree)
    assert same_content(other) != same_content(tree)


def test_a_tree_equals_itself(tree: Path) -> None:
    described = describe_tree(tree)
    assert compare(described, describe_tree(tree)) == []
    assert {entry["kind"] for entry in described.values()} >= {"file", "directory", "symlink", "fifo"}
    assert described["contents/holes.img"]["has_holes"] is True
    assert "has_holes" not in described["contents/big.bin"]
    assert described["links/original.txt"]["same_file_as"] == described["links/hard.txt"]["same_file_as"]


def touch_later(path: Path) -> None:
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1000))


def split_hard_link(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.replace(path)


def fill_holes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    times = path.stat()
    path.write_bytes(content)
    with path.open("rb") as file:
        os.fsync(file)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("small/00/0/file-00000.txt", lambda path: path.unlink(), "is missing"),
        ("small/extra", lambda path: path.write_text("x"), "should not be there"),
        ("small/00/0/file-00000.txt", lambda path: path.write_bytes(b"other"), "sha256 is"),
        ("small/00/0/file-00000.txt", lambda path: path.chmod(0o777), "mode is '0777'"),
        ("contents/empty", touch_later, "mtime_ns is"),
        ("links/hard.txt", split_hard_link, "same_file_as is"),
        ("contents/holes.img", fill_holes, "has_holes is False instead of True"),
    ],
)
def test_every_kind_of_damage_is_noticed(tree: Path, name: str, damage: Callable[[Path], None], message: str) -> None:
    before = describe_tree(tree)
    damage(tree / name)
    assert any(message in line for line in compare(before, describe_tree(tree)))


def test_each_round_changes_the_tree(tree: Path) -> None:
    seen = [describe_tree(tree)]
    for round_number in (1, 2, 3):
        change_tree(tree, round_number)
        seen.append(describe_tree(tree))
        assert compare(seen[-2], seen[-1]) != []


def test_as_a_program_it_describes_and_compares(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = str(tmp_path / "description.json")
    assert main(["describe", str(tree), "--description", description]) == 0
    assert main(["compare", str(tree), "--description", description]) == 0
    assert "are the same" in capsys.readouterr().out
    assert main(["change", str(tree), "--round", "1"]) == 0
    assert main(["compare", str(tree), "--description", description]) == 1
    assert "instead of" in capsys.readouterr().out
