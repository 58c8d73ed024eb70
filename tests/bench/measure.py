# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command as a whole process tree: how long, how much processor time, how much memory."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_INTERVAL_S = 0.05
PIPE_BYTES = 1 << 20
"""Of the pipe that feeds a contender, the same for all. What Linux gives unasked, 64 KiB, measures the scheduler."""


@dataclass(frozen=True)
class Measured:
    """One run. ``cpu_s`` is user and system time of the command and all its children, and of what feeds it;
    ``peak_bytes`` is the highest sampled sum of the proportional set sizes of its processes, so that shared memory
    counts once."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str


def run(command: Sequence[str], *, env: dict[str, str] | None = None, fed_by: Sequence[str] = ()) -> Measured:
    """Run ``command`` to its end, its stdin being what ``fed_by`` writes. Raises
    :class:`subprocess.CalledProcessError` if it fails."""
    before = _children_cpu_s()
    started = time.monotonic()
    feeder, stdin = _feed(fed_by)
    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )
    if stdin >= 0:
        os.close(stdin)
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.extend(process.communicate()))
    reader.start()
    peak = 0
    while reader.is_alive():
        peak = max(peak, sum(_pss_bytes(pid) for pid in _processes_below(process.pid)))
        reader.join(SAMPLE_INTERVAL_S)
    wall = time.monotonic() - started
    if feeder is not None:
        feeder.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output[0], output[1])
    return Measured(wall, _children_cpu_s() - before, peak, output[0])


def _feed(command: Sequence[str]) -> tuple[subprocess.Popen[bytes] | None, int]:
    if not command:
        return None, subprocess.DEVNULL
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    feeder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writing)
    os.close(writing)
    return feeder, reading


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _processes_below(root: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += parents.get(pid, [])


def _pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
