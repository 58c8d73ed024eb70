# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real ZFS for tests: the machine's OpenZFS where it runs, else zfs-fuse; pools on sparse files.

From the first test to the last, ``zfs`` and ``zpool`` on PATH are guarded: see pool_guard.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from tests.integration import pool_guard

SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
DISPOSABLE_MACHINE = os.environ.get("ZRB_TEST_OPENZFS") == "inside"
"""There is no pool to guard, and under emulation the guard takes longer than the commands."""
DAEMON_RECORD = Path("/run/zrbtest-zfs-fuse.pid")
START_LOCK = Path("/run/zrbtest-zfs-fuse.start")
DAEMON_START_S = 20.0
DAEMON_STOP_S = 30.0
POOL_DESTROY_S = 90.0
POOL_BYTES = 512 << 20


@dataclass(frozen=True)
class MadePool:
    """A pool of a test's own. ``restore`` is a dataset of it with ``mountpoint=none``: receive below it."""

    name: str
    mountpoint: Path

    @property
    def restore(self) -> str:
        """A parent for received datasets, whose mountpoint is harmless."""
        return f"{self.name}/restore"


@dataclass(frozen=True)
class MadeDataset:
    """A mounted filesystem in a pool of a test's own."""

    name: str
    mountpoint: Path


def command(*arguments: str) -> str:
    """Run a command, fail the test with its stderr where it fails, and return its stdout."""
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode:
        pytest.fail(f"{' '.join(arguments)}: status {ended.returncode}: {ended.stderr}")
    return ended.stdout


@pytest.fixture(scope="session", autouse=True)
def pool_guard_on_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put guarded ``zfs`` and ``zpool`` first on PATH; on a machine made for these tests, the programs themselves."""
    directory = tmp_path_factory.mktemp("pool-guard")
    before = os.environ.get("PATH", os.defpath)
    for program in ("zfs", "zpool"):
        real = shutil.which(program, path=f"{before}:{SYSTEM_PATH}")
        if real:
            shim = directory / program
            if DISPOSABLE_MACHINE:
                shim.symlink_to(real)
                continue
            shim.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {pool_guard.__file__} {program} {real} "$@"\n')
            shim.chmod(0o755)
    os.environ["PATH"] = f"{directory}:{before}"
    yield directory
    os.environ["PATH"] = before


def _answers() -> bool:
    """Whether a ZFS runs behind the commands."""
    return subprocess.run(["zpool", "list", "-H"], capture_output=True, check=False).returncode == 0


def _unavailable(reason: str) -> None:
    """A rung that cannot run is an error in CI, and a skip that says why elsewhere."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"no ZFS for these tests: {reason}")
    pytest.skip(f"no ZFS for these tests: {reason}")


@pytest.fixture(scope="session")
def real_zfs(pool_guard_on_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A ZFS that runs. A zfs-fuse that a test session started ends with the last session that uses it."""
    for program in ("zfs", "zpool"):
        if not (pool_guard_on_path / program).exists():
            _unavailable(f"{program} is not installed; tests/setup/zfs-available installs it")
    if os.geteuid():
        _unavailable("making pools needs root")
    with DAEMON_RECORD.open("a+") as record:
        with START_LOCK.open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            # Shared by all sessions that use the daemon; whoever gets it alone in the end is the last of them.
            fcntl.flock(record, fcntl.LOCK_SH)
            if not _answers():
                _start_daemon(record, tmp_path_factory.mktemp("zfs-fuse") / "log")
        yield
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        _stop_daemon(record)


def _start_daemon(record: IO[str], log: Path) -> None:
    program = shutil.which("zfs-fuse", path=f"{os.environ['PATH']}:{SYSTEM_PATH}")
    if not program:
        _unavailable("the kernel module of OpenZFS is not loaded and zfs-fuse is not installed")
        return
    if not Path("/dev/fuse").exists():
        _unavailable("/dev/fuse is missing")
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [program, "-n", "-x", "--no-kstat-mount"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + DAEMON_START_S
    while not _answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            daemon.kill()
            daemon.wait()
            _unavailable(f"zfs-fuse did not start: {log.read_text(errors='replace')}")
        time.sleep(0.05)
    record.seek(0)
    record.truncate()
    record.write(f"{daemon.pid}\n")
    record.flush()


def _stop_daemon(record: IO[str]) -> None:
    """End the daemon that a test session recorded, this one or one that was killed; no other."""
    record.seek(0)
    recorded = record.read().strip()
    record.seek(0)
    record.truncate()
    if not recorded:
        return
    try:
        handle = os.pidfd_open(int(recorded))
    except ProcessLookupError:
        return
    try:
        if Path(f"/proc/{recorded}/exe").readlink().name != "zfs-fuse":
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], DAEMON_STOP_S)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)


@contextmanager
def pools_below(directory: Path, *, pool_bytes: int = POOL_BYTES) -> Iterator[Callable[[], MadePool]]:
    """Make pools, each on a sparse file in ``directory``; they are destroyed in the end."""
    made: list[tuple[str, Path]] = []

    def make() -> MadePool:
        name = f"{pool_guard.TEST_POOL_PREFIX}-{secrets.token_hex(4)}"
        image = directory / f"{name}.img"
        with image.open("wb") as file:
            file.truncate(pool_bytes)
        pool = MadePool(name=name, mountpoint=directory / name)
        made.append((name, image))
        command("zpool", "create", "-o", "cachefile=none", "-m", str(pool.mountpoint), name, str(image))
        command("zfs", "create", "-o", "mountpoint=none", pool.restore)
        return pool

    try:
        yield make
    finally:
        _destroy(made)


@pytest.fixture
def make_pool(real_zfs: None, tmp_path: Path) -> Iterator[Callable[[], MadePool]]:
    """Make pools that are destroyed after the test."""
    with pools_below(tmp_path) as make:
        yield make


def _destroy(made: list[tuple[str, Path]]) -> None:
    left = []
    for name, image in made:
        if problem := problem_destroying(name):
            left.append(f"{name}: {problem}")
        else:
            image.unlink(missing_ok=True)
    if left:
        pytest.fail("pools could not be destroyed: " + "; ".join(left))


def problem_destroying(name: str) -> str:
    """Destroy a pool. Returns why it could not be destroyed, or nothing."""
    # zfs-fuse lets go of a filesystem some moments after it was unmounted; until then the pool is busy.
    deadline = time.monotonic() + POOL_DESTROY_S
    while True:
        ended = subprocess.run(["zpool", "destroy", "-f", name], capture_output=True, text=True, check=False)
        if not ended.returncode or "no such pool" in ended.stderr:
            return ""
        if "busy" not in ended.stderr or time.monotonic() > deadline:
            return ended.stderr.strip()
        time.sleep(0.02)


@pytest.fixture
def zpool(make_pool: Callable[[], MadePool]) -> MadePool:
    """A fresh pool with the dataset ``restore``."""
    return make_pool()


def create_dataset(pool: MadePool, path: str, **properties: str) -> MadeDataset:
    """Make a mounted filesystem, and its parents."""
    name = f"{pool.name}/{path}"
    options = [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]
    command("zfs", "create", "-p", *options, name)
    return MadeDataset(name=name, mountpoint=pool.mountpoint / path)


@pytest.fixture
def make_dataset(zpool: MadePool) -> Callable[..., MadeDataset]:
    """Make a mounted filesystem: ``make_dataset("a/b", atime="off")``; parents are made too."""
    return partial(create_dataset, zpool)
