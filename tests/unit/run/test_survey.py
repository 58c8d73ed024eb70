# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is found before a backup begins, and what is decided from it. Looking changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from zrb.errors import NoSuchDataset, NoSuchSnapshot
from zrb.repository.identity import RepositoryIdentity, ensure_identity
from zrb.run.backup.survey import Decision, Survey, binding_for, decide, look, survey_dataset
from zrb.state.journal import Journal
from zrb.state.locks import dataset_state_dir
from zrb.values.repository_names import BackupId

from tests.fakes.fleet import DATASET, TAG, Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def survey(fleet: Fleet) -> Survey:
    ensure_identity(fleet.store, now=fleet.now, new_id="0" * 32)
    return survey_dataset(fleet.context(), look(fleet.context(), fleet.store, fleet.task), DATASET)


def identity(fleet: Fleet) -> RepositoryIdentity:
    return ensure_identity(fleet.store, now=fleet.now, new_id="0" * 32)


def decision(fleet: Fleet, level: int = 0) -> Decision:
    context = fleet.context()
    return decide(context, identity(fleet), fleet.task, survey(fleet), level=level, strict=False)


def unfinished(fleet: Fleet, level: int, token: str) -> Journal:
    """A journal as a run at ``level`` would have left it, with its snapshot held."""
    context, found = fleet.context(), survey(fleet)
    choice = decision(fleet, level).choice
    (snapshot,) = fleet.zfs.create_snapshots([f"{DATASET}@zrb_level{level}_{token}"])
    fleet.zfs.hold(snapshot.name, TAG)
    binding = binding_for(
        context,
        identity(fleet),
        found,
        choice,
        snapshot=snapshot,
        level_requested=level,
        part_size=fleet.config.limits.part_size,
    )
    binding = replace(binding, backup_id=BackupId(f"20260131T0{token}0000Z-L{choice.level}-0000000{token}"))
    directory = dataset_state_dir(Path(fleet.config.base_dir), DATASET)
    directory.mkdir(parents=True, exist_ok=True)
    return Journal.create(directory, binding)


class TestLook:
    def test_nothing_yet(self, fleet: Fleet) -> None:
        found = survey(fleet)
        assert (found.series.host, found.series.dataset) == ("nas1", DATASET)
        assert (found.dataset, found.pool) == (fleet.zfs.dataset(DATASET), fleet.zfs.pool("tank"))
        assert (found.manifests, found.snapshots, found.bookmarks, found.journals, found.warnings) == ((),) * 5
        assert found.committed("any") is None
        assert found.snapshot_with("1") is None

    def test_what_there_is(self, fleet: Fleet) -> None:
        manifests = [fleet.back_up(level).manifest for level in (0, 1)]
        found = survey(fleet)
        assert list(found.manifests) == [manifest.summary for manifest in manifests]
        assert found.committed(manifests[1].backup_id) == manifests[1].summary
        snapshot = found.snapshot_with(manifests[0].snapshot.guid)
        assert snapshot is not None
        assert snapshot.name == manifests[0].snapshot.name
        assert [bookmark.guid for bookmark in found.bookmarks] == [one.snapshot.guid for one in manifests]

    def test_backups_of_a_child_are_not_its_own(self, fleet: Fleet) -> None:
        fleet.zfs.add_dataset(f"{DATASET}/child")
        fleet.task = replace(fleet.task, dataset="data/child")
        fleet.back_up(0)
        assert survey(fleet).manifests == ()

    def test_damaged_journals_are_told_apart(self, fleet: Fleet) -> None:
        whole = unfinished(fleet, 0, "1")
        torn = whole.path.with_name("20260131T030000Z-L0-00000003.journal")
        torn.write_text('{"journal":1')
        renamed = whole.path.with_name("20260131T040000Z-L0-00000004.journal")
        renamed.write_bytes(whole.path.read_bytes())
        found = survey(fleet)
        assert [journal.path for journal in found.journals] == [whole.path]
        assert list(found.damaged_journals) == [torn, renamed]

    def test_a_dataset_that_is_gone(self, fleet: Fleet) -> None:
        with pytest.raises(NoSuchDataset):
            survey_dataset(fleet.context(), look(fleet.context(), fleet.store, fleet.task), "tank/gone")


class TestDecide:
    def test_a_new_backup(self, fleet: Fleet) -> None:
        found = decision(fleet)
        assert (found.snapshot, found.journal, found.obsolete) == (None, None, ())
        assert found.snapshot_name.startswith(f"{DATASET}@zrb_level0_20260131T12")

    def test_a_name_that_is_taken_moves_on_by_seconds(self, fleet: Fleet) -> None:
        fleet.tick = timedelta()
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_20260131T120000Z"])
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_20260131T120001Z"])
        assert decision(fleet).snapshot_name == f"{DATASET}@zrb_level0_20260131T120002Z"

    def test_one_that_can_be_continued(self, fleet: Fleet) -> None:
        journal = unfinished(fleet, 0, "1")
        found = decision(fleet)
        assert found.journal is not None
        assert found.journal.path == journal.path
        assert found.snapshot is not None
        assert found.snapshot.guid == journal.binding.snapshot_guid
        assert found.snapshot_name == journal.binding.snapshot
        assert found.obsolete == ()

    def test_of_two_the_newer(self, fleet: Fleet) -> None:
        older, newer = unfinished(fleet, 0, "1"), unfinished(fleet, 0, "2")
        found = decision(fleet)
        assert found.journal is not None
        assert found.journal.path == newer.path
        assert [journal.path for journal in found.obsolete] == [older.path]

    def test_one_of_another_level_is_neither_continued_nor_given_up(self, fleet: Fleet) -> None:
        fleet.back_up(0)
        unfinished(fleet, 1, "1")
        found = decision(fleet, 0)
        assert (found.journal, found.obsolete) == (None, ())

    def test_its_snapshot_is_gone(self, fleet: Fleet) -> None:
        journal = unfinished(fleet, 0, "1")
        fleet.zfs.release(journal.binding.snapshot, TAG)
        fleet.zfs.destroy_snapshot(journal.binding.snapshot)
        found = decision(fleet)
        assert (found.journal, found.snapshot) == (None, None)
        assert [one.path for one in found.obsolete] == [journal.path]

    def test_its_snapshot_was_replaced_by_one_of_the_same_name(self, fleet: Fleet) -> None:
        journal = unfinished(fleet, 0, "1")
        fleet.zfs.release(journal.binding.snapshot, TAG)
        fleet.zfs.destroy_snapshot(journal.binding.snapshot)
        fleet.zfs.create_snapshots([journal.binding.snapshot])
        found = decision(fleet)
        assert (found.journal, found.snapshot) == (None, None)
        assert found.snapshot_name != journal.binding.snapshot

    def test_one_that_is_committed_is_left_to_be_settled(self, fleet: Fleet) -> None:
        manifest = fleet.back_up(0).manifest
        binding = replace(unfinished(fleet, 0, "1").binding, backup_id=manifest.backup_id)
        Journal.create(dataset_state_dir(Path(fleet.config.base_dir), DATASET), binding)
        (fleet.journals()[0]).unlink()
        found = decision(fleet)
        assert [journal.binding.backup_id for journal in found.survey.journals] == [manifest.backup_id]
        assert (found.journal, found.obsolete) == (None, ())

    def test_its_base_was_followed_by_another(self, fleet: Fleet) -> None:
        fleet.back_up(0)
        journal = unfinished(fleet, 1, "1")
        fleet.back_up(0)
        found = decision(fleet, 1)
        assert found.journal is None
        assert [one.path for one in found.obsolete] == [journal.path]

    def test_snapshots_that_others_take(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        with pytest.raises(NoSuchSnapshot, match="snapshot named zrb_level0_"):
            decision(fleet)
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_b"])
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_a"])
        fleet.zfs.create_snapshots([f"{DATASET}@other_level0_c"])
        found = decision(fleet)
        assert found.snapshot is not None
        assert found.snapshot.name == found.snapshot_name == f"{DATASET}@zrb_level0_a"


def test_a_binding_holds_all_that_shapes_the_backup(fleet: Fleet) -> None:
    full = fleet.back_up(0).manifest
    context, found = fleet.context(), survey(fleet)
    snapshot = fleet.zfs.create_snapshots([f"{DATASET}@next"])[0]
    made = binding_for(
        context,
        identity(fleet),
        found,
        decision(fleet, 3).choice,
        snapshot=snapshot,
        level_requested=3,
        part_size=fleet.config.limits.part_size,
    )
    assert made.backup_id.startswith("20260131T12")
    assert "-L1-" in made.backup_id
    assert (made.level, made.level_requested, made.base_id, made.base_guid) == (
        1,
        3,
        full.backup_id,
        full.snapshot.guid,
    )
    assert (made.snapshot, made.snapshot_guid) == (snapshot.name, snapshot.guid)
    assert made.repository_id == full.repository_id
    assert (made.flags, made.zfs_version) == (("-L", "-c"), fleet.zfs.capabilities.version)
    assert "Level 3 " in made.reason and "level 1," in made.reason
