# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are written completely or not at all, by whoever shares a directory."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zrb.state.durable_files import replace_durably


def test_several_of_the_same_process_id_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "state" / "file.json"
    texts = [f"{number}" * 1000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: [replace_durably(path, text) for _again in range(20)], texts))
    assert path.read_text() in texts
    assert [*path.parent.iterdir()] == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
