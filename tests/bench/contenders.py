# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is compared: each contender as the command that its users would type."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measure import Measured, run
from tests.bench.servers import BUCKET, KEYS, Endpoint

MIB = 1024 * 1024
Feed = Sequence[str]
"""The command that writes what is stored."""
Round = Callable[[Path], Measured]
"""Stores or restores once, in a fresh directory; what it prepares there is not measured."""


@dataclass(frozen=True)
class Programs:
    """Where the peers are. One that cannot be had is left out, and the report says so."""

    built: Path
    missing: list[str] = field(default_factory=list)

    def path(self, name: str) -> str | None:
        """The program's path: one that we built if it is there."""
        ours = self.built / name
        found = str(ours) if ours.exists() else None
        if found is None and name not in self.missing:
            self.missing.append(name)
        return found


@dataclass(frozen=True)
class Comparison:
    """One table: who stores, or fetches, the same bytes. The first contender is ours."""

    title: str
    contenders: Mapping[str, Round]


def to_directory(feed: Feed, recipient: str, programs: Programs, *, title: str) -> Comparison:
    """Backups to a directory."""
    contenders: dict[str, Round] = {
        "zrb": lambda place: _zrb(feed, str(place), recipient),
        "zrb, proof: false": lambda place: _zrb(feed, str(place), recipient, "proof=0"),
    }
    for name, program in restics(programs).items():
        contenders[f"{name} --compression off"] = _restic_backup(program, feed)
    contenders["split | age"] = lambda place: run(
        ["sh", "-c", f"split -b 256M -a 6 -d --filter='age -r {recipient} > $FILE' - {place}/part-"],
        fed_by=feed,
    )
    return Comparison(title, contenders)


def from_directory(feed: Feed, keys: tuple[str, str], scratch: Path) -> Comparison:
    """Restores from a directory into a pipe, which is what ``verify --depth decrypt`` does too."""
    identity, recipient = keys
    stored = scratch / "stored"
    (stored / "zrb").mkdir(parents=True)
    described = stored / "described.json"
    described.write_text(_zrb(feed, str(stored / "zrb"), recipient).stdout)
    identity_file = stored / "identity"
    identity_file.write_text(identity + "\n")
    split = f"split -b 256M -a 6 -d --filter='age -r {recipient} > $FILE' - {stored}/part-"
    run(["sh", "-c", split], fed_by=feed)
    ours = [sys.executable, "-m", "tests.bench.ours", "fetch", str(stored / "zrb"), identity, str(described)]
    piped = ["sh", "-c", f"for part in {stored}/part-*; do age -d -i {identity_file} $part; done"]
    return Comparison(
        "Restore from a directory into a pipe",
        {"zrb": lambda _place: _into_pipe(ours, {}), "age -d": lambda _place: _into_pipe(piped, {})},
    )


def scaling(feed: Feed, recipient: str, size: int) -> Comparison:
    """What a backup's speed depends on: cores and the size of parts. What is stored is thrown away."""

    def store(*options: str, cores: int = len(os.sched_getaffinity(0))) -> Round:
        chosen = ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))
        return lambda _place: _zrb(feed, "discard", recipient, *options, before=("taskset", "-c", chosen))

    rows = {"zrb": store(), "zrb on one core": store(cores=1)}
    rows |= {f"zrb, parts of {size // parts // MIB or 1} MiB": store(f"part_size={size // parts}") for parts in (2, 32)}
    rows["zrb, memory_limit 128 MiB"] = store(f"memory_limit={128 * MIB}")
    return Comparison("Backup from a pipe, thrown away", rows)


def to_sink(feed: Feed, recipient: str, endpoint: Endpoint) -> Comparison:
    """Backups to an endpoint that only answers: what our own side of S3 costs."""
    environment = {"BENCH_CA": endpoint.ca_bundle}

    def store(*options: str) -> Round:
        return lambda _place: _zrb(feed, endpoint.url, recipient, *options, environment=environment)

    kind = "https" if endpoint.ca_bundle else "http"
    return Comparison(
        f"Backup from a pipe to an S3 endpoint that only answers ({kind})",
        {"zrb": store(), "zrb, proof: false": store("proof=0")},
    )


def to_minio(feed: Feed, recipient: str, programs: Programs, endpoint: Endpoint) -> Comparison:
    """Backups from a pipe to MinIO."""
    contenders: dict[str, Round] = {"zrb": lambda place: _zrb(feed, endpoint.url, recipient, prefix=place.name)}
    for name, program in restics(programs).items():
        contenders[f"{name} --compression off"] = _restic_backup(program, feed, endpoint)
    if rclone := programs.path("rclone"):
        contenders["age | rclone rcat"] = lambda place: run(
            ["sh", "-c", f"age -r {recipient} | {rclone} rcat :s3:{BUCKET}/{place.name}"],
            env=_rclone(endpoint),
            fed_by=feed,
        )
    return Comparison("Backup from a pipe to MinIO", contenders)


def from_minio(feed: Feed, keys: tuple[str, str], programs: Programs, endpoint: Endpoint, scratch: Path) -> Comparison:
    """Restores from MinIO into a pipe. What is restored is stored here first."""
    identity, recipient = keys
    described = scratch / "described.json"
    described.write_text(_zrb(feed, endpoint.url, recipient, prefix="restore").stdout)
    identity_file = scratch / "identity"
    identity_file.write_text(identity + "\n")
    ours = [sys.executable, "-m", "tests.bench.ours", "fetch", endpoint.url, identity, str(described)]
    contenders: dict[str, Round] = {
        "zrb": lambda _place: _into_pipe(ours, {**KEYS, "BENCH_PREFIX": "restore/"}),
    }
    if rclone := programs.path("rclone"):
        name = f":s3:{BUCKET}/restored.age"
        stored = f"age -r {recipient} | {rclone} rcat {name}"
        run(["sh", "-c", stored], env=_rclone(endpoint), fed_by=feed)
        piped = ["sh", "-c", f"{rclone} cat {name} | age -d -i {identity_file}"]
        contenders["rclone cat | age -d"] = lambda _place: _into_pipe(piped, _rclone(endpoint))
    for name, program in restics(programs).items():
        prefix = f"restore-{name.replace(' ', '-')}"
        environment = _restic_environment(scratch / "restic-cache", endpoint, prefix=prefix)
        run([program, "init", "--quiet", "--repository-version", "2"], env=environment)
        backup = [program, "backup", "--quiet", "--stdin", "--compression", "off"]
        run(backup, env=environment, fed_by=feed)
        contenders[f"{name} dump"] = _restic_dump(program, environment)
    return Comparison("Restore from MinIO into a pipe", contenders)


def restics(programs: Programs) -> dict[str, str]:
    """Debian's restic and the newest one, by name and version."""
    found = [path for path in (shutil.which("restic"), programs.path("restic")) if path]
    return {_version(path): path for path in found}


def _version(path: str) -> str:
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:2])


def _zrb(
    feed: Feed,
    place: str,
    recipient: str,
    *options: str,
    prefix: str = "zrb",
    environment: Mapping[str, str] = {},
    before: Sequence[str] = (),
) -> Measured:
    command = [*before, sys.executable, "-m", "tests.bench.ours", "store", place, recipient, *options]
    return run(command, env={**KEYS, **environment, "BENCH_PREFIX": f"{prefix}/"}, fed_by=feed)


def _restic_backup(program: str, feed: Feed, endpoint: Endpoint | None = None) -> Round:
    def backup(place: Path) -> Measured:
        environment = _restic_environment(place, endpoint, prefix=place.name)
        run([program, "init", "--quiet", "--repository-version", "2"], env=environment)
        command = [program, "backup", "--quiet", "--stdin", "--compression", "off"]
        return run(command, env=environment, fed_by=feed)

    return backup


def _restic_dump(program: str, environment: dict[str, str]) -> Round:
    return lambda _place: _into_pipe([program, "dump", "--quiet", "latest", "stdin"], environment)


def _into_pipe(command: list[str], environment: dict[str, str]) -> Measured:
    quoted = " ".join(command) if command[0] != "sh" else command[2]
    return run(["sh", "-c", f"{{ {quoted}; }} | cat > /dev/null"], env=environment)


def _restic_environment(place: Path, endpoint: Endpoint | None, *, prefix: str) -> dict[str, str]:
    repository = f"s3:{endpoint.url}/{BUCKET}/{prefix}" if endpoint else str(place / "repository")
    environment = {"RESTIC_PASSWORD": "benchmark", "RESTIC_REPOSITORY": repository}
    return {**KEYS, **environment, "RESTIC_CACHE_DIR": str(place / "cache")}


def _rclone(endpoint: Endpoint) -> dict[str, str]:
    return {
        **KEYS,
        "RCLONE_S3_PROVIDER": "Minio",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": endpoint.url,
        "RCLONE_CONFIG": "/dev/null",
    }


@contextmanager
def fresh_directory(scratch: Path) -> Iterator[Path]:
    """A directory for one round."""
    path = Path(tempfile.mkdtemp(dir=scratch))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
