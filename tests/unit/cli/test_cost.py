# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb cost`` as a table and as a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.committed_repository import CommittedRepository
from tests.unit.cli.conftest import Zrb


@pytest.fixture
def _backups(repository: CommittedRepository) -> None:
    first = repository.commit(dataset="tank/home")
    repository.commit(1, base=first, dataset="tank/home")
    repository.commit(host="nas2", dataset="tank/video")


@pytest.mark.usefixtures("_backups")
def test_the_tables_have_eighty_columns_and_say_what_is_unknown(zrb: Zrb, config: Path) -> None:
    ended = zrb("cost", "--config", config)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    for name in ("STANDARD", "0", "1", "nas1:tank/home", "nas2:tank/video", "nas1", "nas2"):
        assert any(line.split()[-1:] == [name] for line in lines), name
    assert "No price is known for STANDARD at a directory" in ended.out
    alone = zrb("cost", "--config", config, "--host", "nas2").out
    assert "nas2:tank/video" in alone
    assert "nas1" not in alone


@pytest.mark.usefixtures("_backups")
def test_own_prices_are_said(zrb: Zrb, config: Path) -> None:
    config.write_text(config.read_text() + "prices: {STANDARD: 1000000}\n")
    ended = zrb("cost", "--config", config)
    assert "Your own prices: STANDARD" in ended.out
    assert "unknown" not in ended.out
    document = zrb("cost", "--config", config, "--json").document
    assert document["total"]["month_price"] == pytest.approx(document["total"]["bytes"] / 1000)
    assert document["prices"] == {
        "name": "a directory",
        "source": None,
        "as_of": None,
        "own": ["STANDARD"],
        "note": None,
    }
    assert [one["days"] for one in document["outlooks"]] == [30, 365]


@pytest.mark.usefixtures("_backups")
def test_a_limit_is_a_warning(zrb: Zrb, config: Path) -> None:
    config.write_text(config.read_text() + "prices: {STANDARD: 1000000}\n")
    assert zrb("cost", "--config", config, "--most", "1e9").code == 0
    ended = zrb("cost", "--config", config, "--most", "0.5", "--json")
    (warning,) = ended.document["warnings"]
    assert (ended.code, ended.document["exit_code"]) == (4, 4)
    assert f"warning: {warning}" in ended.err
    assert zrb("cost", "--config", config, "--most", "nan").code == 2
