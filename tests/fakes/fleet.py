# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A NAS without root: the fake ZFS, a repository in memory, real keys, small limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path, PurePosixPath
from random import Random
from typing import Any

from zrb.repository.catalogue import read_catalogue
from zrb.repository.part_list import open_part_list
from zrb.repository.signed_objects import read_manifest
from zrb.run.backup import BackupOutcome, BackupPlan, BackupResult, back_up, plan_backup
from zrb.run.context import Context
from zrb.run.keys import write_signing_key
from zrb.run.restore import RestoreResult, RestoreSelection, restore
from zrb.seal.age_keys import new_identity
from zrb.values.config import KIB, MIB, Config, Limits, S3Settings, Task
from zrb.values.manifest import Manifest, Part

from tests.fakes.store import MemoryStore
from tests.fakes.zfs import FakeZfs

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
LIMITS = Limits(part_size=64 * KIB, chunk_size=16 * KIB, memory_limit=20 * MIB, workers=3)
DATASET = "tank/data"
TAG = "zrb:00000001"
"""Of the repository that the first run makes."""


def random_bytes(length: int, seed: int = 1) -> bytes:
    """The same bytes for the same seed."""
    return Random(seed).randbytes(length)


@dataclass
class Recorded:
    """A :class:`zrb.values.progress.Progress` that remembers."""

    started: list[tuple[str, int | None, str]] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    logged: list[tuple[str, str]] = field(default_factory=list)
    finished: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        self.started.append((operation, total, message))

    def advance(self, phase: str, *, current: int, total: int | None, message: str = "") -> None:
        self.phases.append(phase)

    def log(self, message: str, *, level: str = "info", **facts: Any) -> None:
        self.logged.append((level, message))

    def finish(self, *, status: str, result: dict[str, Any]) -> None:
        self.finished.append((status, result))

    @property
    def warnings(self) -> list[str]:
        """What was logged as a warning."""
        return [message for level, message in self.logged if level == "warning"]


@dataclass
class Fleet:
    """One NAS and its repository. Time moves on by a minute with every look at the clock, unless ``tick`` says less."""

    root: Path
    zfs: FakeZfs = field(default_factory=FakeZfs)
    store: MemoryStore = field(default_factory=MemoryStore)
    task: Task = field(default_factory=lambda: Task(name="nightly", pool="tank", dataset="data"))
    progress: Recorded = field(default_factory=Recorded)
    now: datetime = NOON
    tick: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        self.identity, recipient = new_identity()
        self.signing_key = self.root / "signing.key"
        write_signing_key(self.signing_key)
        self.config = Config(
            base_dir=PurePosixPath(self.root / "state"),
            log_dir=PurePosixPath(self.root / "logs"),
            host="nas1",
            recipients=(recipient,),
            signing_key=PurePosixPath(self.signing_key),
            s3=S3Settings(bucket="fake"),
            limits=LIMITS,
        )
        self.tokens: Iterator[int] = count(1)
        self.zfs.add_dataset(DATASET, content=random_bytes(200 * KIB), properties={"compression": "zstd"})
        self.zfs.add_dataset("tank/restore")

    def context(self, **changes: Any) -> Context:
        """The surroundings of a run, with ``changes``."""
        context = Context(
            config=self.config,
            zfs=self.zfs,
            open_store=lambda: self.store,
            progress=self.progress,
            clock=self.clock,
            token=lambda: f"{next(self.tokens):08x}",
        )
        return replace(context, **changes)

    def clock(self) -> datetime:
        """Now, a little later each time."""
        self.now += self.tick
        return self.now

    def change_config(self, **changes: Any) -> None:
        """Another configuration from now on."""
        self.config = replace(self.config, **changes)

    def use_repository(self, bucket: str, store: MemoryStore) -> None:
        """Another destination from now on."""
        self.change_config(s3=S3Settings(bucket=bucket))
        self.store = store

    def change_limits(self, **changes: Any) -> None:
        """Other limits from now on."""
        self.change_config(limits=replace(self.config.limits, **changes))

    def run(self, level: int = 0, *, strict: bool = False, job: Any = None, **changes: Any) -> BackupOutcome:
        """One run of the task."""
        return back_up(self.context(**changes), task=self.task, level=level, strict_level=strict, job=job)

    def back_up(self, level: int = 0, **changes: Any) -> BackupResult:
        """One backup, which has to succeed."""
        outcome = self.run(level, **changes)
        for _, error in outcome.failures:
            raise error
        (result,) = outcome.results
        return result

    def fail(self, level: int = 0, **changes: Any) -> Any:
        """One backup, which has to fail; its error."""
        outcome = self.run(level, **changes)
        assert outcome.results == ()
        ((dataset, error),) = outcome.failures
        assert dataset == DATASET
        return error

    def plan(self, level: int = 0, *, strict: bool = False) -> BackupPlan:
        """The plan of one backup."""
        (plan,) = plan_backup(self.context(), task=self.task, level=level, strict_level=strict)
        return plan

    def parts(self, manifest: Manifest) -> tuple[Part, ...]:
        """The parts of a backup, from its list."""
        with open_part_list(self.store, manifest) as parts:
            return tuple(parts)

    def restore(self, target: str = "tank/restore/copy", **selection: Any) -> RestoreResult:
        """A restore, which has to succeed."""
        context = self.context()
        selected = RestoreSelection(dataset=DATASET, target=target, **selection)
        return restore(context, selected, identities=[self.identity], trusted=context.trusted_signers())

    def write(self, seed: int, *, length: int = 200 * KIB) -> bytes:
        """Change the last quarter of the dataset, and its length to ``length``."""
        content = self.zfs.content(DATASET)[: 150 * KIB] + random_bytes(length - 150 * KIB, seed)
        self.zfs.write(DATASET, content)
        return content

    def manifests(self) -> list[Manifest]:
        """The committed backups."""
        catalogue = read_catalogue(self.store, trusted=self.context().trusted_signers())
        assert catalogue.problems == ()
        return [read_manifest(self.store, entry) for entry in catalogue.manifests]

    def journals(self) -> list[Path]:
        """The journal files there are."""
        return sorted(self.root.rglob("*.journal"))

    def held(self) -> set[str]:
        """Full names of the snapshots of all datasets that zrb holds, for whatever task or repository."""
        return {
            snapshot.name
            for dataset in self.zfs.descendants("tank")
            for snapshot in self.zfs.snapshots(dataset)
            if any(tag.startswith("zrb:") for tag in self.zfs.tags(snapshot.name))
        }
