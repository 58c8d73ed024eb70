# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of a task does when nothing goes wrong: levels, plans, snapshots, holds, bookmarks, results."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import (
    BackupsVanished,
    ConfigError,
    LevelUnavailable,
    NoSuchDataset,
    NoSuchPool,
    NoSuchSnapshot,
    UsageError,
    ZfsError,
    ZfsUnable,
)
from zrb.run.backup import BackupOutcome, back_up, plan_backup
from zrb.run.snapshot import take_snapshot
from zrb.seal.age_keys import new_identity
from zrb.state.journal import Journal
from zrb.state.locks import dataset_state_dir
from zrb.state.pending_snapshot import note_pending
from zrb.values.config import KIB, S3Settings, StorageClasses, Task

from tests.fakes.fleet import DATASET, NOON, TAG, Fleet, random_bytes
from tests.fakes.zfs import ZFS_FUSE, FakeZfs


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def state(fleet: Fleet) -> Any:
    """Everything that a run could change."""
    zfs = fleet.zfs
    return (
        {key: fleet.store.get(key, limit=1 << 30) for key in fleet.store.keys},
        set(fleet.store.unfinished),
        {
            name: (zfs.snapshots(name), zfs.bookmarks(name), zfs.local_properties(name), zfs.content(name))
            for name in zfs.descendants("tank")
        },
        fleet.held(),
        {path: path.is_file() and path.read_bytes() for path in fleet.root.rglob("*")},
    )


class TestOneBackup:
    def test_a_full_one(self, fleet: Fleet) -> None:
        outcome = fleet.run(0, job={"id": "17", "user": "ops"})
        assert (outcome.exit_code, outcome.failures) == (0, ())
        (result,) = outcome.results
        manifest = result.manifest
        assert fleet.manifests() == [manifest]
        assert (manifest.level, manifest.level_requested, manifest.seq, manifest.previous) == (0, 0, 1, None)
        assert (manifest.chain, manifest.base) == (manifest.backup_id, None)
        assert manifest.properties == {"compression": "zstd"}
        assert manifest.job == {"id": "17", "user": "ops"}
        assert manifest.send.flags == ("-L", "-c")
        assert manifest.encryption.recipients == fleet.config.recipients
        assert manifest.stream.bytes > 200 * KIB
        assert {part.plain_bytes for part in fleet.parts(manifest)[:-1]} == {64 * KIB}
        listed = [part.key for part in fleet.parts(manifest)]
        assert set(fleet.store.keys) == {result.manifest_key, manifest.parts.key, "zrb.json", *listed}
        assert not fleet.store.unfinished
        assert fleet.store.closed

    def test_a_log_that_cannot_be_written_is_a_warning(self, fleet: Fleet) -> None:
        (fleet.root / "logs").write_text("in place of the directory")
        outcome = fleet.run(0)
        assert (outcome.exit_code, outcome.failures) == (4, ())
        (warning,) = outcome.results[0].warnings
        assert str(fleet.root / "logs") in warning

    def test_its_result_for_machines(self, fleet: Fleet) -> None:
        result = fleet.back_up()
        document = result.as_json()
        assert document.pop("duration_s") >= 0
        manifest = result.manifest
        assert document == {
            "task": "nightly",
            "dataset": DATASET,
            "backup_id": manifest.backup_id,
            "level": 0,
            "level_requested": 0,
            "reason": "",
            "base": None,
            "snapshot": manifest.snapshot.name,
            "snapshot_guid": manifest.snapshot.guid,
            "stream_bytes": manifest.stream.bytes,
            "stored_bytes": sum(part.bytes for part in fleet.parts(manifest)),
            "parts": len(fleet.parts(manifest)),
            "parts_resumed": 0,
            "manifest_key": f"manifests/nas1/tank/data/{manifest.backup_id}.json",
            "storage_class": "STANDARD",
            "location": "memory://repository/",
            "warnings": [],
        }
        fleet.write(2)
        first = fleet.back_up(1).as_json()
        assert first["base"] == {
            "backup_id": manifest.backup_id,
            "snapshot": manifest.snapshot.name,
            "guid": manifest.snapshot.guid,
        }

    def test_what_it_reports_meanwhile(self, fleet: Fleet) -> None:
        result = fleet.back_up()
        progress = fleet.progress
        ((operation, total, message),) = progress.started
        assert (operation, total) == ("backup", result.manifest.stream.bytes)
        assert message == f"{result.manifest.backup_id} of {result.manifest.snapshot.name} to memory://repository/"
        assert progress.phases[-1] == "commit"
        assert set(progress.phases) == {"upload", "commit"}
        assert progress.finished == [("ok", result.as_json())]
        (log,) = (fleet.root / "logs" / "tank" / "data").iterdir()
        assert result.manifest.backup_id in log.read_text()

    def test_parts_and_manifest_have_their_storage_classes(self, fleet: Fleet) -> None:
        classes = StorageClasses(manifest="STANDARD_IA", backup_data=("GLACIER", "ONEZONE_IA"))
        fleet.change_config(s3=S3Settings(bucket="fake", storage_class=classes))
        full = fleet.back_up(0)
        fleet.write(2)
        first = fleet.back_up(1)
        found = {item.key: item.storage_class for item in fleet.store.list("")}
        assert {found[part.key] for part in fleet.parts(full.manifest)} == {"GLACIER"} == {full.storage_class}
        assert {found[part.key] for part in fleet.parts(first.manifest)} == {"ONEZONE_IA"}
        assert found[full.manifest_key] == "STANDARD_IA"

    def test_a_level_that_does_not_exist(self, fleet: Fleet) -> None:
        for call in (back_up, plan_backup):
            with pytest.raises(UsageError, match="Level 5 "):
                call(fleet.context(), task=fleet.task, level=5)

    def test_without_a_signing_key(self, fleet: Fleet) -> None:
        fleet.change_config(signing_key=None)
        for call in (back_up, plan_backup):
            with pytest.raises(ConfigError, match="signing_key") as caught:
                call(fleet.context(), task=fleet.task, level=0)
            assert "zrb signing-key --output" in caught.value.next_step
        assert fleet.store.keys == []

    def test_a_dataset_or_a_pool_that_does_not_exist(self, fleet: Fleet) -> None:
        for task, kind in (
            (replace(fleet.task, dataset="gone"), NoSuchDataset),
            (replace(fleet.task, pool="gone"), NoSuchPool),
        ):
            with pytest.raises(kind):
                back_up(fleet.context(), task=task, level=0)
            with pytest.raises(kind):
                plan_backup(fleet.context(), task=task, level=0)
        assert fleet.store.closed


class TestLevels:
    def test_each_starts_from_the_one_below(self, fleet: Fleet) -> None:
        results = []
        for level in (0, 1, 2, 3, 4):
            fleet.write(level)
            results.append(fleet.back_up(level).manifest)
        for older, newer in pairwise(results):
            assert newer.base is not None
            assert (newer.base.backup_id, newer.base.guid) == (older.backup_id, older.snapshot.guid)
        assert [manifest.seq for manifest in fleet.manifests()] == [1, 2, 3, 4, 5]
        assert {manifest.chain for manifest in results} == {results[0].backup_id}

    def test_promotion_says_why(self, fleet: Fleet) -> None:
        result = fleet.back_up(2)
        assert (result.manifest.level, result.manifest.level_requested) == (0, 2)
        assert all(words in result.reason for words in ("Level 2 ", "level 0,", "no committed backup"))
        assert fleet.progress.warnings == [result.reason]
        assert result.warnings == (result.reason,)
        assert result.manifest.snapshot.name.startswith(f"{DATASET}@zrb_level2_")

    def test_strict_refuses_and_changes_nothing(self, fleet: Fleet) -> None:
        error = fleet.fail(1, strict=True)
        assert type(error) is LevelUnavailable
        assert error.subject == DATASET and "Level 1 " in error.problem
        assert fleet.zfs.snapshots(DATASET) == []
        assert fleet.journals() == []
        with pytest.raises(LevelUnavailable):
            fleet.plan(1, strict=True)
        assert fleet.progress.finished[-1][0] == "failed"

    def test_a_bookmark_is_as_good_as_the_snapshot(self, fleet: Fleet) -> None:
        full = fleet.back_up(0).manifest
        fleet.zfs.release(full.snapshot.name, TAG)
        fleet.zfs.destroy_snapshot(full.snapshot.name)
        fleet.write(2)
        assert fleet.plan(1).choice.base_source == full.snapshot.name.replace("@", "#")
        first = fleet.back_up(1).manifest
        assert first.base is not None
        assert first.base.guid == full.snapshot.guid

    def test_flags_are_frozen_for_a_chain(self, fleet: Fleet) -> None:
        fleet.zfs.add_dataset(DATASET, content=b"secret", encrypted=True)
        fleet.task = replace(fleet.task, raw="never")
        fleet.back_up(0)
        fleet.task = replace(fleet.task, raw="always")
        assert fleet.back_up(1).manifest.send.flags == ("-L", "-c")
        assert fleet.back_up(0).manifest.send.flags == ("-w",)

    def test_an_old_zfs(self, tmp_path: Path) -> None:
        fleet = Fleet(tmp_path, zfs=FakeZfs(capabilities=ZFS_FUSE))
        full = fleet.back_up(0)
        fleet.write(2)
        first = fleet.back_up(1)
        assert (full.manifest.send.flags, first.manifest.level) == ((), 1)
        assert fleet.zfs.bookmarks(DATASET) == []
        # It foretells no stream; what the dataset refers to is about as much as a full one, and tells nothing else.
        assert [total for _, total, _ in fleet.progress.started] == [fleet.zfs.referenced_bytes, None]
        assert (fleet.plan(0).estimated_bytes, fleet.plan(0).parts) == (fleet.zfs.referenced_bytes, 1)
        assert (fleet.plan(1).estimated_bytes, fleet.plan(1).parts) == (None, None)
        fleet.task = replace(fleet.task, raw="always")
        assert type(fleet.fail(0)) is ZfsUnable


class TestHoldsAndBookmarks:
    def test_the_newest_of_every_level_stays_held(self, fleet: Fleet) -> None:
        names = {}
        for number, level in enumerate((0, 1, 2, 1, 2)):
            fleet.write(number)
            names[number] = fleet.back_up(level).manifest.snapshot.name
        assert fleet.held() == {names[0], names[3], names[4]}
        assert {bookmark.name for bookmark in fleet.zfs.bookmarks(DATASET)} == {
            name.replace("@", "#") for name in names.values()
        }

    def test_a_new_full_backup_frees_the_old_chain(self, fleet: Fleet) -> None:
        for level in (0, 1):
            fleet.back_up(level)
        newest = fleet.back_up(0).manifest.snapshot.name
        assert fleet.held() == {newest}

    def test_what_others_hold_is_theirs(self, fleet: Fleet) -> None:
        old = fleet.back_up(0).manifest.snapshot.name
        fleet.zfs.hold(old, "mine")
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_by_hand", f"{DATASET}@other"])
        for name in ("zrb_level0_by_hand", "other"):
            fleet.zfs.hold(f"{DATASET}@{name}", "mine")
        fleet.back_up(0)
        for name in (old, f"{DATASET}@zrb_level0_by_hand", f"{DATASET}@other"):
            assert fleet.zfs.tags(name) == {"mine"}

    def test_a_hold_from_before_a_crash_is_released(self, fleet: Fleet) -> None:
        (left, foreign) = fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_20260101T000000Z"]) + (
            fleet.zfs.create_snapshots([f"{DATASET}@weekly"])
        )
        for snapshot in (left, foreign):
            fleet.zfs.hold(snapshot.name, TAG)
        note_pending(dataset_state_dir(Path(fleet.config.base_dir), DATASET), left.name, hold_tag=TAG)
        newest = fleet.back_up(0).manifest.snapshot.name
        assert fleet.held() == {newest, foreign.name}


class TestSnapshots:
    def test_two_runs_within_one_second(self, fleet: Fleet) -> None:
        fleet.tick = timedelta()
        names = [fleet.back_up(0).manifest.snapshot.name for _ in range(3)]
        assert names == [f"{DATASET}@zrb_level0_20260131T12000{second}Z" for second in range(3)]
        ids = [manifest.backup_id for manifest in fleet.manifests()]
        assert len(set(ids)) == 3
        assert all(backup_id.startswith(f"{NOON:%Y%m%dT%H%M%SZ}-L0-") for backup_id in ids)

    def test_one_taken_before_is_sent(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        taken = take_snapshot(fleet.context(), task=fleet.task, level=0)
        before = fleet.zfs.content(DATASET)
        fleet.write(2)
        assert fleet.plan(0).snapshot == taken.name
        result = fleet.back_up(0)
        assert result.manifest.snapshot.name == taken.name
        assert len(fleet.zfs.snapshots(DATASET)) == 1
        fleet.restore()
        assert fleet.zfs.content("tank/restore/copy") == before

    def test_the_newest_of_them(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        for level in (0, 1, 0):
            newest = take_snapshot(fleet.context(), task=fleet.task, level=level)
        take_snapshot(fleet.context(), task=fleet.task, level=2)
        assert fleet.back_up(0).manifest.snapshot.name == newest.name

    def test_none_was_taken(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        error = fleet.fail(1)
        assert type(error) is NoSuchSnapshot
        assert DATASET in error.problem and "zrb_level1_" in error.problem
        assert "`zrb snapshot --level 1 --task nightly`" in error.next_step

    def test_it_was_backed_up_already(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        taken = take_snapshot(fleet.context(), task=fleet.task, level=0)
        first = fleet.back_up(0)
        error = fleet.fail(0)
        assert taken.name in error.problem and first.manifest.backup_id in error.problem

    def test_holds_of_snapshots_that_wait_for_their_backup_stay(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        for level in (0, 1):
            waiting = take_snapshot(fleet.context(), task=fleet.task, level=level)
        fleet.back_up(0)
        assert waiting.name in fleet.held()
        assert fleet.back_up(1).manifest.level == 1


class TestRecursive:
    @pytest.fixture
    def fleet(self, tmp_path: Path) -> Fleet:
        fleet = Fleet(tmp_path, task=Task(name="nightly", pool="tank", dataset="data", recursive=True))
        for name in ("a", "b", "b/c", "tmp"):
            fleet.zfs.add_dataset(f"{DATASET}/{name}", content=random_bytes(1000, len(name)))
        return fleet

    def test_one_instant_and_a_backup_for_each(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, exclude=("tmp",))
        outcome = fleet.run(0)
        assert outcome.exit_code == 0
        manifests = [result.manifest for result in outcome.results]
        assert [manifest.dataset.name for manifest in manifests] == [
            DATASET,
            f"{DATASET}/a",
            f"{DATASET}/b",
            f"{DATASET}/b/c",
        ]
        assert len({manifest.snapshot.createtxg for manifest in manifests}) == 1
        assert len({manifest.snapshot.name.partition("@")[2] for manifest in manifests}) == 1
        assert {manifest.seq for manifest in manifests} == {1}
        assert fleet.zfs.snapshots(f"{DATASET}/tmp") == []

    def test_one_that_fails_does_not_stop_the_others(self, fleet: Fleet) -> None:
        fleet.store.fail("complete", error=None, key_part="nothing")
        fleet.store.fail("put", key_part="data/nas1/tank/data/a/")
        outcome = fleet.run(0)
        ((dataset, error),) = outcome.failures
        assert dataset == f"{DATASET}/a"
        assert outcome.exit_code == error.exit_code == 1
        assert [result.manifest.dataset.name for result in outcome.results] == [
            DATASET,
            f"{DATASET}/b",
            f"{DATASET}/b/c",
            f"{DATASET}/tmp",
        ]
        again = fleet.run(0)
        resumed = {result.manifest.dataset.name: result for result in again.results}[f"{DATASET}/a"]
        assert (again.exit_code, resumed.manifest.seq) == (0, 1)
        assert fleet.journals() == []

    def test_one_whose_snapshot_cannot_be_held(self, fleet: Fleet) -> None:
        fleet.zfs.fail("hold", ZfsError("no hold", next_step="Look"), times=2)
        outcome = fleet.run(0)
        assert [dataset for dataset, _ in outcome.failures] == [DATASET]
        assert len(outcome.results) == 4

    def test_everything_is_excluded(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, exclude=("*",))
        with pytest.raises(UsageError, match="excludes every dataset"):
            fleet.run(0)

    def test_plans_for_each(self, fleet: Fleet) -> None:
        plans = plan_backup(fleet.context(), task=fleet.task, level=1)
        assert [plan.dataset for plan in plans] == fleet.zfs.descendants(DATASET)


class TestPlan:
    def test_it_warns_of_what_the_run_then_warns_of(self, fleet: Fleet) -> None:
        """Manifests that were refused, and the full backup that is made because of it."""
        fleet.store.corrupt(fleet.back_up(0).manifest_key, 60)
        plan = fleet.plan(1)
        assert plan.warnings == fleet.back_up(1).warnings
        assert len(plan.warnings) >= 2

    def test_it_says_what_the_run_then_does(self, fleet: Fleet) -> None:
        fleet.tick = timedelta()
        fleet.back_up(0)
        fleet.write(2)
        fleet.now += timedelta(hours=1)
        plan = fleet.plan(3)
        result = fleet.back_up(3)
        document = plan.as_json()
        assert document["base"] == result.as_json()["base"]
        assert document == {
            "task": "nightly",
            "dataset": DATASET,
            "level": 1,
            "level_requested": 3,
            "reason": result.reason,
            "base": document["base"],
            "snapshot": result.manifest.snapshot.name,
            "flags": ["-L", "-c"],
            "estimated_bytes": None,
            "parts": None,
            "part_size": 64 * KIB,
            "chunk_size": 16 * KIB,
            "storage_class": "STANDARD",
            "destination": "memory://repository/",
            "resumes": None,
            "warnings": [result.reason],
        }

    def test_with_an_estimate_where_there_is_a_snapshot(self, fleet: Fleet) -> None:
        fleet.task = replace(fleet.task, take_snapshot=False)
        take_snapshot(fleet.context(), task=fleet.task, level=0)
        plan, result = fleet.plan(0), fleet.back_up(0)
        assert plan.estimated_bytes == result.manifest.stream.bytes
        assert plan.parts == len(fleet.parts(result.manifest))

    def test_it_changes_nothing_in_an_empty_repository(self, fleet: Fleet) -> None:
        before = state(fleet)
        plan = fleet.plan(0)
        assert (plan.choice.base, plan.as_json()["base"]) == (None, None)
        assert state(fleet) == before
        assert fleet.store.closed

    def test_it_changes_nothing_in_one_that_is_used(self, fleet: Fleet) -> None:
        fleet.back_up(0)
        fleet.write(2)
        fleet.store.fail("put", key_part="manifests/")
        fleet.fail(1)
        fleet.zfs.create_snapshots([f"{DATASET}@zrb_level0_left"])
        fleet.zfs.hold(f"{DATASET}@zrb_level0_left", TAG)
        (journal,) = fleet.journals()
        with journal.open("ab") as file:
            file.write(b'{"stored":{"ind')
        before = state(fleet)
        for level in (0, 1, 2):
            fleet.plan(level)
        assert state(fleet) == before
        assert fleet.plan(1).resumes == journal.stem


class TestOldData:
    """A backup that is interrupted, and continued after younger data was committed."""

    @pytest.fixture
    def interrupted(self, fleet: Fleet) -> Journal:
        """A level 0, a level 1 on it, a second level 0 that was interrupted, another level 1 on the first."""
        fleet.back_up(0)
        fleet.write(2)
        fleet.store.fail("put", key_part="manifests/")
        fleet.fail(0)
        fleet.write(3)
        assert fleet.back_up(1).manifest.level == 1
        (path,) = fleet.journals()
        return Journal.load(path)

    def test_it_is_continued_and_the_owner_is_told(self, fleet: Fleet, interrupted: Journal) -> None:
        newest = fleet.manifests()[-1]
        result = fleet.back_up(0)
        assert result.manifest.backup_id == interrupted.binding.backup_id
        (warning,) = result.warnings
        assert newest.backup_id in warning
        assert "older" in warning

    def test_a_restore_takes_the_youngest_data(self, fleet: Fleet, interrupted: Journal) -> None:
        youngest = fleet.zfs.content(DATASET)
        fleet.back_up(0)
        assert fleet.manifests()[-1].backup_id == interrupted.binding.backup_id
        fleet.restore()
        assert fleet.zfs.content("tank/restore/copy") == youngest

    def test_the_next_increments_start_from_the_youngest_base(self, fleet: Fleet, interrupted: Journal) -> None:
        first, second = fleet.manifests()
        resumed = fleet.back_up(0).manifest
        fleet.write(4)
        assert [fleet.plan(level).choice.base for level in (1, 2)] == [resumed.summary, second.summary]
        assert second.base is not None
        assert second.base.backup_id == first.backup_id

    def test_one_that_a_younger_backup_of_its_level_replaced_is_given_up(
        self, fleet: Fleet, interrupted: Journal
    ) -> None:
        zfs = fleet.zfs
        fleet.change_config(recipients=(new_identity()[1],))  # so that the first run cannot continue it
        fleet.run(0)
        assert not interrupted.path.exists()
        assert zfs.tags(interrupted.binding.snapshot) == set()


class TestOutcome:
    def test_its_exit_code(self) -> None:
        locked, other = NoSuchSnapshot("x", next_step="y"), ZfsError("x", next_step="y")
        assert BackupOutcome((), ()).exit_code == 0
        assert BackupOutcome((), (("a", locked), ("b", locked))).exit_code == 6
        assert BackupOutcome((), (("a", locked), ("b", other))).exit_code == 1

    def test_warnings_make_it_4(self, fleet: Fleet) -> None:
        fleet.zfs.fail("bookmark", ZfsError("No bookmark was made", next_step="Look at the pool"))
        outcome = fleet.run(0)
        assert outcome.exit_code == 4
        assert outcome.results[0].warnings == ("No bookmark was made. Look at the pool.",)
        assert fleet.progress.finished[-1][0] == "warning"
        assert outcome.results[0].as_json()["warnings"] == ["No bookmark was made. Look at the pool."]
        assert fleet.journals() == []

    def test_backups_that_were_removed_are_missed(self, fleet: Fleet) -> None:
        fleet.back_up(0)
        newest = fleet.back_up(0)
        fleet.store.remove(newest.manifest_key)
        outcome = fleet.run(0)
        assert (outcome.exit_code, outcome.results) == (5, ())
        assert [type(error) for _name, error in outcome.failures] == [BackupsVanished]

    def test_a_manifest_that_nobody_trusted_signed_is_no_base(self, fleet: Fleet) -> None:
        full = fleet.back_up(0)
        fleet.store.corrupt(full.manifest_key, 400)
        outcome = fleet.run(1)
        assert outcome.exit_code == 4
        assert outcome.results[0].manifest.level == 0
        assert any(full.manifest_key in warning for warning in outcome.results[0].warnings)
