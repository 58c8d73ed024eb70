# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cleanup is killed at every moment that it has, or every request of it fails in every way: what it plans to keep
restores at any time, nothing that is half removed is offered, and the next cleanup finishes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest
from zrb.errors import EngineError, StoreDenied
from zrb.run.cleanup import CleanupOutcome, clean_up, plan_cleanup
from zrb.run.list import list_backups
from zrb.run.verify import verify
from zrb.values.repository_names import BackupId
from zrb.values.retention import Retention

from tests.fakes.fleet import Fleet
from tests.fakes.mortal import Killed, Life
from tests.fakes.store import MemoryRemover, MemoryStore, Operation

LEVELS = [0, 1, 2, 0, 1, 1]
STAYS = {1, 4, 6}
"""The numbers that the policy keeps: the newest, its base, and what has a legal hold."""


class Homes:
    """A machine with backups, as often as it is wanted, for the price of one."""

    def __init__(self, root: Path) -> None:
        self.fleet = Fleet(root)
        for seed, level in enumerate(LEVELS, start=1):
            self.fleet.write(seed)
            self.fleet.back_up(level)
        self.fleet.change_config(tasks=(self.fleet.task,), retention=Retention(keep_last=1))
        for part in self.fleet.parts(self.fleet.manifests()[0]):
            self.fleet.store.lock(part.key, legal_hold=True)
        self._leave_unfinished()
        self._store = self.fleet.store
        self._state = Path(self.fleet.config.base_dir)
        self._as_it_was = root / "as-it-was"
        shutil.copytree(self._state, self._as_it_was)
        self._targets = count()

    def _leave_unfinished(self) -> None:
        """Parts, and a list of them, of a backup that a later one superseded."""
        (oldest, *_others), backup_id = self.fleet.manifests(), BackupId("20251201T000000Z-L1-0123abcd")
        series = oldest.series
        for key in (
            series.part_key(backup_id, 1, 0),
            series.part_key(backup_id, 1, 1),
            series.part_list_key(backup_id),
        ):
            self.fleet.store.put(key, b"unfinished")
            self.fleet.store.write_at(key, oldest.snapshot.creation - timedelta(days=30))

    def fresh(self) -> Fleet:
        """As it was at the beginning."""
        self.fleet.store = self._store.copy_objects()
        shutil.rmtree(self._state)
        shutil.copytree(self._as_it_was, self._state)
        return self.fleet

    def assert_what_stays_is_well(self) -> None:
        """Every backup that the policy keeps is there, whole, and restores; nothing that is offered is not."""
        fleet = self.fleet
        listing = list_backups(fleet.context())
        assert listing.problems == ()
        assert {entry.seq for entry in listing.entries} >= STAYS
        assert all(entry.complete for entry in listing.entries)
        fleet.restore(f"tank/restore/copy{next(self._targets)}")

    def assert_finished(self, outcome: CleanupOutcome) -> None:
        """Nothing is there but what stays, and a further cleanup does nothing."""
        fleet = self.fleet
        assert outcome.exit_code == 0
        assert verify(fleet.context(), depth="checksum").problems == ()
        manifests = fleet.manifests()
        assert {manifest.seq for manifest in manifests} == STAYS
        named = {part.key for manifest in manifests for part in fleet.parts(manifest)}
        assert {key for key in fleet.store.keys if key.startswith("data/")} == named
        lists = [key for key in fleet.store.keys if key.endswith(".parts")]
        assert len(lists) == len(manifests)
        assert clean(fleet).objects == 0


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    yield Homes(tmp_path_factory.mktemp("nas"))


def clean(fleet: Fleet, life: Life | None = None, *, max_removals: int = 9) -> CleanupOutcome:
    """One cleanup, which may be killed."""
    if life is None:
        remover = MemoryRemover(fleet.store)
        return clean_up(fleet.context(), max_removals=max_removals, open_remover=lambda _config: remover)
    return clean_up(
        life.context(fleet.context()),
        max_removals=max_removals,
        open_remover=lambda _config: MemoryRemover(fleet.store, life.moment),
    )


def killed(fleet: Fleet, nth: int) -> bool:
    """A cleanup that is killed at its ``nth`` moment; whether it came so far."""
    life = Life(nth, Path(fleet.config.base_dir))
    with suppress(Killed):
        clean(fleet, life)
    life.bury()
    return life.ended


def test_a_killed_cleanup_is_finished_by_the_next(homes: Homes) -> None:
    moments = 0
    while killed(homes.fresh(), moments + 1):
        moments += 1
        homes.assert_what_stays_is_well()
        homes.assert_finished(clean(homes.fleet))
    assert moments > 30


def test_a_cleanup_killed_twice(homes: Homes) -> None:
    nth = 2
    while killed(homes.fresh(), nth):
        killed(homes.fleet, 1 + nth * 7 % 60)
        homes.assert_what_stays_is_well()
        homes.assert_finished(clean(homes.fleet))
        nth += 4


def unavailable(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.fail(operation, nth=nth)


def denied(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.fail(operation, nth=nth, error=StoreDenied("Not for you", subject="fake", next_step="Expect it"))


def lost_reply(store: MemoryStore, operation: Operation, nth: int) -> None:
    store.lose_reply(operation, nth=nth)


@pytest.mark.parametrize("fail", [unavailable, denied, lost_reply])
def test_every_request_of_a_cleanup_fails(homes: Homes, fail: Callable[[MemoryStore, Operation, int], None]) -> None:
    fleet = homes.fresh()
    clean(fleet)
    calls = [operation for operation, _key in fleet.store.calls]
    assert {"list", "get", "head", "put", "delete"} <= set(calls)
    for operation in sorted(set(calls)):
        for nth in range(1, calls.count(operation) + 1):
            fleet = homes.fresh()
            fail(fleet.store, operation, nth)
            with suppress(EngineError):
                clean(fleet)
            fleet.store = fleet.store.copy_objects()
            homes.assert_what_stays_is_well()
            homes.assert_finished(clean(fleet))


def test_backups_go_on_after_a_kill(homes: Homes) -> None:
    nth = 1
    while killed(homes.fresh(), nth):
        homes.fleet.write(nth)
        made = homes.fleet.back_up(2).manifest
        assert made.seq == len(LEVELS) + 1
        assert list_backups(homes.fleet.context()).problems == ()
        nth += 9


@pytest.mark.parametrize("seed", range(2))
def test_a_life_of_backups_and_cleanups(tmp_path: Path, seed: int) -> None:
    """Backups at any level, cleanups by any policy, some of them killed: whatever a plan keeps is there afterwards, and
    at the end everything that is left restores to what was backed up."""
    chance = Random(seed)
    fleet = Fleet(tmp_path, tick=timedelta(hours=5))
    contents: dict[str, bytes] = {}
    for day in range(16):
        content = fleet.write(day + 1)
        contents[fleet.back_up(chance.choice([0, 1, 1, 2, 2, 3])).manifest.backup_id] = content
        policy = Retention(
            keep_last=chance.randint(1, 3), keep_daily=chance.randint(0, 4), keep_weekly=chance.randint(0, 2)
        )
        fleet.change_config(tasks=(fleet.task,), retention=policy)
        plan = plan_cleanup(fleet.context()).series[0]
        if chance.random() < 0.5:
            killed(fleet, chance.randint(1, 60))
        clean(fleet, max_removals=99)
        left = {one.manifest.backup_id for one in plan.backups} - {one.manifest.backup_id for one in plan.removals}
        listing = list_backups(fleet.context())
        assert {entry.backup_id for entry in listing.entries} == left
        assert listing.problems == ()
        assert all(entry.complete for entry in listing.entries)
    for number, entry in enumerate(listing.entries):
        fleet.restore(f"tank/restore/{number}", backup_id=entry.backup_id)
        assert fleet.zfs.content(f"tank/restore/{number}") == contents[entry.backup_id]
