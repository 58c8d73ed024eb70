# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A signal stops a run cleanly, and the next run goes on."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fixtures.file_tree import describe_tree

from .conftest import MIB, CommandLine

pytestmark = pytest.mark.zfs


def processes_with(argument: str) -> list[str]:
    """Process ids of those that have ``argument`` on their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if argument.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(process.name)
    return found


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_backup_cleanly_and_the_next_one_resumes(
    local_zrb: CommandLine, number: signal.Signals, code: int
) -> None:
    (local_zrb.files / "big").write_bytes(random.Random(1).randbytes(4 * MIB))
    local_zrb.edit(bandwidth_limit=1 * MIB)
    words = local_zrb.words("backup", "--level", 0, "--progress", "json", "--json")
    with subprocess.Popen(
        words, env=local_zrb.context(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            record = json.loads(line)
            if record["type"] == "progress" and record["current"] >= MIB:
                break
        process.send_signal(number)
        err, out = process.stderr.read(), process.stdout.read()
    assert process.returncode == code, err
    assert f"signal {int(number)}." in err
    assert json.loads(out)["exit_code"] == code
    assert processes_with(str(local_zrb.config)) == [], "no process is left"
    assert local_zrb.nas.keys("manifests/") == []
    assert local_zrb("list").succeeded().out == "No matching backups.\n"

    local_zrb.edit(bandwidth_limit=0)
    files = describe_tree(local_zrb.files)
    result = local_zrb.back_up(0)
    assert result["parts_resumed"] > 0
    local_zrb("restore", "--target", local_zrb.nas.target(), "--private-key", local_zrb.nas.identity).succeeded()
    local_zrb.nas.assert_restored(local_zrb.nas.target(), files)


def test_two_runs_at_once(local_zrb: CommandLine) -> None:
    (local_zrb.files / "big").write_bytes(random.Random(1).randbytes(4 * MIB))
    local_zrb.edit(bandwidth_limit=MIB // 64)  # so that the first is never done before the second
    with subprocess.Popen(
        local_zrb.words("backup", "--level", 0, "--progress", "json"),
        env=local_zrb.context(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stderr is not None
        next(first.stderr)
        second = local_zrb("backup", "--level", 0, "--progress", "none")
        first.terminate()
        first.stderr.read()
    assert second.code == 3
    assert f"pid {first.pid}" in second.err and local_zrb.nas.dataset.name in second.err
    assert first.returncode == 143
    local_zrb.edit(bandwidth_limit=0)
    local_zrb.back_up(0)
