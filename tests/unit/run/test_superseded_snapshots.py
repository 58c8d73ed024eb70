# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots that zrb took go when nothing needs them any more. No other snapshot ever does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zrb.config.value_readers import ALL
from zrb.errors import Interrupted, ZfsDenied
from zrb.run.cleanup import clean_up
from zrb.run.snapshot import list_snapshots, take_snapshot
from zrb.values.retention import Retention

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import MemoryRemover, MemoryStore

OURS = f"{DATASET}@zrb_level0_20260101T000000Z"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def names(fleet: Fleet) -> set[str]:
    return {snapshot.name for snapshot in fleet.zfs.snapshots(DATASET)}


def back_up(fleet: Fleet, *levels: int) -> list[str]:
    """The snapshots of these backups, one after the other."""
    taken = []
    for number, level in enumerate(levels):
        fleet.write(number)
        taken.append(fleet.back_up(level).manifest.snapshot.name)
    return taken


def test_the_next_run_destroys_what_was_superseded(fleet: Fleet) -> None:
    old, *_, new = back_up(fleet, 0, 0)
    assert names(fleet) == {old, new}, "only what the repository shows to be there supersedes anything"
    (third,) = back_up(fleet, 0)
    assert names(fleet) == {new, third}


def test_what_a_cleanup_has_retired_goes_as_if_it_were_there(fleet: Fleet) -> None:
    fleet.change_config(tasks=(fleet.task,), retention=Retention(keep_last=1))
    _full, superseded, _newest = back_up(fleet, 0, 1, 1)
    clean_up(fleet.context(), max_removals=9, open_remover=lambda _config: MemoryRemover(fleet.store))
    assert superseded in names(fleet)
    assert "not_stored" not in {one.reason for one in list_snapshots(fleet.context(), [fleet.task])}
    back_up(fleet, 1)
    assert superseded not in names(fleet)


@given(levels=st.lists(st.integers(0, 4), min_size=1, max_size=10), keep=st.integers(0, 3))
@settings(max_examples=20, deadline=None)
def test_every_later_backup_is_as_if_nothing_had_gone(levels: list[int], keep: int) -> None:
    with TemporaryDirectory() as place:
        for name in ("lean", "rich"):
            Path(place, name).mkdir()
        lean, rich = Fleet(Path(place, "lean")), Fleet(Path(place, "rich"))
        needed: set[str] = set()
        for fleet, kept in ((rich, 100), (lean, keep)):
            fleet.change_config(keep_snapshots=kept)
            for level in levels:
                needed = fleet.held() | {snapshot.name for snapshot in fleet.zfs.snapshots(DATASET)[-1:]}
                fleet.back_up(level)
        needed |= lean.held() | {lean.zfs.snapshots(DATASET)[-1].name}
        assert len(names(lean) - needed) <= keep, "of what was superseded before the last run began"
        for level in range(5):
            assert choice(lean, level) == choice(rich, level)


def choice(fleet: Fleet, level: int) -> tuple[object, ...]:
    """The level, and the base, of what a backup would do now."""
    planned = fleet.plan(level).as_json()
    return planned["level"], planned["base"], planned["reason"]


@pytest.mark.parametrize("keep", [0, 1, 2, 100])
def test_as_many_more_stay_as_the_owner_wants(fleet: Fleet, keep: int) -> None:
    fleet.change_config(keep_snapshots=keep)
    taken = back_up(fleet, 0, 0, 0, 0, 0, 0)
    # Two besides: the base of the next level, and the one that the last run superseded.
    assert names(fleet) == set(taken[-keep - 2 :])


FOREIGN: dict[str, Callable[[Fleet, str], object]] = {
    "held by somebody": lambda fleet, name: fleet.zfs.hold(name, "keep"),
    "a clone needs it": lambda fleet, name: fleet.zfs.use(name),
    "renamed": lambda fleet, name: fleet.zfs.rename_snapshot(name, f"{DATASET}@before-the-upgrade"),
    "renamed alike": lambda fleet, name: fleet.zfs.rename_snapshot(name, f"{DATASET}@mine_level0_20260101T000000Z"),
    "renamed to another level": lambda fleet, name: fleet.zfs.rename_snapshot(name, f"{name}0"),
}


@pytest.mark.parametrize("act", FOREIGN.values(), ids=FOREIGN)
def test_what_somebody_made_his_own_stays(fleet: Fleet, act: Callable[[Fleet, str], object]) -> None:
    (old,) = back_up(fleet, 0)
    guid = fleet.zfs.snapshots(DATASET)[0].guid
    back_up(fleet, 0)
    act(fleet, old)
    back_up(fleet, 0, 0)
    assert guid in {snapshot.guid for snapshot in fleet.zfs.snapshots(DATASET)}


def test_what_somebody_else_took_stays_even_if_it_was_backed_up(fleet: Fleet) -> None:
    fleet.task = replace(fleet.task, take_snapshot=False)
    foreign = fleet.zfs.take_foreign(OURS).name
    fleet.back_up(0)
    fleet.task = replace(fleet.task, take_snapshot=True)
    back_up(fleet, 0, 0, 0)
    assert foreign in names(fleet)


def test_what_was_taken_for_a_later_backup_goes_like_the_others(fleet: Fleet) -> None:
    fleet.task = replace(fleet.task, take_snapshot=False)
    waiting = []
    for _backup in range(3):
        waiting.append(take_snapshot(fleet.context(), task=fleet.task, level=0).name)
        fleet.back_up(0)
    later = take_snapshot(fleet.context(), task=fleet.task, level=1).name
    waiting.append(take_snapshot(fleet.context(), task=fleet.task, level=0).name)
    fleet.back_up(0)
    assert names(fleet) == {*waiting[2:], later}, "one that no backup has sent waits"


def test_what_another_repository_needs_stays(fleet: Fleet) -> None:
    first = fleet.store
    (base,) = back_up(fleet, 0)
    fleet.use_repository("other", MemoryStore(location="memory://other/"))
    back_up(fleet, 0, 0, 0)
    assert base in names(fleet)
    fleet.use_repository("fake", first)
    assert choice(fleet, 1)[0] == 1


def test_nothing_goes_while_a_manifest_cannot_be_read(fleet: Fleet) -> None:
    back_up(fleet, 0, 0)
    fleet.store.corrupt(fleet.manifests()[0].series.manifest_key(fleet.manifests()[0].backup_id), 40)
    before = names(fleet)
    back_up(fleet, 0)
    assert names(fleet) > before


def test_what_may_not_be_destroyed_is_a_warning(fleet: Fleet) -> None:
    back_up(fleet, 0, 0)
    fleet.change_config(keep_snapshots=10)
    back_up(fleet, 0)
    fleet.change_config(keep_snapshots=0)
    fleet.zfs.fail("destroy_snapshot", ZfsDenied("Cannot destroy it", next_step="Ask root"), times=1)
    before = names(fleet)
    outcome = fleet.run(0)
    assert outcome.exit_code == 4
    (warning,) = outcome.results[0].warnings
    assert "keep_snapshots: all" in warning
    assert names(fleet) > before, "who may not destroy one does not try the others"


def test_what_could_not_be_marked_is_a_warning_and_stays(fleet: Fleet) -> None:
    fleet.zfs.may_mark = False
    outcome = fleet.run(0)
    (warning,) = outcome.results[0].warnings
    assert outcome.exit_code == 4
    assert f"userprop {DATASET}`" in warning
    fleet.zfs.may_mark = True
    (unmarked,) = names(fleet)
    taken = back_up(fleet, 0, 0, 0)
    assert names(fleet) == {unmarked, *taken[-2:]}


def test_who_keeps_all_needs_no_marks(fleet: Fleet) -> None:
    fleet.zfs.may_mark = False
    fleet.change_config(keep_snapshots=ALL)
    assert fleet.run(0).exit_code == 0


@pytest.mark.parametrize(("keep", "told"), [(0, 1), (3, 1), (ALL, 0)])
def test_who_takes_a_snapshot_for_a_later_backup_is_told_too(fleet: Fleet, keep: int, told: int) -> None:
    fleet.zfs.may_mark = False
    fleet.change_config(keep_snapshots=keep)
    take_snapshot(fleet.context(), task=fleet.task, level=0)
    assert len(fleet.progress.warnings) == told


def test_a_killed_run_leaves_the_rest_to_the_next(fleet: Fleet) -> None:
    fleet.change_config(keep_snapshots=10)
    back_up(fleet, 0, 0, 0, 0)
    fleet.change_config(keep_snapshots=0)

    def stop(name: str) -> None:
        if name == "superseded-destroyed":
            raise Interrupted(15, next_step="Run again")

    before = names(fleet)
    with pytest.raises(Interrupted):
        fleet.run(0, checkpoint=stop)
    assert len(names(fleet)) == len(before) - 1
    (newest,) = back_up(fleet, 0)
    assert len(names(fleet)) == 2
    assert newest in names(fleet)


def test_the_list_says_why_each_is_there(fleet: Fleet) -> None:
    fleet.change_config(keep_snapshots=1)
    taken = back_up(fleet, 0, 0, 0, 0)
    renamed, *_, base = back_up(fleet, 4, 1)
    fleet.zfs.rename_snapshot(renamed, f"{DATASET}@mine")
    fleet.zfs.take_foreign(OURS)
    fleet.zfs.hold(taken[-2], "somebody")
    waiting = take_snapshot(fleet.context(), task=fleet.task, level=2).name
    left = fleet.zfs.create_snapshots([f"{DATASET}@zrb_level2_20260301T000000Z"])[0].name
    listed = list_snapshots(fleet.context(), [fleet.task])
    assert {one.snapshot.name: one.reason for one in listed} == {
        taken[-2]: "held",
        taken[-1]: "base",
        base: "base",
        waiting: "held",
        left: "not_stored",
    }
    assert [one.snapshot.createtxg for one in listed] == sorted(one.snapshot.createtxg for one in listed)


def test_the_list_is_what_the_next_run_does(fleet: Fleet) -> None:
    fleet.change_config(keep_snapshots=2)
    back_up(fleet, 0, 0, 0, 0, 0, 1, 1)
    goes = {one.snapshot.name for one in list_snapshots(fleet.context(), [fleet.task]) if one.reason == "superseded"}
    before = names(fleet)
    back_up(fleet, 2)
    assert goes
    assert before - names(fleet) == goes


def reasons(fleet: Fleet) -> list[str]:
    return [one.reason for one in list_snapshots(fleet.context(), [fleet.task])]


def test_the_list_knows_interrupted_backups(fleet: Fleet) -> None:
    back_up(fleet, 0)
    fleet.store.fail("put_chunk")
    fleet.fail(0)
    assert reasons(fleet) == ["base", "unfinished"]


def test_the_list_knows_that_nothing_goes_while_a_manifest_cannot_be_read(fleet: Fleet) -> None:
    back_up(fleet, 0, 0)
    assert reasons(fleet) == ["superseded", "base"]
    newest = fleet.manifests()[-1]
    fleet.store.corrupt(newest.series.manifest_key(newest.backup_id), 40)
    assert "superseded" not in reasons(fleet)
