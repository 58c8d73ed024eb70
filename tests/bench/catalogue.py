# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb list`` of many backups of 100 datasets in a directory: the first time, and from what it remembers."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table
from zrb.values.json_records import write_record
from zrb.values.manifest import Manifest
from zrb.values.repository_names import Series
from zrb.values.strict_json import canonical_json

from tests.bench.commands import write_config, zrb
from tests.bench.measure import Measured, run
from tests.fixtures.committed_repository import CommittedRepository
from tests.fixtures.sample_manifests import sample_manifest

DATASETS = 100
LEVELS = (0, 1, 2, 2, 1, 2, 2)
"""One week of each dataset."""
MIB = 1024**2


def measure(scratch: Path, backups: int) -> dict[str, Measured]:
    """A list of a tenth of ``backups`` and one of all, each cold and warm."""
    measured = {}
    for count in (backups // 10, backups):
        place = scratch / f"catalogue-{count}"
        repository = CommittedRepository(place / "repository")
        fill(repository, count)
        config = write_config(place, repository, dataset="tank")
        for state in ("first", "again"):
            once = run([*zrb(), "list", "--config", str(config), "--json"])
            assert len(json.loads(once.stdout)["entries"]) == count
            measured[f"{count:,}, {state}"] = replace(once, stdout="")
        shutil.rmtree(place)
    return measured


def table(measured: dict[str, Measured]) -> Table:
    """What :func:`measure` gave."""
    shown = Table("backups", "CPU s", "wall s", "peak MiB", title=f"zrb list of {DATASETS} datasets in a directory")
    for name, one in measured.items():
        shown.add_row(name, f"{one.cpu_s:.1f}", f"{one.wall_s:.1f}", f"{one.peak_bytes / MIB:.0f}")
    return shown


def fill(repository: CommittedRepository, count: int) -> None:
    """Commit ``count`` backups, each with one part. Manifests are real; what a list does not read is empty."""
    for number in range(DATASETS):
        _fill_series(repository, f"tank/data{number:02d}", len(range(number, count, DATASETS)))


def _fill_series(repository: CommittedRepository, dataset: str, count: int) -> None:
    newest: dict[int, Manifest] = {}
    previous = None
    for seq in range(1, count + 1):
        level = LEVELS[(seq - 1) % len(LEVELS)]
        manifest = _manifest(repository, dataset, seq, level, newest.get(level - 1), previous)
        newest[level] = manifest
        payload = canonical_json(write_record(manifest))
        previous = hashlib.sha256(payload).hexdigest()
        series, backup_id = manifest.series, manifest.backup_id
        _write(repository, series.manifest_key(backup_id), repository.signing_key.sign(payload))
        _write(repository, series.part_list_key(backup_id), bytes(manifest.parts.bytes))
        _write(repository, series.part_key(backup_id, level, 0), b"")


def _manifest(
    repository: CommittedRepository, dataset: str, seq: int, level: int, base: Manifest | None, previous: str | None
) -> Manifest:
    one: Any = sample_manifest(seq, level=level, base=base, sizes=(100,))
    return replace(
        one,
        repository_id=repository.repository_id,
        dataset=replace(one.dataset, name=dataset),
        snapshot=replace(one.snapshot, name=f"{dataset}@{one.snapshot.name.partition('@')[2]}"),
        parts=replace(one.parts, key=Series(one.host, dataset).part_list_key(one.backup_id)),
        previous=previous,
    )


def _write(repository: CommittedRepository, key: str, content: bytes) -> None:
    path = repository.file_of(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
