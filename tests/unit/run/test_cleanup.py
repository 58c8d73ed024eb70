# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cleanup: what goes, what stays, and when nothing is touched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.config.key_files import read_signing_key
from zrb.errors import (
    BackupsVanished,
    ClockSkewed,
    ConfigError,
    EngineError,
    Locked,
    ManifestInvalid,
    PartMissing,
    RemovalsUnconfirmed,
    RepositoryChanged,
    StoreDenied,
    UsageError,
)
from zrb.repository.catalogue import read_catalogue
from zrb.repository.retirement import RecordWriter
from zrb.run.cleanup import CleanupOutcome, clean_up, plan_cleanup
from zrb.run.list import list_backups
from zrb.run.verify import verify
from zrb.seal.signing import SigningKey
from zrb.state.locks import dataset_locks
from zrb.store import protocol
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import Removed
from zrb.store.s3 import S3Store
from zrb.values.config import Task
from zrb.values.manifest import Manifest
from zrb.values.retention import Retention

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import MemoryRemover

LAST = Retention(keep_last=1)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.change_config(tasks=(fleet.task,), retention=LAST)
    return fleet


def made(fleet: Fleet, levels: Sequence[int]) -> list[Manifest]:
    """Backups at these levels."""
    manifests = []
    for seed, level in enumerate(levels, start=1):
        fleet.write(seed)
        manifests.append(fleet.back_up(level).manifest)
    return manifests


def clean(fleet: Fleet, **how: Any) -> CleanupOutcome:
    """One cleanup."""
    facts: dict[str, Any] = {"max_removals": 99, "open_remover": lambda _config: MemoryRemover(fleet.store)} | how
    return clean_up(fleet.context(), **facts)


def keys_of(fleet: Fleet, *manifests: Manifest) -> set[str]:
    """The objects of backups."""
    own = [Path(manifest.series.manifest_key(manifest.backup_id)).stem for manifest in manifests]
    return {key for key in fleet.store.keys if any(backup_id in key for backup_id in own)}


def test_what_no_rule_keeps_goes_and_the_rest_restores(fleet: Fleet) -> None:
    old_full, old_second, full, second = made(fleet, [0, 1, 0, 1])
    kept = keys_of(fleet, full, second)
    outcome = clean(fleet)
    assert (outcome.exit_code, set(outcome.removed)) == (0, {old_full.backup_id, old_second.backup_id})
    assert set(fleet.store.keys) - kept == {key for key in fleet.store.keys if key.endswith((".record", "zrb.json"))}
    assert kept <= set(fleet.store.keys)
    assert [one.backup_id for one in list_backups(fleet.context()).entries] == [full.backup_id, second.backup_id]
    assert verify(fleet.context(), depth="decrypt", identities=[fleet.identity]).problems == ()
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
    fleet.write(9)
    assert fleet.back_up(2).manifest.seq == 5


def test_a_second_cleanup_changes_nothing(fleet: Fleet) -> None:
    made(fleet, [0, 0, 0])
    assert len(clean(fleet).removed) == 2
    before = fleet.store.keys
    again = clean(fleet)
    assert (again.removed, again.objects, again.exit_code) == ((), 0, 0)
    assert fleet.store.keys == before


def test_a_plan_changes_nothing_and_is_what_is_done(fleet: Fleet) -> None:
    made(fleet, [0, 1, 0])
    before = fleet.store.keys
    plan = plan_cleanup(fleet.context())
    assert fleet.store.keys == before
    outcome = clean(fleet)
    assert outcome.plan.as_json() == plan.as_json()
    assert [one.manifest.backup_id for one in plan.series[0].removals][::-1] == list(outcome.removed)
    assert plan.as_json()["totals"]["remove"]["backups"] == 2


@pytest.mark.parametrize("retention", [Retention(), None])
def test_nothing_is_removed_that_nobody_decided_on(fleet: Fleet, retention: Retention | None) -> None:
    made(fleet, [0, 0])
    fleet.change_config(tasks=() if retention is None else (replace(fleet.task, retention=retention),))
    assert clean(fleet).removed == ()
    assert len(fleet.manifests()) == 2


def test_the_policy_of_a_task_counts_before_that_of_all(fleet: Fleet) -> None:
    made(fleet, [0, 0, 0])
    fleet.change_config(tasks=(replace(fleet.task, retention=Retention(keep_last=2)),))
    assert len(clean(fleet).removed) == 1


def test_what_any_task_keeps_is_kept(fleet: Fleet) -> None:
    made(fleet, [0, 0, 0])
    other = Task(name="other", pool="tank", dataset="", recursive=True, retention=Retention(keep_last=2))
    fleet.change_config(tasks=(fleet.task, other))
    assert len(clean(fleet).removed) == 1


def test_backups_of_another_machine_are_its_own_affair(fleet: Fleet) -> None:
    made(fleet, [0, 0])
    fleet.change_config(host="nas2")
    assert clean(fleet).plan.series == ()
    assert len(clean(fleet, host="nas1").removed) == 1


def test_a_machine_that_only_cleans_up_notices_what_vanished(fleet: Fleet, tmp_path: Path) -> None:
    *_others, newest = made(fleet, [0, 0, 0])
    fleet.change_config(host="management", base_dir=PurePosixPath(tmp_path / "management"))
    clean(fleet, host="nas1", max_removals=2)
    for key in keys_of(fleet, newest):
        fleet.store.remove(key)
    before = fleet.store.keys
    outcome = clean(fleet, host="nas1")
    assert [type(error) for _series, error in outcome.plan.refused] == [BackupsVanished]
    assert fleet.store.keys == before


def test_all_machines_are_cleaned_up_at_once(fleet: Fleet) -> None:
    made(fleet, [0, 0])
    fleet.change_config(host="nas2")
    made(fleet, [0, 0])
    assert len(clean(fleet, host="*").removed) == 2


# --- when nothing is touched ---


def locked(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    with dataset_locks(Path(fleet.config.base_dir)) as locks:
        locks.take(DATASET)
        return do()


def with_a_journal(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.write(7)
    fleet.store.fail("put", key_part="manifests/")
    fleet.fail(1)
    assert fleet.journals()
    return do()


def with_a_damaged_manifest(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.store.replace(next(key for key in fleet.store.keys if key.endswith(".json") and "-L1-" in key), b"{}")
    return do()


def with_a_lost_backup(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    for key in [key for key in fleet.store.keys if "-L1-" in key]:
        fleet.store.remove(key)
    return do()


def with_a_lost_part(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.store.remove(next(key for key in fleet.store.keys if key.endswith(".age")))
    return do()


def with_a_short_part(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.store.truncate(next(key for key in fleet.store.keys if key.endswith(".age")), 3)
    return do()


def without_a_list_of_parts(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.store.remove(next(key for key in fleet.store.keys if key.endswith(".parts")))
    return do()


def with_a_clock_of_last_year(fleet: Fleet, do: Callable[[], CleanupOutcome]) -> CleanupOutcome:
    fleet.now -= timedelta(days=365)
    return do()


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (locked, Locked),
        (with_a_journal, Locked),
        (with_a_damaged_manifest, ManifestInvalid),
        (with_a_lost_backup, BackupsVanished),
        (with_a_lost_part, PartMissing),
        (with_a_short_part, PartMissing),
        (without_a_list_of_parts, PartMissing),
        (with_a_clock_of_last_year, ClockSkewed),
    ],
)
def test_nothing_is_removed_while_something_is_wrong(
    fleet: Fleet, state: Callable[[Fleet, Callable[[], CleanupOutcome]], CleanupOutcome], error: type[EngineError]
) -> None:
    made(fleet, [0, 1, 0])
    before: list[str] = []

    def do() -> CleanupOutcome:
        before.extend(fleet.store.keys)
        return clean(fleet)

    outcome = state(fleet, do)
    assert fleet.store.keys == before
    ((series, found),) = outcome.plan.refused
    assert (series.dataset, type(found)) == (DATASET, error)
    assert outcome.exit_code == error.exit_code


def test_another_repository_is_not_touched(fleet: Fleet) -> None:
    made(fleet, [0, 0])
    fleet.store.replace("zrb.json", fleet.store.get("zrb.json", limit=9999).replace(b"00000001", b"00000009"))
    with pytest.raises(RepositoryChanged):
        clean(fleet)


def test_a_signing_key_is_needed(fleet: Fleet) -> None:
    fleet.change_config(signing_key=None)
    for do in (lambda: plan_cleanup(fleet.context()), lambda: clean(fleet)):
        with pytest.raises(ConfigError):
            do()


def test_one_series_that_is_wrong_does_not_stop_the_others(fleet: Fleet) -> None:
    made(fleet, [0, 0])
    fleet.zfs.add_dataset("tank/other", content=b"other")
    own, fleet.task = fleet.task, Task(name="other", pool="tank", dataset="other")
    others = [fleet.run(0).results[0].manifest for _ in range(2)]
    fleet.task = own
    fleet.change_config(tasks=(own, Task(name="other", pool="tank", dataset="other")))
    fleet.store.remove(next(key for key in fleet.store.keys if "tank/data/" in key and key.endswith(".age")))
    outcome = clean(fleet)
    assert outcome.removed == (others[0].backup_id,)
    assert [series.dataset for series, _error in outcome.plan.refused] == [DATASET]


def test_a_cleanup_of_one_task_is_in_the_way_of_no_other(fleet: Fleet) -> None:
    made(fleet, [0, 0])
    fleet.zfs.add_dataset("tank/other", content=b"other")
    own, fleet.task = fleet.task, Task(name="other", pool="tank", dataset="other")
    assert fleet.run(0).results
    fleet.change_config(tasks=(own, fleet.task))

    def look_at_locks(_config: Any) -> MemoryRemover:
        with dataset_locks(Path(fleet.config.base_dir)) as locks:
            locks.take("tank/other")
            with pytest.raises(Locked):
                locks.take(DATASET)
        return MemoryRemover(fleet.store)

    assert len(clean(fleet, tasks=(own,), open_remover=look_at_locks).removed) == 1


# --- how much goes without saying ---


@pytest.mark.parametrize(
    ("backups", "keep", "goes"),
    [(2, 1, True), (3, 2, True), (3, 1, False), (10, 7, True), (10, 6, False)],
)
def test_a_large_share_has_to_be_confirmed(fleet: Fleet, backups: int, keep: int, goes: bool) -> None:
    made(fleet, [0] * backups)
    fleet.change_config(retention=Retention(keep_last=keep))
    before = fleet.store.keys
    assert (plan_cleanup(fleet.context()).unconfirmed is None) is goes
    if goes:
        assert len(clean(fleet, max_removals=None).removed) == backups - keep
        return
    with pytest.raises(RemovalsUnconfirmed) as caught:
        clean(fleet, max_removals=None)
    assert f"--max-removals {backups - keep}" in caught.value.next_step
    assert plan_cleanup(fleet.context()).exit_code == 4
    with pytest.raises(RemovalsUnconfirmed):
        clean(fleet, max_removals=backups - keep - 1)
    assert fleet.store.keys == before
    assert len(clean(fleet, max_removals=backups - keep).removed) == backups - keep


# --- what the store has to say ---


def test_what_is_locked_goes_later_and_a_legal_hold_keeps(fleet: Fleet) -> None:
    locked_one, held, _third, _newest = made(fleet, [0, 0, 0, 0])
    until = fleet.now + timedelta(days=30)
    for manifest, facts in ((locked_one, {"until": until}), (held, {"legal_hold": True})):
        for part in fleet.parts(manifest):
            fleet.store.lock(part.key, **facts)  # type: ignore[arg-type]
    outcome = clean(fleet)
    fates = {one.manifest.backup_id: (one.fate, one.obstacle, one.until) for one in outcome.plan.series[0].backups}
    assert fates[locked_one.backup_id] == ("later", "object_lock", until)
    assert fates[held.backup_id] == ("keep", "", None)
    assert len(outcome.removed) == 1
    fleet.now = until
    assert clean(fleet).removed == (locked_one.backup_id,)


def test_early_deletion_is_paid_by_those_who_say_so(fleet: Fleet) -> None:
    first, _second = made(fleet, [0, 0])
    fleet.change_config(prices={"STANDARD": 1.0, "DEEP_ARCHIVE": 0.5})
    for part in fleet.parts(first):
        fleet.store.write_at(part.key, fleet.now, storage_class="DEEP_ARCHIVE")
    plan = plan_cleanup(fleet.context())
    assert [one.obstacle for one in plan.series[0].backups] == ["minimum_duration", ""]
    assert clean(fleet).removed == ()
    assert clean(fleet, pay_early_deletion=True).removed == (first.backup_id,)


def test_versions_of_the_bucket_are_told(fleet: Fleet) -> None:
    made(fleet, [0, 0])

    class Hiding(MemoryRemover):
        def remove(self, keys: Sequence[str]) -> Removed:
            return Removed(super().remove(keys).failures, hidden=len(keys))

    outcome = clean(fleet, open_remover=lambda _config: Hiding(fleet.store))
    assert outcome.exit_code == 4
    (warning,) = outcome.warnings
    assert f"{outcome.objects} objects" in warning


# --- who may delete ---


def test_what_could_not_be_deleted_is_deleted_next_time(fleet: Fleet) -> None:
    old, _new = made(fleet, [0, 0])
    fleet.store.denied = {"delete"}
    outcome = clean(fleet)
    assert outcome.exit_code == 1
    assert [type(error) for _series, error in outcome.failures] == [StoreDenied]
    assert keys_of(fleet, old)
    assert [entry.seq for entry in list_backups(fleet.context()).entries] == [2], "it is retired"
    assert plan_cleanup(fleet.context()).remains == 1
    fleet.store.denied = set()
    again = clean(fleet)
    assert (again.removed, again.exit_code, keys_of(fleet, old)) == ((), 0, set())


def test_nothing_is_deleted_because_another_key_retired_it(fleet: Fleet) -> None:
    """Who stole the key of the machine that backs up can hide backups, and no more."""
    manifests = made(fleet, [0, 1, 0])
    thief = SigningKey.generate()
    fleet.change_config(trusted_signers=(thief.public,), retention=Retention(keep_last=3))
    catalogue = read_catalogue(fleet.store, trusted=fleet.context().trusted_signers())
    writer = RecordWriter(fleet.store, fleet.store.remove, thief)
    writer.retire(catalogue, manifests[0].series, [one.backup_id for one in manifests], reason="x", now=fleet.now)
    before = fleet.store.keys
    clean(fleet)
    assert fleet.store.keys == before
    fleet.change_config(trusted_signers=())
    for key in [key for key in fleet.store.keys if key.endswith(".record")]:
        fleet.store.remove(key)
    assert len(fleet.manifests()) == 3


def test_what_another_key_hides_keeps_what_it_needs(fleet: Fleet) -> None:
    """Else who stole the key of the machine that backs up would have another machine delete for him."""
    full, increment, youngest, _newest = made(fleet, [0, 1, 2, 0])
    fleet.change_config(retention=Retention(keep_within_s=1))  # the two last ones
    assert plan_cleanup(fleet.context()).series[0].removals == ()
    thief = SigningKey.generate()
    fleet.change_config(trusted_signers=(thief.public,))
    catalogue = read_catalogue(fleet.store, trusted=fleet.context().trusted_signers())
    writer = RecordWriter(fleet.store, fleet.store.remove, thief)
    hidden = [increment.backup_id, youngest.backup_id]
    writer.retire(catalogue, full.series, hidden, reason="x", now=fleet.now)
    with pytest.raises(UsageError, match=increment.backup_id):
        catalogue = read_catalogue(fleet.store, trusted=fleet.context().trusted_signers())
        own = replace(writer, signing_key=read_signing_key(fleet.signing_key))
        own.retire(catalogue, full.series, [full.backup_id], reason="x", now=fleet.now)
    assert clean(fleet).removed == ()
    [entry] = plan_cleanup(fleet.context()).series
    assert [(one.manifest.backup_id, one.needed_by) for one in entry.backups if one.needed_by] == [
        (full.backup_id, increment.backup_id)
    ]
    fleet.change_config(trusted_signers=())
    for key in [key for key in fleet.store.keys if key.endswith(".record")]:
        fleet.store.remove(key)
    fleet.restore(backup_id=youngest.backup_id)


@pytest.mark.parametrize("store", [protocol.Store, S3Store, DirectoryStore])
def test_what_a_backup_is_given_has_no_way_to_delete(store: type) -> None:
    known = {"abort_upload", "close", "features", "get", "head", "holds", "kind", "list", "location", "open_upload"}
    known |= {"put", "read_into", "regulate", "until", "uploads"}
    assert {name for name, _value in inspect.getmembers(store) if not name.startswith("_")} <= known


def test_no_run_but_a_cleanup_deletes(fleet: Fleet) -> None:
    fleet.store.denied = {"delete"}
    made(fleet, [0, 1])
    fleet.restore()
    verify(fleet.context(), depth="checksum")
    assert "delete" not in {operation for operation, _key in fleet.store.calls}
