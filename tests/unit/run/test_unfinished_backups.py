# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is there of backups that were never finished goes as soon as no run goes on with it. Nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.errors import EngineError, Locked, RemovalsUnconfirmed
from zrb.repository.catalogue import read_catalogue
from zrb.repository.retirement import RecordWriter
from zrb.run.cleanup import CleanupOutcome, clean_up, plan_cleanup
from zrb.seal.signing import SigningKey
from zrb.values.manifest import Manifest
from zrb.values.repository_names import BackupId, Series, new_backup_id
from zrb.values.retention import Retention

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.mortal import Killed, Life
from tests.fakes.store import MemoryRemover

SERIES = Series("nas1", DATASET)
WEEK = timedelta(days=7)
PART = SERIES.part_key(BackupId("20260101T000000Z-L0-0123abcd"), 0, 0)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.store.clock = lambda: fleet.now
    fleet.change_config(tasks=(fleet.task,), retention=Retention(keep_last=99))
    return fleet


def later(fleet: Fleet, time: timedelta) -> None:
    """Let time pass."""
    fleet.now += time
    fleet.zfs.now = fleet.now


def back_up(fleet: Fleet, level: int = 0) -> Manifest:
    """A backup, written now."""
    before = set(fleet.store.keys)
    fleet.write(len(before))
    manifest = fleet.back_up(level).manifest
    date(fleet, set(fleet.store.keys) - before)
    return manifest


def break_off(fleet: Fleet, level: int, *, listed: bool = False) -> set[str]:
    """A backup that is broken off: its parts, and with ``listed`` its list of parts."""
    before = set(fleet.store.keys)
    fleet.write(len(before))
    fleet.store.fail("put", nth=1 + listed, key_part="manifests/")
    fleet.fail(level)
    keys = set(fleet.store.keys) - before - {"zrb.json"}
    assert any(key.endswith(".parts") for key in keys) is listed
    assert any(key.endswith(".age") for key in keys)
    date(fleet, keys)
    return keys


def date(fleet: Fleet, keys: set[str]) -> None:
    for key in keys:
        fleet.store.write_at(key, fleet.now)


def forget(fleet: Fleet) -> None:
    """The machine is set up again: it has no journal of what it began."""
    for journal in fleet.journals():
        journal.unlink()


def abandon(fleet: Fleet, level: int = 0, *, listed: bool = False) -> set[str]:
    """What a run left that nobody goes on with, and a younger backup."""
    keys = break_off(fleet, level, listed=listed)
    forget(fleet)
    later(fleet, WEEK)
    back_up(fleet)
    return keys


def clean(fleet: Fleet, **how: Any) -> CleanupOutcome:
    """A cleanup by another machine, which knows no journals and removes no backup."""
    own, fleet.config = fleet.config, fleet.config
    fleet.change_config(host="management", base_dir=PurePosixPath(fleet.root / "management"))
    try:
        facts: dict[str, Any] = {"open_remover": lambda _config: MemoryRemover(fleet.store)} | how
        return clean_up(fleet.context(), host="nas1", **facts)
    finally:
        fleet.config = own


@pytest.mark.parametrize("listed", [False, True])
def test_what_a_run_left_goes_with_its_list_and_nothing_else(fleet: Fleet, listed: bool) -> None:
    back_up(fleet)
    left = abandon(fleet, listed=listed)
    before = set(fleet.store.keys)
    size = sum(len(fleet.store.get(key, limit=10**9)) for key in left)
    outcome = clean(fleet)
    (told,) = outcome.plan.as_json()["unfinished"]
    assert (told["fate"], told["objects"], told["bytes"]) == ("remove", len(left), size)
    assert (outcome.removed, outcome.objects, outcome.exit_code) == ((), len(left), 0)
    assert before - set(fleet.store.keys) == left
    again = clean(fleet)
    assert (again.objects, again.plan.unfinished) == (0, ())


@pytest.mark.parametrize(("level", "after"), list(product(range(3), repeat=2)))
@pytest.mark.parametrize("days", [6.9, 7])
def test_it_goes_once_a_backup_supersedes_it(fleet: Fleet, level: int, after: int, days: float) -> None:
    for base in range(2):
        back_up(fleet, base)
    break_off(fleet, level)
    forget(fleet)
    later(fleet, timedelta(days=days))
    back_up(fleet, after)
    goes = after <= level and days >= 7
    assert (clean(fleet).objects > 0) is goes


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("levels", list(product(range(3), repeat=2)))
def test_what_a_run_goes_on_with_is_never_removed(fleet: Fleet, level: int, levels: tuple[int, ...]) -> None:
    for base in range(2):
        back_up(fleet, base)
    keys = break_off(fleet, level)
    assert fleet.plan(level).resumes
    for after in levels:
        later(fleet, 2 * WEEK)
        clean(fleet)
        for resumed in range(3):
            if fleet.plan(resumed).resumes:
                assert keys <= set(fleet.store.keys)
        back_up(fleet, after)


def test_a_dataset_that_has_no_backup_is_left_alone(fleet: Fleet) -> None:
    keys = break_off(fleet, 0, listed=True)
    forget(fleet)
    later(fleet, 50 * WEEK)
    clean(fleet)
    assert keys <= set(fleet.store.keys)


def test_a_clock_that_is_ahead_supersedes_nothing(fleet: Fleet) -> None:
    """What counts of the younger backup is its snapshot and when the store got it, whichever is earlier."""
    keys = break_off(fleet, 0)
    forget(fleet)
    now = fleet.now
    later(fleet, 50 * WEEK)
    manifest = back_up(fleet)
    for part in fleet.parts(manifest):
        fleet.store.write_at(part.key, now)
    assert clean(fleet).objects == 0
    assert keys <= set(fleet.store.keys)


def with_a_younger_part(fleet: Fleet, keys: set[str]) -> None:
    fleet.store.write_at(max(keys), fleet.now + WEEK)


def with_a_manifest(fleet: Fleet, keys: set[str]) -> None:
    fleet.store.replace(SERIES.manifest_key(id_of(keys)), b"committed")


def id_of(keys: set[str]) -> BackupId:
    """Of the backup whose parts these are."""
    return BackupId(max(key for key in keys if key.endswith(".age")).split("/")[-2])


@pytest.mark.parametrize("change", [with_a_younger_part, with_a_manifest])
def test_what_was_gone_on_with_since_the_plan_stays(fleet: Fleet, change: Callable[[Fleet, set[str]], None]) -> None:
    keys = abandon(fleet)

    def go_on(_config: Any) -> MemoryRemover:
        change(fleet, keys)
        return MemoryRemover(fleet.store)

    assert len(clean(fleet, open_remover=go_on).plan.abandoned()) == 1
    assert keys <= set(fleet.store.keys)


def test_what_has_other_names_stays(fleet: Fleet) -> None:
    keys = abandon(fleet)
    place = max(keys).rpartition("/")[0]
    foreign = {
        f"{place}/snapshot.part-000000.age.bak",
        f"{place}/notes.txt",
        f"{place}/below/snapshot.part-000000.age",
        place.replace("level0", "level1") + "/snapshot.part-000000.age",
        f"data/{SERIES.path}/level0/mine/snapshot.part-000000.age",
        f"{SERIES.manifest_prefix}notes.parts.txt",
    }
    for key in foreign:
        fleet.store.replace(key, b"of somebody else")
        fleet.store.write_at(key, fleet.now - 50 * WEEK)
    assert clean(fleet).objects == len(keys)
    assert foreign <= set(fleet.store.keys)


@pytest.mark.parametrize("facts", [{"until": WEEK}, {"legal_hold": True}])
def test_what_the_store_locks_stays(fleet: Fleet, facts: dict[str, Any]) -> None:
    keys = abandon(fleet)
    if "until" in facts:
        facts = {"until": fleet.now + WEEK}
    for key in keys:
        fleet.store.lock(key, **facts)
    assert clean(fleet).objects == 0
    later(fleet, 2 * WEEK)
    assert (clean(fleet).objects > 0) is ("until" in facts)


@pytest.mark.parametrize("retention", [Retention(), None])
def test_it_goes_from_every_dataset_that_a_task_covers(fleet: Fleet, retention: Retention | None) -> None:
    keys = abandon(fleet)
    fleet.change_config(tasks=() if retention is None else (fleet.task,), retention=retention or Retention())
    assert clean(fleet).objects == (0 if retention is None else len(keys))


def test_nothing_goes_while_a_run_here_may_go_on(fleet: Fleet) -> None:
    back_up(fleet)
    keys = break_off(fleet, 1)
    later(fleet, WEEK)
    outcome = clean_up(fleet.context(), open_remover=lambda _config: MemoryRemover(fleet.store))
    assert [type(error) for _series, error in outcome.plan.refused] == [Locked]
    assert keys <= set(fleet.store.keys)


def test_many_have_to_be_confirmed(fleet: Fleet) -> None:
    """Who lost manifests has parts without them, and may want to keep those."""
    for _run in range(2):
        break_off(fleet, 0)
        forget(fleet)
    later(fleet, WEEK)
    back_up(fleet)
    before = fleet.store.keys
    with pytest.raises(RemovalsUnconfirmed) as caught:
        clean(fleet)
    assert "--max-removals 2" in caught.value.next_step
    assert fleet.store.keys == before
    assert clean(fleet, max_removals=2).objects > 0


def test_what_is_left_of_what_another_key_retired_goes_without_its_manifest_alone(fleet: Fleet) -> None:
    old = back_up(fleet)
    later(fleet, WEEK)
    back_up(fleet)
    other = SigningKey.generate()
    fleet.change_config(trusted_signers=(other.public,))
    catalogue = read_catalogue(fleet.store, trusted=fleet.context().trusted_signers())
    RecordWriter(fleet.store, fleet.store.remove, other).retire(
        catalogue, SERIES, [old.backup_id], reason="x", now=fleet.now
    )
    assert clean(fleet).plan.unfinished == ()
    fleet.store.remove(SERIES.manifest_key(old.backup_id))
    own = {key for key in fleet.store.keys if old.backup_id in key}
    assert clean(fleet).objects == len(own)
    assert not any(old.backup_id in key for key in fleet.store.keys)


def test_a_plan_is_what_is_done(fleet: Fleet) -> None:
    abandon(fleet, listed=True)
    later(fleet, WEEK)
    break_off(fleet, 1)
    forget(fleet)
    plan = plan_cleanup(fleet.context())
    assert [one.abandoned for one in plan.unfinished] == [True, False]
    assert clean(fleet).plan.as_json() == plan.as_json()


# --- uploads ---


def begin_upload(fleet: Fleet, key: str) -> str:
    """An upload that nobody completes, begun now."""
    return fleet.store.open_upload(key, total_chunks=1).upload_id


@pytest.mark.parametrize(
    "key",
    [
        SERIES.part_key(BackupId("20260101T000000Z-L2-0123abcd"), 2, 7),
        SERIES.part_list_key(BackupId("20260101T000000Z-L2-0123abcd")),
    ],
)
@pytest.mark.parametrize(("days", "ends"), [(7, True), (6.9, False)])
@pytest.mark.parametrize("level", range(2))
def test_an_upload_ends_once_its_run_has_ended(fleet: Fleet, key: str, days: float, ends: bool, level: int) -> None:
    back_up(fleet)
    begin_upload(fleet, key)
    later(fleet, timedelta(days=days))
    back_up(fleet, level)
    plan = plan_cleanup(fleet.context())
    assert [one["fate"] for one in plan.as_json()["uploads"]] == ["remove" if ends else "keep"]
    outcome = clean(fleet)
    assert outcome.plan.as_json() == plan.as_json()
    assert (outcome.exit_code, outcome.objects, len(fleet.store.unfinished)) == (0, int(ends), int(not ends))


@pytest.mark.parametrize(
    "key",
    [
        f"data/{SERIES.path}/level0/20260101T000000Z-L0-0123abcd/notes.txt",
        f"data/{SERIES.path}/level0/20260101T000000Z-L0-0123abcd/below/snapshot.part-000000.age",
        f"data/{SERIES.path}/level0/20260101T000000Z-L1-0123abcd/snapshot.part-000000.age",
        f"data/{SERIES.path}/other/level0/20260101T000000Z-L0-0123abcd/snapshot.part-000000.age",
        f"manifests/{SERIES.path}/notes.txt",
        "elsewhere/object",
    ],
)
def test_an_upload_of_another_name_or_series_goes_on(fleet: Fleet, key: str) -> None:
    back_up(fleet)
    begin_upload(fleet, key)
    later(fleet, 9 * WEEK)
    back_up(fleet)
    assert clean(fleet).objects == 0
    assert len(fleet.store.unfinished) == 1


def test_an_upload_goes_on_while_its_run_is_the_last_one(fleet: Fleet) -> None:
    back_up(fleet)
    upload = begin_upload(fleet, PART)
    later(fleet, 9 * WEEK)
    assert clean(fleet).objects == 0
    assert list(fleet.store.unfinished) == [upload]


@pytest.mark.parametrize("days", [6, 8])
@pytest.mark.parametrize("named", ["part", "list"])
def test_an_upload_is_not_older_than_its_backup_whatever_the_store_says(fleet: Fleet, named: str, days: int) -> None:
    back_up(fleet)
    fleet.store.clock = lambda: datetime(2010, 11, 10, tzinfo=UTC)
    backup_id = new_backup_id(now=fleet.now, level=1, token="0123abcd")
    begin_upload(fleet, SERIES.part_key(backup_id, 1, 0) if named == "part" else SERIES.part_list_key(backup_id))
    later(fleet, timedelta(days=days))
    back_up(fleet)
    assert clean(fleet).objects == int(days > 7)


def test_an_upload_of_a_day_that_never_was_stops_nobody(fleet: Fleet) -> None:
    left = abandon(fleet)
    begin_upload(fleet, SERIES.part_key(BackupId("99999999T999999Z-L0-0123abcd"), 0, 0))
    assert clean(fleet).objects == len(left)


def test_an_upload_to_the_key_of_an_object_goes_on_as_long_as_that_is_there(fleet: Fleet) -> None:
    first = back_up(fleet)
    part = next(key for key in fleet.store.keys if first.backup_id in key and key.endswith(".age"))
    upload = begin_upload(fleet, part)
    later(fleet, WEEK)
    back_up(fleet)
    assert [one["fate"] for one in clean(fleet).plan.as_json()["uploads"]] == ["keep"]
    assert list(fleet.store.unfinished) == [upload]
    fleet.change_config(retention=Retention(keep_last=1))
    assert clean(fleet).removed == (first.backup_id,)
    assert clean(fleet).objects == 1
    assert not fleet.store.unfinished


def has_an_object(fleet: Fleet, _upload: str) -> None:
    fleet.store.put(PART, b"content")


def is_another(fleet: Fleet, upload: str) -> None:
    fleet.store.unfinished[upload].started = fleet.now


def is_gone(fleet: Fleet, upload: str) -> None:
    del fleet.store.unfinished[upload]


@pytest.mark.parametrize("change", [has_an_object, is_another, is_gone])
def test_an_upload_that_is_not_as_it_was_is_not_touched(fleet: Fleet, change: Callable[[Fleet, str], None]) -> None:
    upload = begin_upload(fleet, PART)
    abandon(fleet)

    def remover(_config: object) -> MemoryRemover:
        change(fleet, upload)
        return MemoryRemover(fleet.store)

    assert [one["fate"] for one in clean(fleet, open_remover=remover).plan.as_json()["uploads"]] == ["remove"]
    assert "abort_upload" not in [operation for operation, _key in fleet.store.calls]


def test_uploads_that_may_not_be_ended_keep_nothing_else_from_going(fleet: Fleet) -> None:
    for _upload in range(2):
        begin_upload(fleet, PART)
    left = abandon(fleet)
    fleet.store.denied = {"abort_upload"}
    outcome = clean(fleet)
    assert (outcome.exit_code, outcome.objects, outcome.failures) == (4, len(left), ())
    (warning,) = outcome.warnings
    assert warning.startswith("2 unfinished")


def test_who_may_not_list_uploads_is_told(fleet: Fleet) -> None:
    left = abandon(fleet)
    begin_upload(fleet, PART)
    fleet.store.denied = {"uploads"}
    assert plan_cleanup(fleet.context()).exit_code == 4
    outcome = clean(fleet)
    assert (outcome.exit_code, outcome.objects, len(outcome.warnings)) == (4, len(left), 1)


@pytest.mark.parametrize("operation", ["uploads", "abort_upload"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("lost", [False, True])
def test_a_request_about_uploads_that_fails_is_made_again(fleet: Fleet, operation: Any, nth: int, lost: bool) -> None:
    for _upload in range(2):
        begin_upload(fleet, PART)
    left = abandon(fleet)
    (fleet.store.lose_reply if lost else fleet.store.fail)(operation, nth=nth)
    with suppress(EngineError):
        clean(fleet)
    assert fleet.manifests()
    assert clean(fleet).exit_code == 0
    assert fleet.store.unfinished == {}
    assert not left & set(fleet.store.keys)


def test_a_killed_cleanup_of_uploads_is_finished_by_the_next(fleet: Fleet) -> None:
    for _upload in range(3):
        begin_upload(fleet, PART)
    later(fleet, WEEK)
    back_up(fleet)
    uploads = dict(fleet.store.unfinished)
    for nth in count(1):
        fleet.store.unfinished = dict(uploads)
        life = Life(nth, Path(fleet.config.base_dir))
        with suppress(Killed):
            clean_up(life.context(fleet.context()), open_remover=lambda _config: MemoryRemover(fleet.store))
        life.bury()
        assert len(fleet.manifests()) == 1
        clean(fleet)
        assert fleet.store.unfinished == {}
        if not life.ended:
            break
    assert nth > 10
