# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test run on machines takes everything with it that it started, however it ends."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.vm.testbed.places import CHECKOUT, cache_root, workplace

START_S = 120
END_S = 120

_MAKE_FOR_EVER = """
import time
from tests.vm.testbed.places import workplace
with workplace("image") as place:
    (place / "half").mkdir()
    print("at it", flush=True)
    time.sleep(3600)
"""


def processes_that_name(place: Path) -> dict[int, str]:
    """Process ids and command lines of those that have ``place`` in an argument."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(place) in words:
                found[int(process.name)] = words
    return found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run inside a machine, as a terminal starts it; its disks are below ``tmp_path``."""
    words = [sys.executable, "-m", "tests.vm.testbed", "test-openzfs", "--report", str(tmp_path / "report")]
    with subprocess.Popen(
        [*words, "tests/vm/openzfs/test_bases.py"],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def press_ctrl_c(run: subprocess.Popen[bytes]) -> None:
    os.killpg(run.pid, signal.SIGINT)


def kill(run: subprocess.Popen[bytes]) -> None:
    os.killpg(run.pid, signal.SIGKILL)


def stop_reading(run: subprocess.Popen[bytes]) -> None:
    assert run.stdout is not None
    run.stdout.close()


@pytest.mark.parametrize(
    ("end", "status"),
    [(press_ctrl_c, 128 + signal.SIGINT), (kill, -signal.SIGKILL), (stop_reading, 128 + signal.SIGPIPE)],
)
def test_a_run_that_ends_early_leaves_no_machine(
    run: subprocess.Popen[bytes], tmp_path: Path, end: Callable[[subprocess.Popen[bytes]], None], status: int
) -> None:
    wait_for_machine(run, tmp_path)
    with ExitStack() as handles:
        running = []
        for pid in processes_that_name(tmp_path):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                running.append(os.pidfd_open(pid))
                handles.callback(os.close, running[-1])
        assert running
        end(run)
        run.wait(END_S)
        for handle in running:
            assert select.select([handle], [], [], END_S)[0], "the machine, or a connection to it, is still there"
    assert processes_that_name(tmp_path) == {}
    assert run.returncode == status
    if end is not kill:
        assert list(tmp_path.glob("zrb-*")) == []


def test_what_a_killed_preparation_left_goes_with_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", _MAKE_FOR_EVER], cwd=CHECKOUT, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
    (left,) = cache_root().iterdir()
    assert (left / "half").exists()
    with workplace("layer"):
        assert left.exists(), "that of another work may be going on"
    with workplace("image") as place:
        assert list(cache_root().iterdir()) == [place]
    assert list(cache_root().iterdir()) == []


def wait_for_machine(run: subprocess.Popen[bytes], place: Path) -> None:
    """Return once ``run`` has a machine."""
    for _ in range(START_S * 10):
        if any(words.startswith("qemu-system") for words in processes_that_name(place).values()):
            return
        with suppress(subprocess.TimeoutExpired):
            run.wait(0.1)
            pytest.fail(f"the run ended with status {run.returncode}")
    pytest.fail(f"no machine was started within {START_S} s")
