# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a backup leaves when it fails, and what the next run makes of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import (
    BadRecipient,
    EngineError,
    Interrupted,
    LocalStateError,
    Locked,
    ManifestInvalid,
    NoSuchSnapshot,
    ObjectExists,
    PartDamaged,
    PartMissing,
    SendFailed,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    StreamDamaged,
    ZfsError,
)
from zrb.seal.age_keys import new_identity
from zrb.state.journal import Journal
from zrb.state.locks import dataset_locks
from zrb.store.protocol import Store
from zrb.values.config import KIB, MIB, S3Settings, StorageClasses

from tests.fakes.fleet import DATASET, TAG, Fleet
from tests.fakes.store import MemoryStore
from tests.fakes.zfs import SendFault


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def interrupt(fleet: Fleet, level: int = 0) -> Journal:
    """Let a backup fail after two of its parts; its journal."""
    fleet.change_limits(workers=1)
    fleet.store.fail("complete", key_part="part-000002")
    error = fleet.fail(level)
    assert type(error) is StoreUnavailable
    (path,) = fleet.journals()
    return Journal.load(path)


def assert_clean(fleet: Fleet) -> None:
    """Nothing of an unfinished backup is left but objects that no manifest names."""
    assert fleet.journals() == []
    assert not fleet.store.unfinished
    assert fleet.held() <= {manifest.snapshot.name for manifest in fleet.manifests()}


class TestResume:
    def test_stored_parts_are_not_sent_again(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        snapshots = fleet.zfs.snapshots(DATASET)
        assert not fleet.store.unfinished
        assert journal.stored_parts == 2
        assert fleet.plan(0).resumes == journal.binding.backup_id
        assert fleet.plan(0).snapshot == snapshots[0].name
        fleet.write(2)
        fleet.store.calls.clear()
        result = fleet.back_up(0)
        assert (result.manifest.backup_id, result.parts_resumed) == (journal.binding.backup_id, 2)
        assert fleet.zfs.snapshots(DATASET) == snapshots
        assert not [key for call, key in fleet.store.calls if call == "complete" and key.endswith(("0.age", "1.age"))]
        assert any(f"{journal.binding.backup_id}: 2 parts" in text for _level, text in fleet.progress.logged)
        assert_clean(fleet)
        assert fleet.restore().warnings == ()

    @pytest.mark.parametrize("kind", [StoreDenied, StoreError])
    def test_uploads_that_may_not_be_thrown_away_stop_nothing(self, fleet: Fleet, kind: type[StoreError]) -> None:
        journal = interrupt(fleet)
        fleet.store.fail("abort_upload", error=kind("Aborting failed", answer="405", next_step="Allow it"))
        assert fleet.back_up(0).manifest.backup_id == journal.binding.backup_id
        assert any("Aborting failed: 405" in warning for warning in fleet.progress.warnings)
        assert_clean(fleet)

    def test_a_part_that_arrived_without_an_answer_is_adopted(self, fleet: Fleet) -> None:
        fleet.store.lose_reply("complete", key_part="part-000001")
        assert type(fleet.fail()) is StoreUnavailable
        (path,) = fleet.journals()
        unanswered = Journal.load(path)
        assert unanswered.known(1) is None
        result = fleet.back_up(0)
        assert result.parts_resumed >= 1
        assert result.manifest.backup_id == unanswered.binding.backup_id
        assert fleet.parts(result.manifest)[1].checksum.kind == "sha256-composite"
        fleet.restore()

    def test_another_zfs_version_resumes(self, fleet: Fleet) -> None:
        """Every part is compared, so that nothing depends on the version."""
        journal = interrupt(fleet)
        fleet.zfs._capabilities = replace(fleet.zfs.capabilities, version="zfs-9")
        result = fleet.back_up(0)
        assert (result.manifest.backup_id, result.parts_resumed) == (journal.binding.backup_id, 2)

    def test_a_level_above_waits_for_its_own_turn(self, fleet: Fleet) -> None:
        """The journal of another level stays until that level is run again."""
        fleet.back_up(0)
        fleet.write(2, length=400 * KIB)
        journal = interrupt(fleet, 1)
        full = fleet.back_up(0)
        assert [path.stem for path in fleet.journals()] == [journal.binding.backup_id]
        assert journal.binding.snapshot in fleet.held()
        # Its base is not the newest full backup any more: a level 1 now starts from that one.
        first = fleet.back_up(1)
        assert first.manifest.base is not None
        assert first.manifest.base.backup_id == full.manifest.backup_id
        assert first.manifest.backup_id != journal.binding.backup_id
        assert_clean(fleet)

    def test_a_stream_that_is_not_reproducible_begins_again_at_once(self, fleet: Fleet) -> None:
        fleet.zfs.reproducible = False
        journal = interrupt(fleet)
        result = fleet.back_up(0)
        assert (result.parts_resumed, result.manifest.seq) == (0, 1)
        assert result.manifest.backup_id != journal.binding.backup_id
        assert result.manifest.snapshot.name == journal.binding.snapshot
        (warning,) = fleet.progress.warnings
        assert "interrupted backup" in warning and "part 0 " in warning
        assert_clean(fleet)
        fleet.restore()

    def test_a_stranger_under_the_key_of_a_part_begins_again_too(self, fleet: Fleet) -> None:
        fleet.store.lose_reply("complete", key_part="part-000000")
        fleet.fail()
        (path,) = fleet.journals()
        prefix = f"data/nas1/tank/data/level0/{path.stem}/snapshot.part-000000.age"
        fleet.store.replace(prefix, b"something else")
        result = fleet.back_up(0)
        assert result.manifest.backup_id != path.stem
        assert prefix in fleet.progress.warnings[0] and "other content" in fleet.progress.warnings[0]
        assert_clean(fleet)

    def test_a_stranger_in_a_backup_that_was_not_interrupted_is_an_error(self, fleet: Fleet) -> None:
        fleet.store.fail("complete", error=ObjectExists("taken", next_step="Find out"))
        assert type(fleet.fail()) is ObjectExists

    @pytest.mark.parametrize(
        "change",
        [
            "part_size",
            "recipients",
            "storage_class",
            "flags",
            "host's line",
            "dataset was made anew",
        ],
    )
    def test_another_configuration_gives_the_old_one_up(self, fleet: Fleet, change: str) -> None:
        journal = interrupt(fleet)
        old = journal.binding
        key = f"data/nas1/tank/data/level0/{old.backup_id}/snapshot.part-000003.age"
        journal.opened(3, key, fleet.store.open_upload(key, total_chunks=None).upload_id)
        match change:
            case "part_size":
                fleet.change_limits(part_size=48 * KIB)
            case "recipients":
                fleet.change_config(recipients=(*fleet.config.recipients, new_identity()[1]))
            case "storage_class":
                classes = StorageClasses(backup_data=("STANDARD_IA",))
                fleet.change_config(s3=S3Settings(bucket="fake", storage_class=classes))
            case "flags":
                fleet.zfs._capabilities = replace(fleet.zfs.capabilities, send_compressed=False)
            case "host's line":
                fleet.change_config(host="nas2")
            case "dataset was made anew":
                snapshots = fleet.zfs.snapshots(DATASET)
                fleet.zfs.add_dataset(DATASET, content=b"new")
                assert fleet.zfs.snapshots(DATASET) == snapshots
        assert fleet.plan(0).resumes is None
        result = fleet.back_up(0)
        assert result.manifest.backup_id != old.backup_id
        assert result.parts_resumed == 0
        assert old.snapshot not in fleet.held()
        assert_clean(fleet)

    @pytest.mark.parametrize("limits", [{"chunk_size": 32 * KIB}, {"workers": 4}, {"memory_limit": 24 << 20}])
    def test_what_shapes_no_bytes_may_change(self, fleet: Fleet, limits: dict[str, int]) -> None:
        journal = interrupt(fleet)
        fleet.change_limits(**limits)
        result = fleet.back_up(0)
        assert (result.manifest.backup_id, result.parts_resumed) == (journal.binding.backup_id, 2)

    def test_it_keeps_its_part_size_when_the_configuration_leaves_it_open(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        fleet.change_limits(part_size=0, chunk_size=0, memory_limit=64 * MIB)
        assert fleet.plan(0).part_size == 64 * KIB
        result = fleet.back_up(0)
        assert (result.manifest.backup_id, result.parts_resumed) == (journal.binding.backup_id, 2)
        assert result.manifest.part_size == 64 * KIB

    def test_it_keeps_its_sizes_when_the_estimate_changes(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        told = iter([40 << 40, 1, 1])
        monkeypatch.setattr(fleet.zfs, "estimate_bytes", lambda _name, **_how: next(told))
        fleet.change_limits(part_size=0, chunk_size=0, memory_limit=64 * MIB)
        fleet.store.fail("put", key_part="part-000000")
        fleet.fail(0)
        (path,) = fleet.journals()
        binding = Journal.load(path).binding
        assert binding.part_size == 4 << 30
        plan, result = fleet.plan(0), fleet.back_up(0)
        assert result.manifest.backup_id == plan.resumes == binding.backup_id
        assert result.manifest.part_size == plan.part_size == 4 << 30

    def test_the_held_snapshot_is_gone(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        fleet.zfs.release(journal.binding.snapshot, TAG)
        fleet.zfs.destroy_snapshot(journal.binding.snapshot)
        result = fleet.back_up(0)
        assert result.manifest.backup_id != journal.binding.backup_id
        assert_clean(fleet)

    def test_a_journal_that_nobody_can_read(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        journal.path.write_text("garbage\n")
        result = fleet.back_up(0)
        assert result.manifest.backup_id != journal.binding.backup_id
        assert not journal.path.exists()
        # Nobody knows any more which snapshot it held. Of this repository's it is the one that nobody needs.
        assert journal.binding.snapshot not in fleet.held()
        assert "`zfs release TAG SNAPSHOT`" in fleet.progress.warnings[0]

    def test_a_journal_of_which_only_the_beginning_can_be_read(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        first_line = journal.path.read_bytes().partition(b"\n")[0]
        journal.path.write_bytes(first_line + b"\ngarbage\n")
        fleet.back_up(0)
        assert journal.binding.snapshot not in fleet.held()
        assert_clean(fleet)

    def test_a_journal_for_another_repository_is_left_alone(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        fleet.use_repository("other", MemoryStore(location="memory://other/"))
        assert fleet.plan(0).resumes is None
        result = fleet.back_up(0)
        assert result.manifest.repository_id != journal.binding.repository_id
        assert fleet.journals() == [journal.path]
        assert fleet.held() == {journal.binding.snapshot, result.manifest.snapshot.name}

    def test_a_journal_under_another_name(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        journal.path.rename(journal.path.with_name("20260131T020000Z-L0-00000000.journal"))
        fleet.back_up(0)
        assert_clean(fleet)

    @pytest.mark.parametrize("kind", ["pipe", "directory"])
    def test_a_journal_that_is_no_file_hangs_nobody(self, fleet: Fleet, kind: str) -> None:
        journal = interrupt(fleet)
        journal.path.unlink()
        if kind == "pipe":
            os.mkfifo(journal.path)
            fleet.back_up(0)
            assert fleet.journals() == []
        else:
            journal.path.mkdir()
            assert "move it away" in fleet.fail(0).next_step

    def test_a_journal_that_is_a_link_is_an_error(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        elsewhere = fleet.root / "elsewhere"
        journal.path.rename(elsewhere)
        journal.path.symlink_to(elsewhere)
        error = fleet.fail(0)
        assert type(error) is LocalStateError
        assert "Too many levels of symbolic links" in error.explain()
        assert "move it away" in error.next_step
        assert elsewhere.exists()


ACCIDENTS: dict[str, Callable[[MemoryStore, str], None]] = {
    "nothing": lambda _store, _key: None,
    "deleted": lambda store, key: store.remove(key),
    "cut": lambda store, key: store.truncate(key, 100),
    "grown": lambda store, key: store.replace(key, store.get(key, limit=1 << 20) + b"more"),
    "exchanged for as many bytes": lambda store, key: store.replace(key, store.get(key, limit=1 << 20)[::-1]),
    "copied in other chunks": lambda store, key: store.copy(key, 7),
}
HARMLESS = {"nothing", "copied in other chunks"}


class TestNothingIsBelievedThatWasNotLookedAt:
    """Whatever happens to a part after it was stored, and whenever: it is sent again, or the backup is made again, or
    the run fails. What is committed restores."""

    @pytest.mark.parametrize("keeps_checksums", [True, False])
    @pytest.mark.parametrize("accident", ACCIDENTS)
    @pytest.mark.parametrize("index", [0, 1])
    def test_between_two_runs(self, tmp_path: Path, keeps_checksums: bool, accident: str, index: int) -> None:
        fleet = Fleet(tmp_path, store=MemoryStore(keeps_checksums=keeps_checksums))
        journal = interrupt(fleet)
        ACCIDENTS[accident](fleet.store, list(journal.parts())[index].key)
        result = fleet.back_up(0)
        same = result.manifest.backup_id == journal.binding.backup_id
        assert same is (accident in {*HARMLESS, "deleted"})
        assert result.parts_resumed == (2 if accident in HARMLESS else int(same))
        fleet.restore()
        assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
        assert_clean(fleet)

    @pytest.mark.parametrize("resumed", [False, True])
    @pytest.mark.parametrize("accident", ACCIDENTS)
    @pytest.mark.parametrize("index", range(4))
    def test_before_the_commit(self, fleet: Fleet, resumed: bool, accident: str, index: int) -> None:
        """A part of this run or of an earlier one."""
        earlier = interrupt(fleet).binding.backup_id if resumed else ""
        happened: list[str] = []

        def happen(name: str) -> None:
            if name == "stream-stored" and not happened:
                happened.extend(key for key in fleet.store.keys if key.endswith(f"{index:06d}.age"))
                ACCIDENTS[accident](fleet.store, happened[0])

        committed = [result.manifest.backup_id for result in fleet.run(0, checkpoint=happen).results]
        (hit,) = [key.split("/")[-2] for key in happened]
        assert hit == earlier or not resumed
        assert (hit in committed) is (accident in HARMLESS)
        again = fleet.back_up(0).manifest
        assert_clean(fleet)
        assert [one.backup_id for one in fleet.manifests()] == [*committed, again.backup_id]
        for manifest in fleet.manifests():
            fleet.restore(f"tank/restore/{manifest.seq}", backup_id=manifest.backup_id)

    @pytest.mark.parametrize("resumed", [False, True])
    def test_one_listing_is_enough_for_parts_that_nobody_touched(self, fleet: Fleet, resumed: bool) -> None:
        if resumed:
            interrupt(fleet)
        fleet.store.calls.clear()
        manifest = fleet.back_up(0).manifest
        prefix = manifest.series.data_prefix(manifest.backup_id, 0)
        asked = [call for call, key in fleet.store.calls if key.startswith(prefix)]
        assert asked.count("list") == 1 + resumed
        assert not {"head", "read_into"} & set(asked)
        assert asked.count("holds") == resumed, "of the part that was under way when the run ended"


class TestPartsThatVanish:
    """What the journal calls stored counts only while the store shows it at its length."""

    @pytest.mark.parametrize("gone", [{0}, {1}, {0, 1}], ids=str)
    def test_between_two_runs_they_are_sent_again(self, fleet: Fleet, gone: set[int]) -> None:
        journal = interrupt(fleet)
        for part in journal.parts():
            if part.index in gone:
                fleet.store.remove(part.key)
        result = fleet.back_up(0)
        assert result.manifest.backup_id == journal.binding.backup_id
        assert result.parts_resumed == 2 - len(gone)
        assert any(warning.startswith(f"{len(gone)} stored parts ") for warning in fleet.progress.warnings)
        assert_clean(fleet)
        assert fleet.restore().warnings == ()

    def test_a_second_interruption_loses_nothing_of_what_was_sent_again(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        for part in journal.parts():
            fleet.store.remove(part.key)
        again = interrupt(fleet)
        assert (again.binding, again.stored_parts) == (journal.binding, 2)
        assert fleet.back_up(0).parts_resumed == 2
        fleet.restore()

    def test_between_two_runs_one_of_another_length_begins_the_backup_again(self, fleet: Fleet) -> None:
        journal = interrupt(fleet)
        fleet.store.truncate(next(journal.parts()).key, 10)
        result = fleet.back_up(0)
        assert result.manifest.backup_id != journal.binding.backup_id
        assert_clean(fleet)
        fleet.restore()

    @pytest.mark.parametrize("index", range(4))
    @pytest.mark.parametrize("kind", [PartMissing, PartDamaged])
    def test_before_the_commit_nothing_is_committed(self, fleet: Fleet, kind: type[EngineError], index: int) -> None:
        def lose(name: str) -> None:
            if name == "stream-stored":
                (key,) = [key for key in fleet.store.keys if key.endswith(f"{index:06d}.age")]
                fleet.store.truncate(key, 100) if kind is PartDamaged else fleet.store.remove(key)

        error = fleet.fail(0, checkpoint=lose)
        assert type(error) is kind
        assert error.subject.endswith(f"{index:06d}.age")
        assert fleet.manifests() == []
        result = fleet.back_up(0)
        assert result.parts_resumed == (3 if kind is PartMissing else 0)
        assert_clean(fleet)
        fleet.restore()

    @pytest.mark.parametrize("gone", [None, 0, 3])
    def test_after_their_list_was_written(self, fleet: Fleet, gone: int | None) -> None:
        """A list is written once: what is sent again has other bytes, so the backup needs another id."""

        def stop(name: str) -> None:
            if name == "parts-listed":
                raise Interrupted(15, next_step="Run again")

        with pytest.raises(Interrupted):
            fleet.run(0, checkpoint=stop)
        (path,) = fleet.journals()
        if gone is not None:
            fleet.store.remove(list(Journal.load(path).parts())[gone].key)
        result = fleet.back_up(0)
        assert (result.manifest.backup_id == path.stem) is (gone is None)
        assert_clean(fleet)
        fleet.restore()

    @pytest.mark.parametrize("fault", ["fail", "lose_reply"])
    @pytest.mark.parametrize("suffix", [".parts", "-L0-00000005.json"])
    def test_a_list_or_a_manifest_whose_writing_fails_is_written_by_the_next_run(
        self, fleet: Fleet, fault: str, suffix: str
    ) -> None:
        getattr(fleet.store, fault)("put", key_part=suffix)
        assert type(fleet.fail(0)) is StoreUnavailable
        result = fleet.back_up(0)
        assert len(fleet.manifests()) == 1 or fault == "lose_reply"
        assert fleet.parts(result.manifest)
        assert_clean(fleet)
        fleet.restore()


class TestAfterTheCommit:
    """Whatever is cut off after the manifest was written, the backup exists, and the next run tidies up."""

    @pytest.mark.parametrize("checkpoint", ["manifest-stored", "bookmarked", "holds-released", "seq-remembered"])
    def test_what_was_left_is_finished(self, fleet: Fleet, checkpoint: str) -> None:
        def stop(name: str) -> None:
            if name == checkpoint:
                raise Interrupted(15, next_step="Run again")

        with pytest.raises(Interrupted):
            fleet.run(0, checkpoint=stop)
        (manifest,) = fleet.manifests()
        assert [path.stem for path in fleet.journals()] == [manifest.backup_id]
        second = fleet.back_up(0)
        assert second.manifest.seq == 2
        assert [one.name.partition("#")[2] for one in fleet.zfs.bookmarks(DATASET)] == [
            one.snapshot.name.partition("@")[2] for one in fleet.manifests()
        ]
        assert fleet.held() == {second.manifest.snapshot.name}
        assert_clean(fleet)

    def test_a_manifest_that_arrived_without_an_answer(self, fleet: Fleet) -> None:
        fleet.store.lose_reply("put", nth=2, key_part="manifests/")  # the first is the list of parts
        assert type(fleet.fail(0)) is StoreUnavailable
        (manifest,) = fleet.manifests()
        fleet.write(2)
        first = fleet.back_up(1).manifest
        assert first.base is not None
        assert first.base.backup_id == manifest.backup_id
        assert (first.seq, first.previous is None) == (2, False)
        assert_clean(fleet)

    def test_a_manifest_that_did_not_arrive(self, fleet: Fleet) -> None:
        fleet.store.fail("put", key_part="manifests/")
        assert type(fleet.fail(0)) is StoreUnavailable
        assert fleet.manifests() == []
        result = fleet.back_up(0)
        assert result.parts_resumed == len(fleet.parts(result.manifest))
        assert_clean(fleet)

    def test_something_else_where_the_manifest_belongs(self, fleet: Fleet) -> None:
        error = ObjectExists("taken", next_step="Find out")
        fleet.store.fail("put", error=error, key_part="manifests/")
        assert fleet.fail(0) is error
        assert fleet.manifests() == []

    def test_what_fails_after_it_is_a_warning(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        fleet.back_up(0)
        shutil.rmtree(fleet.root / "state" / "state" / "seen")
        (fleet.root / "state" / "state" / "seen").write_text("a file where a directory belongs")
        fleet.zfs.fail("bookmark", ZfsError("No bookmark", next_step="Look"))

        def no_more(name: str) -> None:
            if name == "bookmarked":
                fleet.zfs.fail("release", ZfsError("No release", next_step="Look"))

        outcome = fleet.run(0, checkpoint=no_more)
        assert outcome.exit_code == 4
        assert outcome.results[0].warnings == (
            "No bookmark. Look.",
            "No release. Look.",
            "seq-remembered: File exists",
        )
        assert fleet.journals() == []


class TestSend:
    @pytest.mark.parametrize("after_bytes", [0, 311, 64 * KIB, 100 * KIB, 200 * KIB])
    def test_it_breaks_off(self, fleet: Fleet, after_bytes: int) -> None:
        fleet.zfs.send_fault = SendFault(after_bytes, status=7, stderr="cannot send: I/O error\n")
        error = fleet.fail(0)
        assert type(error) is SendFailed
        assert "cannot send: I/O error" in error.explain()
        assert fleet.manifests() == []
        (path,) = fleet.journals()
        journal = Journal.load(path)
        assert journal.stored_parts <= after_bytes // (64 * KIB), "the part that was cut off does not count"
        assert journal.binding.snapshot in fleet.held()
        assert not fleet.store.unfinished
        fleet.zfs.send_fault = None
        result = fleet.back_up(0)
        assert result.manifest.backup_id == journal.binding.backup_id
        fleet.restore()

    @pytest.mark.parametrize("lost", [1, 312, 313, 64 * KIB])
    def test_its_end_is_missing_although_it_says_that_all_is_well(self, fleet: Fleet, lost: int) -> None:
        whole = fleet.back_up(0).manifest.stream.bytes
        fleet.zfs.send_fault = SendFault(whole - lost, status=0, stderr="")
        error = fleet.fail(0)
        assert type(error) is StreamDamaged
        assert len(fleet.manifests()) == 1

    def test_it_says_that_all_is_well_and_gives_nothing(self, fleet: Fleet) -> None:
        fleet.zfs.send_fault = SendFault(0, status=0, stderr="")
        error = fleet.fail(0)
        assert type(error) is StreamDamaged
        assert "0 bytes" in error.explain()

    def test_it_gives_another_snapshot(self, fleet: Fleet) -> None:
        """The name was taken by another snapshot between the decision and the send."""

        def exchange(name: str) -> None:
            if name == "journal-created":
                (snapshot,) = fleet.zfs.snapshots(DATASET)
                fleet.zfs.release(snapshot.name, TAG)
                fleet.zfs.destroy_snapshot(snapshot.name)
                fleet.zfs.create_snapshots([snapshot.name])

        ((_, error),) = fleet.run(0, checkpoint=exchange).failures
        assert type(error) is StreamDamaged
        assert "another snapshot than tank/data@zrb_level0_" in error.problem
        assert fleet.manifests() == []

    def test_the_snapshot_vanishes(self, fleet: Fleet) -> None:
        def destroy(name: str) -> None:
            if name == "journal-created":
                (snapshot,) = fleet.zfs.snapshots(DATASET)
                fleet.zfs.release(snapshot.name, TAG)
                fleet.zfs.destroy_snapshot(snapshot.name)

        ((_, error),) = fleet.run(0, checkpoint=destroy).failures
        assert isinstance(error, NoSuchSnapshot | SendFailed)
        assert fleet.manifests() == []
        fleet.back_up(0)
        assert_clean(fleet)

    def test_it_cannot_be_started(self, fleet: Fleet) -> None:
        error = ZfsError("no zfs", next_step="Install it")
        fleet.zfs.fail("send", error)
        assert fleet.fail(0) is error
        fleet.back_up(0)
        assert_clean(fleet)


class TestLock:
    def test_another_run_holds_it(self, fleet: Fleet) -> None:
        base_dir = Path(fleet.config.base_dir)
        with dataset_locks(base_dir) as other:
            other.take(DATASET)
            outcome = fleet.run(0)
        ((_, error),) = outcome.failures
        assert type(error) is Locked
        assert outcome.exit_code == 3
        assert error.subject == "tank/data"
        assert f"pid {os.getpid()}" in error.problem
        assert fleet.zfs.snapshots(DATASET) == []
        fleet.back_up(0)

    def test_it_is_held_during_the_run_and_free_afterwards(self, fleet: Fleet) -> None:
        tried: list[bool] = []

        def try_lock(_name: str) -> None:
            with dataset_locks(Path(fleet.config.base_dir)) as locks:
                try:
                    locks.take(DATASET)
                    tried.append(True)
                except Locked:
                    tried.append(False)

        fleet.run(0, checkpoint=try_lock)
        assert tried
        assert not any(tried)
        try_lock("afterwards")
        assert tried[-1]


class TestAll:
    """What concerns all datasets of a task is raised."""

    def test_the_repository_does_not_answer(self, fleet: Fleet) -> None:
        fleet.store.fail("get")
        with pytest.raises(StoreUnavailable):
            fleet.run(0)
        assert fleet.store.closed

    def test_the_identity_is_damaged(self, fleet: Fleet) -> None:
        fleet.back_up(0)
        fleet.store.replace("zrb.json", b"{}")
        with pytest.raises(ManifestInvalid, match=r"zrb\.json"):
            fleet.run(0)

    def test_the_store_cannot_be_opened(self, fleet: Fleet) -> None:
        error = StoreDenied("no", next_step="Ask")

        def open_store() -> Store:
            raise error

        with pytest.raises(StoreDenied):
            fleet.run(0, open_store=open_store)

    def test_no_snapshot_can_be_taken(self, fleet: Fleet) -> None:
        error = ZfsError("out of space", next_step="Make room")
        fleet.zfs.fail("create_snapshots", error)
        outcome = fleet.run(0)
        assert [failure for _, failure in outcome.failures] == [error]
        assert fleet.journals() == []

    @pytest.mark.parametrize("method", ["dataset", "snapshots", "hold", "send"])
    def test_an_interrupt_is_no_failure_of_a_dataset(self, fleet: Fleet, method: str) -> None:
        fleet.zfs.fail(method, Interrupted(signal.SIGTERM, next_step="Run again"))
        with pytest.raises(Interrupted) as caught:
            fleet.run(0)
        assert caught.value.exit_code == 143
        fleet.back_up(0)
        assert_clean(fleet)

    def test_an_interrupt_while_parts_are_uploaded(self, fleet: Fleet) -> None:
        fleet.store.fail("put_chunk", nth=6, error=Interrupted(signal.SIGINT, next_step="Run again"))
        with pytest.raises(Interrupted):
            fleet.run(0)
        assert not fleet.store.unfinished
        assert len(fleet.journals()) == 1
        fleet.back_up(0)
        assert_clean(fleet)


def test_a_state_directory_that_cannot_be_made(fleet: Fleet) -> None:
    fleet.change_config(base_dir=Path("/dev/null/state"))
    with pytest.raises(LocalStateError):
        fleet.run(0)
    assert fleet.store.keys == []


def test_a_recipient_that_is_none(fleet: Fleet) -> None:
    """It concerns every dataset, so that nothing is begun."""
    fleet.change_config(recipients=("age1nobody",))
    with pytest.raises(BadRecipient, match="age1nobody"):
        fleet.run(0)
    assert fleet.store.keys == []
    assert fleet.zfs.snapshots(DATASET) == []
