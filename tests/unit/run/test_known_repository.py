# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository that is not the one that this machine knows is refused by everything, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from zrb.errors import BackupsVanished, ManifestInvalid, RepositoryChanged
from zrb.run.backup import plan_backup
from zrb.run.list import list_backups
from zrb.run.verify import VerifyReport, verify

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import MemoryStore

Step = Callable[[Fleet], None]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def on_a_machine_made_anew(fleet: Fleet) -> None:
    fleet.change_config(base_dir=PurePosixPath(fleet.root / "anew"))


def wiped(fleet: Fleet) -> None:
    """Removed, or a mount point with nothing mounted."""
    fleet.store = MemoryStore()


def exchanged(fleet: Fleet) -> None:
    """Another machine's, or an attacker's."""
    base_dir, fleet.store = fleet.config.base_dir, MemoryStore()
    on_a_machine_made_anew(fleet)
    fleet.back_up(0)
    fleet.change_config(base_dir=base_dir)


def without_identity(fleet: Fleet) -> None:
    """The one object that is not signed."""
    fleet.store.remove("zrb.json")


def identity_exchanged(fleet: Fleet) -> None:
    """The manifests are the known ones."""
    text = fleet.store.get("zrb.json", limit=1000)
    fleet.store.replace("zrb.json", text.replace(b"00000001", b"99999999"))


def backup(fleet: Fleet) -> None:
    fleet.run(1)


def dry_run(fleet: Fleet) -> None:
    plan_backup(fleet.context(), task=fleet.task, level=0)


def verification(fleet: Fleet) -> None:
    for problem in verify(fleet.context(), depth="exists").problems:
        raise problem.error


def listing(fleet: Fleet) -> None:
    for problem in list_backups(fleet.context()).problems:
        if isinstance(problem, RepositoryChanged):
            raise problem


def restore(fleet: Fleet) -> None:
    fleet.restore()


CHANGES: list[Step] = [wiped, exchanged, without_identity, identity_exchanged]
USES: list[Step] = [backup, dry_run, verification, listing, restore]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("use", USES)
def test_it_is_refused_and_nothing_is_written(fleet: Fleet, change: Step, use: Step) -> None:
    fleet.back_up(0)
    change(fleet)
    before, snapshots = fleet.store.keys, fleet.zfs.snapshots(DATASET)
    for _again in range(2):
        with pytest.raises(RepositoryChanged) as caught:
            use(fleet)
        assert caught.value.exit_code == 5
        assert caught.value.subject == fleet.store.location
        assert "--accept-losses" in caught.value.next_step
    assert fleet.store.keys == before
    assert fleet.zfs.snapshots(DATASET) == snapshots
    assert not fleet.zfs.exists("tank/restore/copy")


@pytest.mark.parametrize("use", USES)
def test_no_new_identity_over_manifests_that_nobody_remembers(fleet: Fleet, use: Step) -> None:
    """This machine was made anew, and somebody who writes there removed the unsigned object."""
    fleet.back_up(0)
    on_a_machine_made_anew(fleet)
    without_identity(fleet)
    with pytest.raises(RepositoryChanged):
        use(fleet)
    assert "zrb.json" not in fleet.store.keys


@pytest.mark.parametrize("use", [verification, restore, backup])
def test_whoever_uses_it_remembers_it(fleet: Fleet, use: Step) -> None:
    fleet.back_up(0)
    on_a_machine_made_anew(fleet)
    assert fleet.context().known_repository is None
    use(fleet)
    assert fleet.context().known_id == fleet.manifests()[0].repository_id


def test_each_destination_has_its_own(fleet: Fleet) -> None:
    first = fleet.back_up(0).manifest.repository_id
    fleet.use_repository("other", MemoryStore(location="memory://other/"))
    second = fleet.back_up(0).manifest.repository_id
    assert first != second
    assert fleet.run(0).exit_code == 0


def test_a_new_name_of_the_machine_is_a_warning_once(fleet: Fleet) -> None:
    fleet.back_up(0)
    fleet.change_config(host="renamed")
    outcome = fleet.run(0)
    (result,) = outcome.results
    assert outcome.exit_code == 4
    assert any("nas1" in warning and "renamed" in warning for warning in result.warnings)
    assert fleet.run(0).exit_code == 0


def test_a_new_dataset_of_the_same_machine_is_none(fleet: Fleet) -> None:
    fleet.back_up(0)
    fleet.zfs.add_dataset("tank/new", content=b"new")
    fleet.task = replace(fleet.task, dataset="new")
    assert fleet.run(0).exit_code == 0


# --- backups of a known repository ---


def of_three(fleet: Fleet) -> list[str]:
    """Keys of the manifests of three full backups."""
    keys = []
    for seed in range(3):
        fleet.write(seed)
        keys.append(fleet.back_up(0).manifest_key)
    return keys


def newest_withheld(fleet: Fleet, keys: list[str]) -> None:
    fleet.store.remove(keys[2])


def rolled_back(fleet: Fleet, keys: list[str]) -> None:
    """An older copy of the whole."""
    for key in keys[1:]:
        fleet.store.remove(key)


def all_vanished(fleet: Fleet, keys: list[str]) -> None:
    for key in keys:
        fleet.store.remove(key)


def middle_vanished(fleet: Fleet, keys: list[str]) -> None:
    fleet.store.remove(keys[1])


LOSSES: list[Callable[[Fleet, list[str]], None]] = [newest_withheld, rolled_back, all_vanished, middle_vanished]


def look(fleet: Fleet, **options: bool) -> VerifyReport:
    return verify(fleet.context(), depth="exists", **options)


@pytest.mark.parametrize("lose", LOSSES)
def test_what_vanished_is_a_problem_until_it_is_accepted(
    fleet: Fleet, lose: Callable[[Fleet, list[str]], None]
) -> None:
    lose(fleet, of_three(fleet))
    for _again in range(2):
        report = look(fleet)
        assert report.exit_code == 5
        assert [type(problem.error) for problem in report.problems] == [BackupsVanished]
        assert [problem.dataset for problem in report.problems] == [DATASET]
    accepted = look(fleet, accept_losses=True)
    assert (accepted.exit_code, len(accepted.warnings)) == (4, 1)
    assert look(fleet).exit_code == 0
    fleet.back_up(0)
    assert look(fleet).exit_code == 0, "the backup after a gap that was accepted is no new loss"
    assert fleet.run(0).exit_code == 0
    assert fleet.manifests()[-1].seq == 5, "no number is given twice"


@pytest.mark.parametrize("lose", [newest_withheld, rolled_back, all_vanished])
def test_an_old_state_is_not_continued(fleet: Fleet, lose: Callable[[Fleet, list[str]], None]) -> None:
    lose(fleet, of_three(fleet))
    before, snapshots = fleet.store.keys, fleet.zfs.snapshots(DATASET)
    for level in (0, 1):
        outcome = fleet.run(level)
        assert [type(error) for _name, error in outcome.failures] == [BackupsVanished]
        assert outcome.exit_code == 5
    with pytest.raises(BackupsVanished):
        fleet.plan(0)
    assert (fleet.store.keys, fleet.zfs.snapshots(DATASET)) == (before, snapshots)


def test_other_datasets_of_the_task_are_backed_up_all_the_same(fleet: Fleet) -> None:
    fleet.zfs.add_dataset(f"{DATASET}/child", content=b"child")
    fleet.task = replace(fleet.task, recursive=True)
    lost = fleet.run(0).results[0].manifest_key
    fleet.store.remove(lost)
    outcome = fleet.run(0)
    assert [result.manifest.dataset.name for result in outcome.results] == [f"{DATASET}/child"]
    assert [name for name, _error in outcome.failures] == [DATASET]


def test_a_gap_is_told_once_by_a_backup(fleet: Fleet) -> None:
    middle_vanished(fleet, of_three(fleet))
    assert [fleet.run(0).exit_code for _run in range(3)] == [4, 0, 0]
    assert look(fleet).exit_code == 5, "nobody has accepted it"


def test_a_gap_that_grows_is_another_one(fleet: Fleet) -> None:
    keys = of_three(fleet)
    middle_vanished(fleet, keys)
    look(fleet, accept_losses=True)
    fleet.back_up(0)
    assert look(fleet).exit_code == 0
    fleet.store.remove(keys[2])
    assert look(fleet).exit_code == 5


def test_a_dataset_that_vanished_whole_is_not_forgotten(fleet: Fleet) -> None:
    fleet.zfs.add_dataset("tank/other", content=b"other")
    other = replace(fleet.task, dataset="other")
    mine, fleet.task = fleet.task, other
    key = fleet.back_up(0).manifest_key
    fleet.task = mine
    fleet.back_up(0)
    fleet.store.remove(key)
    assert [problem.dataset for problem in look(fleet).problems] == ["tank/other"]
    assert verify(fleet.context(), depth="exists", task=mine).exit_code == 0


# --- acceptance of another repository ---


@pytest.mark.parametrize("change", [wiped, exchanged])
def test_another_repository_is_accepted_by_hand(fleet: Fleet, change: Step) -> None:
    fleet.back_up(0)
    fleet.write(2)
    fleet.store.fail("put", key_part="manifests/")
    fleet.fail(1)
    change(fleet)
    assert look(fleet, accept_losses=True).exit_code == 4
    newest = fleet.back_up(0).manifest
    assert fleet.journals() == []
    assert fleet.held() >= {newest.snapshot.name}
    assert {tag for name in fleet.held() for tag in fleet.zfs.tags(name)} == {f"zrb:{newest.repository_id[:8]}"}
    assert look(fleet).exit_code == 0


@pytest.mark.parametrize("remembered", [True, False])
def test_a_lost_identity_is_made_again_from_signed_manifests(fleet: Fleet, remembered: bool) -> None:
    first = fleet.back_up(0).manifest
    without_identity(fleet)
    if not remembered:
        on_a_machine_made_anew(fleet)
    assert look(fleet, accept_losses=True).exit_code == 4
    assert fleet.context().known_id == first.repository_id
    fleet.write(2)
    assert fleet.back_up(1).manifest.repository_id == first.repository_id
    assert look(fleet).exit_code == 0


def test_an_identity_that_disowns_signed_manifests_is_not_accepted(fleet: Fleet) -> None:
    first = fleet.back_up(0).manifest
    identity_exchanged(fleet)
    with pytest.raises(ManifestInvalid) as caught:
        look(fleet, accept_losses=True)
    assert "zrb.json" in caught.value.next_step
    assert fleet.context().known_id == first.repository_id
    fleet.store.remove("zrb.json")
    look(fleet, accept_losses=True)
    assert look(fleet).exit_code == 0


def test_manifests_that_nobody_trusted_signed_tell_no_identity(fleet: Fleet) -> None:
    key = fleet.back_up(0).manifest_key
    without_identity(fleet)
    fleet.store.replace(key, b"{}")
    with pytest.raises(RepositoryChanged):
        look(fleet, accept_losses=True)
    assert "zrb.json" not in fleet.store.keys


def test_nothing_to_accept_changes_nothing(fleet: Fleet) -> None:
    fleet.back_up(0)
    report = look(fleet, accept_losses=True)
    assert (report.exit_code, report.warnings) == (0, ())


def test_a_repository_is_given_up_by_hand_alone(fleet: Fleet) -> None:
    """A memory that is lost is no reason to let go of what another configuration needs."""
    first = fleet.back_up(0).manifest
    (pin,) = (fleet.root / "state/state/repositories").iterdir()
    pin.unlink()
    fleet.use_repository("other", MemoryStore(location="memory://other/"))
    second = fleet.back_up(0).manifest
    assert fleet.held() == {first.snapshot.name, second.snapshot.name}


def test_a_repository_that_moved_to_another_destination_keeps_its_holds(fleet: Fleet) -> None:
    first, store = fleet.back_up(0).manifest, fleet.store
    fleet.use_repository("moved", store)
    fleet.write(2)
    fleet.back_up(1)
    fleet.use_repository("fake", MemoryStore())
    look(fleet, accept_losses=True)
    newest = fleet.back_up(0).manifest
    assert {first.snapshot.name, newest.snapshot.name} <= fleet.held()
