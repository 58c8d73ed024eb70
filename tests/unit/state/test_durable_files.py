# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are written completely or not at all, by whoever shares a directory."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from zrb.state.durable_files import make_private, replace_durably


def test_several_of_the_same_process_id_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file.json"
    texts = [f"{number}" * 1000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: [replace_durably(path, text) for _again in range(20)], texts))
    assert path.read_text() in texts
    assert [*path.parent.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_every_directory_that_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        make_private(tmp_path / "state/seen/series")
    finally:
        os.umask(before)
    for made in ("state", "state/seen", "state/seen/series"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700


def test_every_directory_that_is_made_is_named_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[str, set[str]] = {}

    def watch(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            synced[path.relative_to(tmp_path).as_posix()] = {one.name for one in path.iterdir()}

    monkeypatch.setattr(os, "fsync", watch)
    replace_durably(tmp_path / "state/seen/series/file.json", "text")
    assert synced == {".": {"state"}, "state": {"seen"}, "state/seen": {"series"}, "state/seen/series": {"file.json"}}


def test_one_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o750)
    make_private(tmp_path / "state/seen")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o750


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(OSError, match="state"):
        make_private(tmp_path / "state/seen")
