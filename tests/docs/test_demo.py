# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make demo``, the first thing that the README asks a reader to type, does what it says there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.stage import ROOT

pytestmark = [pytest.mark.zfs, pytest.mark.s3]


def make(target: str, pool_guard: Path) -> subprocess.CompletedProcess[str]:
    """Run a target as a user would: the pool of the demo is not one of a test, so the guard is taken off PATH."""
    path = os.pathsep.join(place for place in os.environ["PATH"].split(os.pathsep) if place != str(pool_guard))
    return subprocess.run(
        ["make", target],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def demo(real_zfs: None, pool_guard_on_path: Path) -> Iterator[subprocess.CompletedProcess[str]]:
    """The demo, run; what it made is removed afterwards."""
    yield make("demo", pool_guard_on_path)
    removed = make("demo-clean", pool_guard_on_path)
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert not (ROOT / ".demo").exists()


def test_the_demo_restores_what_it_backed_up(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "failed=0" in demo.stdout
    report = (ROOT / ".demo" / "report.txt").read_text(encoding="utf-8")
    assert report in demo.stdout
    for line in ("level 0 to S3", "level 1 to S3", "level 2 to S3", "decrypted and verified: 3 backups"):
        assert line in report
    assert "compared file by file" in report
