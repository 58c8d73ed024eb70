# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tests see the same surroundings wherever they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STRANGE = {
    **{"TERM": "dumb", "COLUMNS": "10", "LINES": "2", "NO_COLOR": "1", "LC_ALL": "C", "TZ": "Asia/Kathmandu"},
    **{"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"},
    **{"ANSIBLE_STDOUT_CALLBACK": "none_such", "HOME": "/nowhere", "PYTHONUNBUFFERED": "1"},
}


def test_what_is_strange_outside_is_not_seen_inside() -> None:
    """What a terminal, a language or a home directory could spoil passes in strange ones."""
    tests = ["tests/unit/report/test_progress_lines.py", "tests/unit/store/test_s3_session.py"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | STRANGE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
