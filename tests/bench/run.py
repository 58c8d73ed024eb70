# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare speed, processor time and memory with other programs, in one run on one machine.

    make bench                       or: .venv/bin/python -m tests.bench.run --help

All contenders of a table move the same random bytes, one after the other in every round, so that what else the machine
does hits all alike. Then memory, for short and long streams, and the processor time of the commands that are typed
most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from zrb.seal.age_keys import new_identity
from zrb.values.config import Limits

from tests.bench import catalogue, commands, contenders, servers, stages, zfs_source
from tests.bench.contenders import Comparison, Programs, fresh_directory
from tests.bench.measure import Measured, run

GIB = 1024**3
MIB = 1024**2
BUILT = Path(__file__).parents[2] / ".cache" / "bench" / "bin"
CORES = len(os.sched_getaffinity(0))


def main() -> int:
    """Run everything, print the tables, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, metavar="MIB", help="of random bytes (default: 2048)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--long", type=int, default=32, metavar="GIB", help="of the long stream (default: 32)")
    parser.add_argument("--backups", type=int, default=100_000, help="to list (default: 100000)")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help="a tmpfs, thrice the size")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    bench = Bench(Console(width=max(100, Console().width)), rounds=args.rounds)
    try:
        with tempfile.TemporaryDirectory(prefix="zrb-bench-", dir=args.directory) as name:
            bench.run_all(Path(name), size=args.size * MIB, long_gib=args.long, backups=args.backups)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{' '.join(error.cmd)} ended with status {error.returncode}:\n{error.stderr}\n")
        return 1
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(bench.figures, indent=2) + "\n", encoding="utf-8")
    return 0


class Bench:
    """One run of all tables. ``figures`` collects what they show."""

    def __init__(self, console: Console, *, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self.figures: dict[str, Any] = {}

    def run_all(self, scratch: Path, *, size: int, long_gib: int, backups: int) -> None:
        """Every table."""
        programs = Programs(BUILT)
        self._console.print(_machine(programs))
        source = scratch / "source"
        with source.open("wb") as file:
            subprocess.run(["head", "-c", str(size), "/dev/urandom"], stdout=file, check=True)
        # Of the classic kind, which every age opens: the payload is the same for both.
        keys = new_identity("classic")
        feed = ["cat", str(source)]
        directory = contenders.to_directory(feed, keys[1], programs, title="Backup from a pipe to a directory")
        self.compare(directory, scratch, size, floor_for=(source, keys[1]))
        self.compare(contenders.from_directory(feed, keys, scratch), scratch, size)
        shutil.rmtree(scratch / "stored")
        for tls in (False, True):
            with servers.sink(scratch, tls=tls) as endpoint:
                self.compare(contenders.to_sink(feed, keys[1], endpoint), scratch, size)
        if server := programs.path("minio"):
            with servers.minio(Path(server), scratch / "minio") as endpoint:
                self.compare(contenders.to_minio(feed, keys[1], programs, endpoint), scratch, size)
                self.compare(contenders.from_minio(feed, keys, programs, endpoint, scratch), scratch, size)
            shutil.rmtree(scratch / "minio")
        self.compare(contenders.scaling(feed, keys[1], size), scratch, size)
        if zfs := zfs_source.zfs_here():
            with zfs_source.snapshot_of(source, scratch) as snapshot:
                title = f"Backup of a dataset ({zfs}) to a directory"
                sent = ["zfs", "send", snapshot]
                self.compare(contenders.to_directory(sent, keys[1], programs, title=title), scratch, size)
        source.unlink()
        self.memory(keys[1], long_gib)
        self._console.print(commands.table(scratch))
        lists = catalogue.measure(scratch, backups)
        self._console.print(catalogue.table(lists))
        self.figures["lists"] = {
            name: {"cpu_s": one.cpu_s, "wall_s": one.wall_s, "peak_bytes": one.peak_bytes}
            for name, one in lists.items()
        }
        if programs.missing:
            self._console.print(f"Left out, since tests/setup/bench-peers did not build them: {programs.missing}")

    def compare(
        self, comparison: Comparison, scratch: Path, size: int, *, floor_for: tuple[Path, str] | None = None
    ) -> None:
        """One table: every contender in every round."""
        measured: dict[str, list[Measured]] = {name: [] for name in comparison.contenders}
        speeds: list[dict[str, float]] = []
        for _ in range(self._rounds):
            for name, once in comparison.contenders.items():
                _touch_memory(scratch, size)
                with fresh_directory(scratch) as place:
                    measured[name].append(once(place))
                _forget_objects(scratch)
            if floor_for:
                speeds.append(stages.stage_speeds(*floor_for, scratch, cores=CORES))
        rows = {name: _row(rounds, size) for name, rounds in measured.items()}
        ours = next(iter(rows.values()))["bytes_per_s"]
        table = Table("", "MB/s", "min … max", "ratio", "CPU s/GB", "peak MiB", title=comparison.title)
        for name, row in rows.items():
            row["ratio"] = ours / row["bytes_per_s"]
            table.add_row(
                name,
                f"{row['bytes_per_s'] / 1e6:.0f}",
                f"{row['slowest'] / 1e6:.0f} … {row['fastest'] / 1e6:.0f}",
                f"{row['ratio']:.2f}",
                f"{row['cpu_s_per_gb']:.2f}",
                f"{row['peak_bytes'] / MIB:.0f}",
            )
        for proof, name in ((True, "zrb"), (False, "zrb, proof: false")) if speeds else ():
            floor = statistics.median(stages.floor(speed, cores=CORES, proof=proof) for speed in speeds)
            share = rows[name]["bytes_per_s"] / floor
            rows[f"floor of {name}"] = {"bytes_per_s": floor, "ratio": share}
            table.add_row(f"floor of {name}, {CORES} cores", f"{floor / 1e6:.0f}", "", f"{share:.2f}", "", "")
        self._console.print(table)
        if speeds:
            self._stages(speeds)
        self.figures[comparison.title] = {"size_bytes": size, "rounds": self._rounds, "rows": rows}

    def _stages(self, speeds: list[dict[str, float]]) -> None:
        table = Table("stage, each core, all busy", "MB/s", "CPU s/GB", title="What the floor is made of")
        for stage in speeds[0]:
            speed = statistics.median(one[stage] for one in speeds)
            table.add_row(stage, f"{speed / 1e6:.0f}", f"{1e9 / speed:.2f}")
            self.figures.setdefault("stages", {})[stage] = speed
        self._console.print(table)

    def memory(self, recipient: str, long_gib: int) -> None:
        """Peak memory of all processes; what is stored is thrown away."""
        limit = Limits().memory_limit
        table = Table("stream", "memory_limit MiB", "peak MiB", "over it MiB", title="Memory of all processes")
        figures = self.figures["memory"] = []
        for gib, allowed in ((1, limit), (long_gib, limit), (1, 128 * MIB)):
            ours = [sys.executable, "-m", "tests.bench.ours", "store", "discard", recipient, f"memory_limit={allowed}"]
            peak = run(ours, fed_by=["head", "-c", str(gib * GIB), "/dev/zero"]).peak_bytes
            over = peak - allowed
            table.add_row(f"{gib} GiB", f"{allowed / MIB:.0f}", f"{peak / MIB:.0f}", f"{over / MIB:+.0f}")
            figures.append({"stream_gib": gib, "memory_limit": allowed, "peak_bytes": peak})
        self._console.print(table)


def _row(rounds: list[Measured], size: int) -> dict[str, float]:
    speeds = [size / measured.wall_s for measured in rounds]
    return {
        "bytes_per_s": statistics.median(speeds),
        "slowest": min(speeds),
        "fastest": max(speeds),
        "cpu_s_per_gb": statistics.median(measured.cpu_s for measured in rounds) / size * 1e9,
        "peak_bytes": max(measured.peak_bytes for measured in rounds),
    }


def _touch_memory(scratch: Path, size: int) -> None:
    """Use as much of the tmpfs as a contender will, and give it back. A virtual machine is slow to get memory that it
    did not use before from its host: whoever came first would pay for all."""
    filled = scratch / "touched"
    with filled.open("wb") as file:
        for _ in range(size * 5 // 4 // MIB):
            file.write(bytes(MIB))
    filled.unlink()


def _forget_objects(scratch: Path) -> None:
    """Empty MinIO's bucket of what the last round stored; what a restore reads stays."""
    bucket = scratch / "minio" / servers.BUCKET
    for path in bucket.iterdir() if bucket.exists() else ():
        if not path.name.startswith("restore"):
            shutil.rmtree(path)


def _machine(programs: Programs) -> str:
    age = subprocess.run(["age", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    versions = [f"Python {platform.python_version()}", *contenders.restics(programs), f"age {age}"]
    return f"{CORES} cores, Linux {platform.release()}, {', '.join(versions)}"


if __name__ == "__main__":
    sys.exit(main())
