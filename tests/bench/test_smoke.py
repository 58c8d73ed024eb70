# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The benchmark runs, on a little data and with the peers that are here. No figure is judged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed; tests/setup/packages installs it")
def test_every_table_is_filled(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        "-m",
        "tests.bench.run",
        "--size",
        "16",
        "--rounds",
        "1",
        "--long",
        "1",
        "--backups",
        "100",
    ]
    ended = subprocess.run(
        [*command, "--directory", str(tmp_path), "--json", str(figures)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(figures.read_text())
    tables = {title: table["rows"] for title, table in found.items() if title.startswith(("Backup", "Restore"))}
    assert len(tables) >= 3
    assert all(row["bytes_per_s"] > 0 for rows in tables.values() for row in rows.values())
    assert all(next(iter(rows)) == "zrb" for rows in tables.values())
    assert all(one["peak_bytes"] > 0 for one in found["memory"])
    assert [one["peak_bytes"] > 0 for one in found["lists"].values()] == [True] * 4
    assert list(tmp_path.iterdir()) == [figures]
