# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The highest number that was seen in a line of backups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from zrb.state.highest_seen import highest_seen, read_head, remember, series_seen
from zrb.values.repository_names import Series

REPOSITORY = "0123456789abcdef" * 2
SERIES = Series(host="nas1", dataset="tank/dätä")


def file_of(base_dir: Path) -> Path:
    return base_dir / "state/seen" / REPOSITORY / "nas1/tank/d%C3%A4t%C3%A4/seq.json"


def test_it_only_rises(tmp_path: Path) -> None:
    assert highest_seen(tmp_path, REPOSITORY, SERIES) == 0
    for seq, highest in ((3, 3), (2, 3), (3, 3), (7, 7)):
        remember(tmp_path, REPOSITORY, SERIES, seq)
        assert highest_seen(tmp_path, REPOSITORY, SERIES) == highest
    assert json.loads(file_of(tmp_path).read_text()) == {"seq": 7, "reported": [], "accepted": []}
    assert list(file_of(tmp_path).parent.iterdir()) == [file_of(tmp_path)]


def test_each_line_has_its_own(tmp_path: Path) -> None:
    remember(tmp_path, REPOSITORY, SERIES, 3)
    for other in (Series("nas2", SERIES.dataset), Series("nas1", "tank"), Series("nas1", "tank/dätä/child")):
        assert highest_seen(tmp_path, REPOSITORY, other) == 0
    remember(tmp_path, REPOSITORY, Series("nas1", "tank/dätä/child"), 9)
    assert highest_seen(tmp_path, REPOSITORY, SERIES) == 3


def test_each_repository_has_its_own(tmp_path: Path) -> None:
    remember(tmp_path, REPOSITORY, SERIES, 3)
    assert highest_seen(tmp_path, "f" * 32, SERIES) == 0


@pytest.mark.parametrize("content", ["", "nonsense", "{}", "[]", '{"seq": null}', '{"seq": "x"}', "\udcff"])
def test_an_unreadable_memory_is_no_memory(tmp_path: Path, content: str) -> None:
    remember(tmp_path, REPOSITORY, SERIES, 3)
    file_of(tmp_path).write_text(content, errors="surrogateescape")
    assert highest_seen(tmp_path, REPOSITORY, SERIES) == 0
    remember(tmp_path, REPOSITORY, SERIES, 4)
    assert highest_seen(tmp_path, REPOSITORY, SERIES) == 4


def test_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    assert highest_seen(tmp_path, REPOSITORY, SERIES) == 0
    with pytest.raises(OSError, match="File exists"):
        remember(tmp_path, REPOSITORY, SERIES, 1)


def test_what_was_told_and_accepted_adds_up(tmp_path: Path) -> None:
    remember(tmp_path, REPOSITORY, SERIES, 3, reported=("1 to 1",))
    remember(tmp_path, REPOSITORY, SERIES, 0, reported=("1 to 1", "2 to 2"), accepted=("1 to 1",))
    head = read_head(tmp_path, REPOSITORY, SERIES)
    assert (head.seq, head.reported, head.accepted) == (3, ("1 to 1", "2 to 2"), ("1 to 1",))


def test_every_series_that_was_seen_is_found_again(tmp_path: Path) -> None:
    names = ["tank", "tank/dätä", "tank/dätä/child", "tank/a b", "tank/..", "other/x"]
    for name in names:
        remember(tmp_path, REPOSITORY, Series("nas 1", name), 1)
    remember(tmp_path, REPOSITORY, Series("nas2", "tank"), 1)
    assert sorted(series.dataset for series in series_seen(tmp_path, REPOSITORY, "nas 1")) == sorted(names)
    assert list(series_seen(tmp_path, REPOSITORY, "nobody")) == []
