# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processor time of the commands that are typed most: ``list`` of 1,000 backups, a dry run of one dataset."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.table import Table
from zrb.run.keys import write_signing_key

from tests.bench.measure import run
from tests.fixtures.committed_repository import CommittedRepository

BACKUPS = 1000
ALLOWED_CPU_S = 2.0


def table(scratch: Path) -> Table:
    """Both commands, as the share of two seconds of processor time that they may take."""
    shown = Table("command", "CPU s", "of 2 s", title="Commands")
    for name, cpu_s in (
        ("zrb list, 1,000 backups", _list(scratch)),
        ("zrb backup --level 0 --dry-run", _dry_run(scratch)),
    ):
        shown.add_row(
            name,
            "no ZFS here" if cpu_s is None else f"{cpu_s:.2f}",
            "" if cpu_s is None else f"{cpu_s / ALLOWED_CPU_S:.2f}",
        )
    return shown


def _list(scratch: Path) -> float:
    place = scratch / "list"
    repository = CommittedRepository(place / "repository")
    full = repository.commit(size=100)
    for _ in range(BACKUPS - 1):
        repository.commit(1, base=full, size=100)
    config = write_config(place, repository, dataset="tank/data")
    measured = run([*zrb(), "list", "--config", str(config), "--json"])
    assert len(json.loads(measured.stdout)["entries"]) == BACKUPS
    return measured.cpu_s


def _dry_run(scratch: Path) -> float | None:
    place = scratch / "dry-run"
    repository = CommittedRepository(place / "repository")
    with _dataset(place) as dataset:
        if dataset is None:
            return None
        config = write_config(place, repository, dataset=dataset)
        return run([*zrb(), "backup", "--level", "0", "--dry-run", "--config", str(config)]).cpu_s


@contextmanager
def _dataset(place: Path) -> Iterator[str | None]:
    """A dataset on a pool of its own; ``None`` if no ZFS runs."""
    zpool = shutil.which("zpool", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/bin")
    if zpool is None or subprocess.run([zpool, "list"], capture_output=True, check=False).returncode:
        yield None
        return
    pool, image = f"zrbtest-{secrets.token_hex(4)}", place / "pool.img"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run([zpool, "create", "-m", "none", pool, str(image)], check=True)
    try:
        yield pool
    finally:
        subprocess.run([zpool, "destroy", "-f", pool], check=True)


def write_config(place: Path, repository: CommittedRepository, *, dataset: str) -> Path:
    """A configuration for ``repository`` with one task."""
    pool, _, below = dataset.partition("/")
    signing_key = place / "signing.key"
    write_signing_key(signing_key)
    path = place / "config.yaml"
    path.write_text(
        f"""
base_dir: {place / "state"}
host: nas1
age_public_key: {repository.age_key[1]}
signing_key: {signing_key}
trusted_signers: [{repository.signing_key.public}]
local: {{enabled: true, path: {repository.path}}}
tasks:
  - {{name: bench, pool: {pool}, dataset: "{below}"}}
"""
    )
    path.chmod(0o600)
    return path


def zrb() -> list[str]:
    """The command."""
    return [sys.executable, "-m", "zrb.command"]
