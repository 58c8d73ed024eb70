# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Speed and memory of the pipeline against others, interleaved in one run on one machine, as ratios.

    make bench                       or: .venv/bin/python -m tests.bench.run --help

Ours and restic store the same random bytes from a pipe into a directory on tmpfs; the shell pipeline is what people
build by hand. Then memory, for a short and for a long stream, and the processor time of the commands that are typed
most.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table
from zrb.seal.age import new_identity
from zrb.values.config import Limits

from tests.bench import commands, stages
from tests.bench.measure import Measured, run

GIB = 1024**3
MIB = 1024**2
MEMORY_LIMIT = Limits().memory_limit


def main() -> int:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2, help="GiB of random bytes for the speed table (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--long", type=int, default=32, help="GiB of the long stream in the memory table (default: 32)")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="a tmpfs with room for twice the size")
    args = parser.parse_args()
    console = Console(width=max(100, Console().width))
    console.print(_machine())
    with tempfile.TemporaryDirectory(prefix="zrb-bench-", dir=args.directory) as name:
        scratch = Path(name)
        source = scratch / "source"
        _make_random(source, args.size * GIB)
        console.print(speed_table(source, scratch, args.rounds))
        source.unlink()
        console.print(memory_table(scratch, args.long))
        console.print(commands.table(scratch))
    return 0


def speed_table(source: Path, scratch: Path, rounds: int) -> Table:
    """Every contender in every round, so that what else the machine does hits all alike."""
    recipient = new_identity()[1]
    contenders = {
        "zrb": lambda repository: _ours(source, str(repository), recipient),
        "restic --compression off": lambda repository: _restic(source, repository),
        "split | age (shell)": lambda repository: _shell(source, repository, recipient),
    }
    results: dict[str, list[Measured]] = {contender: [] for contender in contenders}
    floors = []
    for _ in range(rounds):
        for contender, store in contenders.items():
            with _fresh_directory(scratch) as repository:
                results[contender].append(store(repository))
        floors.append(stages.floor(stages.stage_speeds(source, recipient, scratch), cores=os.cpu_count() or 1))
    size = source.stat().st_size
    table = Table("", "MB/s", "ratio", "CPU s/GB", "peak MiB", title=_title(size, rounds))
    ours = statistics.median(size / result.wall_s for result in results["zrb"])
    for contender, measured in results.items():
        speed = statistics.median(size / result.wall_s for result in measured)
        table.add_row(
            contender,
            f"{speed / 1e6:.0f}",
            f"{ours / speed:.2f}",
            f"{statistics.median(result.cpu_s for result in measured) / size * 1e9:.2f}",
            f"{max(result.peak_bytes for result in measured) / MIB:.0f}",
        )
    floor = statistics.median(floors)
    table.add_row(f"floor of the stages, {os.cpu_count()} cores", f"{floor / 1e6:.0f}", f"{ours / floor:.2f}", "", "")
    return table


def memory_table(scratch: Path, long_gib: int) -> Table:
    """Peak memory of all processes for a short and a long stream; what is stored is thrown away."""
    recipient = new_identity()[1]
    allowed = MEMORY_LIMIT + 200 * MIB
    table = Table("stream", "peak MiB", "of memory_limit + 200 MiB", title="Memory of all processes")
    for gib in (1, long_gib):
        ours = f"{sys.executable} -m tests.bench.ours discard {recipient} {MEMORY_LIMIT}"
        command = f"head -c {gib * GIB} /dev/zero | {ours}"
        peak = run(["sh", "-c", command]).peak_bytes
        table.add_row(f"{gib} GiB", f"{peak / MIB:.0f}", f"{peak / allowed:.2f}")
    return table


def _ours(source: Path, repository: str, recipient: str) -> Measured:
    ours = f"{sys.executable} -m tests.bench.ours {repository} {recipient} {MEMORY_LIMIT}"
    return run(["sh", "-c", f"cat {source} | {ours}"])


def _restic(source: Path, repository: Path) -> Measured:
    env = {
        "RESTIC_PASSWORD": "benchmark",
        "RESTIC_REPOSITORY": str(repository),
        "RESTIC_CACHE_DIR": str(repository / "c"),
    }
    run(["restic", "init", "--quiet", "--repository-version", "2"], env=env)
    return run(["sh", "-c", f"cat {source} | restic backup --quiet --stdin --compression off"], env=env)


def _shell(source: Path, repository: Path, recipient: str) -> Measured:
    part = f"age -r {recipient} > $FILE"
    return run(["sh", "-c", f"cat {source} | split -b 256M -a 6 -d --filter='{part}' - {repository}/part-"])


@contextmanager
def _fresh_directory(scratch: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(dir=scratch))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def _make_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        subprocess.run(["head", "-c", str(size), "/dev/urandom"], stdout=file, check=True)


def _title(size: int, rounds: int) -> str:
    return f"{size / GIB:.0f} GiB of random bytes from a pipe to tmpfs, median of {rounds} interleaved rounds"


def _machine() -> str:
    versions = [
        f"Python {platform.python_version()}",
        subprocess.run(["restic", "version"], capture_output=True, text=True, check=True).stdout.split(" compiled")[0],
        "age " + subprocess.run(["age", "--version"], capture_output=True, text=True, check=True).stdout.strip(),
    ]
    return f"{os.cpu_count()} cores, Linux {platform.release()}, {', '.join(versions)}"


if __name__ == "__main__":
    sys.exit(main())
