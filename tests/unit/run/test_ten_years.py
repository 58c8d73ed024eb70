# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ten years of a repository, in simulated time: a schedule backs up, cleanups come at random, and runs of both are
killed. After each cleanup, what its plan keeps is all that is offered, whole, and restores to what was backed up; and
what is stored does not grow with the years.

`make test-long` lives more of them, with a backup every day.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

from zrb.run.cleanup import CleanupOutcome
from zrb.run.list import list_backups
from zrb.values.config import S3Settings, StorageClasses
from zrb.values.manifest import Manifest
from zrb.values.repository_names import BackupId
from zrb.values.retention import RULES, Retention

from tests.fakes.fleet import DATASET
from tests.fakes.machine import Machine
from tests.fakes.store import MemoryStore

TEN_YEARS: Final = timedelta(days=3652)
MOST_RECORDS: Final = 12
"""A record names up to a thousand backups, and two cleanups may be at work before one takes the place of others."""


@dataclass(frozen=True)
class Schedule:
    """A backup ``every`` so often: the level of each in turn is that of the first number that divides its place."""

    every: timedelta
    divisors: tuple[int, ...]

    def level(self, place: int) -> int:
        """The level of the backup at this place."""
        return next(level for level, divisor in enumerate(self.divisors) if place % divisor == 0)


@dataclass
class TenYears:
    """One machine and its repository."""

    root: Path
    schedule: Schedule
    policy: Retention
    seed: int
    cleaned: int = 0
    restored: int = 0

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.store = MemoryStore()
        self.machine = Machine(self.root / "nas1", "nas1", self.store, number=1)
        self.fleet = self.machine.fleet
        self.store.clock = lambda: self.fleet.now
        classes = StorageClasses(backup_data=("STANDARD_IA", "STANDARD"))  # 30 days are charged of level 0
        self.fleet.change_config(retention=self.policy, s3=S3Settings(bucket="fake", storage_class=classes))

    def live(self, *, cleanups: int, restores: int) -> None:
        """All ten years, with so many ``cleanups`` at random, and after each so many ``restores``."""
        places = range(TEN_YEARS // self.schedule.every)
        chosen = set(self.chance.sample(places, cleanups))
        for place in places:
            self.fleet.now += self.schedule.every
            self.fleet.zfs.now = self.fleet.now
            if self.chance.random() < 0.01:
                self.set_up_again()
            self.back_up(self.schedule.level(place))
            if place in chosen:
                self.clean_up(restores)

    def back_up(self, level: int) -> None:
        """One backup. Some are killed, and then most are resumed; at times an upload is left that no journal knows."""
        self.fleet.zfs.write(DATASET, self.chance.randbytes(self.chance.randint(1, 2000)))
        if self.chance.random() < 0.1:
            self.machine.back_up(self.machine.tasks[0], level, killed_at=self.chance.randint(1, 90))
            if self.chance.random() < 0.2:
                self.set_up_again()
        results, errors = self.machine.back_up(self.machine.tasks[0], level)
        assert not errors
        if self.chance.random() < 0.05:
            (made,) = (result.manifest for result in results)
            self.store.open_upload(made.series.part_key(made.backup_id, made.level, 9), total_chunks=1)

    def set_up_again(self) -> None:
        """The machine loses what it remembers, and its snapshots their holds."""
        shutil.rmtree(self.machine.state, ignore_errors=True)
        for snapshot in self.fleet.zfs.snapshots(DATASET):
            for tag in self.fleet.zfs.tags(snapshot.name):
                self.fleet.zfs.release(snapshot.name, tag)

    def clean_up(self, restores: int) -> None:
        """A cleanup, which may have been killed before, and what has to hold after it."""
        if self.chance.random() < 0.5:
            self.machine.clean_up(killed_at=self.chance.randint(1, 120))
        outcome = self.machine.clean_up()
        assert outcome
        assert outcome.exit_code == 0, outcome.as_json()
        self.cleaned += 1
        manifests = {one.backup_id: one for one in self.fleet.manifests()}
        kept = self.check_what_is_offered(outcome)
        assert sorted(manifests) == sorted(kept)
        self.check_what_is_stored(outcome, list(manifests.values()))
        for backup_id in self.chance.sample(kept, min(restores, len(kept))):
            self.check_restore(manifests[backup_id])

    def check_what_is_offered(self, outcome: CleanupOutcome) -> Sequence[BackupId]:
        """What the plan keeps, and nothing else, is there with its whole chain."""
        (plan,) = outcome.plan.series
        kept = [one.manifest.backup_id for one in plan.backups if one.fate != "remove"]
        listing = list_backups(self.fleet.context())
        assert sorted(entry.backup_id for entry in listing.entries) == sorted(kept)
        assert listing.problems == ()
        assert all(entry.complete for entry in listing.entries)
        later = sum(one.fate == "later" for one in plan.backups)
        by_rules = sum(getattr(self.policy, rule) for rule in RULES if rule != "keep_within_s")
        by_age = -(-self.policy.keep_within_s // int(self.schedule.every.total_seconds()))
        # Two more: what a restore takes, and the last one. And each may build upon one of each lower level.
        assert len(kept) - later <= (by_rules + by_age + 2) * len(self.schedule.divisors)
        return kept

    def check_what_is_stored(self, outcome: CleanupOutcome, manifests: Sequence[Manifest]) -> None:
        """Every part is of a backup that is kept, or of one with which a run may go on; nothing is left of others."""
        named = {part.key for manifest in manifests for part in self.fleet.parts(manifest)}
        waiting = [one for one in outcome.plan.unfinished if not one.abandoned]
        named |= {item.key for one in waiting for item in one.there(self.store) if item.key.startswith("data/")}
        assert {key for key in self.store.keys if key.startswith("data/")} == named
        going_on = {one.upload.upload_id for one in outcome.plan.uploads if not one.abandoned}
        assert self.store.unfinished.keys() == going_on
        ends = Counter(key.rpartition(".")[2] for key in self.store.keys)
        assert ends["json"] == len(manifests) + 1
        assert ends["parts"] <= len(manifests) + len(waiting)
        assert ends["record"] <= MOST_RECORDS

    def check_restore(self, manifest: Manifest) -> None:
        """It restores to what was backed up."""
        self.restored += 1
        target = f"tank/restore/{self.restored}"
        self.fleet.restore(target, backup_id=manifest.backup_id)
        assert self.fleet.zfs.content(target) == self.machine.contents[manifest.snapshot.guid]


def test_ten_years_of_a_repository(tmp_path: Path) -> None:
    """A backup every four weeks: full ones once a year."""
    schedule = Schedule(timedelta(days=28), (13, 3, 1))
    life = TenYears(tmp_path, schedule, Retention(keep_last=2, keep_monthly=4, keep_yearly=3), seed=1)
    life.live(cleanups=25, restores=1)
    assert (life.cleaned, life.restored) == (25, 25)
