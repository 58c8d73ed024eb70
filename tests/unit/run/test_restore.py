# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore without a pool: what it receives, what it refuses before it begins, and what it leaves when it fails."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import (
    BackupsVanished,
    EngineError,
    Interrupted,
    NoSuchBackup,
    NoSuchDataset,
    NoSuchSnapshot,
    ObjectArchived,
    PartDamaged,
    PartMissing,
    ReceiveFailed,
    SignatureInvalid,
    StoreUnavailable,
    TargetExists,
    ThawNeeded,
    UsageError,
    WrongIdentity,
    ZfsError,
    ZfsUnable,
)
from zrb.run.backup import BackupResult
from zrb.run.restore import RestoreSelection, plan_restore, restore, restored_guid
from zrb.seal.age_keys import new_identity
from zrb.state.highest_seen import highest_seen
from zrb.values.config import KIB
from zrb.values.zfs import DatasetType, Snapshot
from zrb.zfs.child_processes import ReceiveChild
from zrb.zfs.protocol import ReceiveProcess

from tests.fakes.fleet import DATASET, LIMITS, Fleet, Recorded, random_bytes
from tests.fakes.store import MemoryStore
from tests.fakes.zfs import OPENZFS, ZFS_FUSE, FakeZfs, ReceiveFault

TARGET = "tank/restore/copy"
Chain = tuple[Fleet, list[BackupResult], list[bytes]]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def chain(fleet: Fleet) -> Chain:
    """Levels 0, 1 and 2, and what was in the dataset at each."""
    results, contents = [], []
    for level in (0, 1, 2):
        contents.append(fleet.write(level))
        results.append(fleet.back_up(level))
    fleet.progress.phases.clear()
    fleet.progress.logged.clear()
    fleet.progress.finished.clear()
    return fleet, results, contents


def fails(fleet: Fleet, *, context: Any = None, identity: str | None = None, **selection: Any) -> EngineError:
    """A restore that has to fail; its error."""
    context = context or fleet.context()
    selected = RestoreSelection(**{"dataset": DATASET, "target": TARGET, **selection})
    with pytest.raises(EngineError) as caught:
        restore(context, selected, identities=[identity or fleet.identity], trusted=context.trusted_signers())
    assert fleet.store.closed
    return caught.value


class TestReceived:
    def test_the_whole_chain(self, chain: Chain) -> None:
        fleet, results, contents = chain
        result = fleet.restore()
        manifests = [one.manifest for one in results]
        assert fleet.zfs.content(TARGET) == contents[-1]
        assert [one.guid for one in fleet.zfs.snapshots(TARGET)] == [one.snapshot.guid for one in manifests]
        document = result.as_json()
        assert document.pop("duration_s") >= 0
        assert document == {
            "target": TARGET,
            "links": [manifest.backup_id for manifest in manifests],
            "present": [],
            "changed": True,
            "snapshot": f"{TARGET}@{manifests[-1].snapshot.name.partition('@')[2]}",
            "stream_bytes": sum(manifest.stream.bytes for manifest in manifests),
            "warnings": [],
        }
        assert result.exit_code == 0
        assert fleet.progress.finished == [("ok", result.as_json())]
        assert set(fleet.progress.phases) == {"receive"}
        assert fleet.progress.started[-1] == (
            "restore",
            sum(manifest.parts.stored_bytes for manifest in manifests),
            f"{manifests[-1].backup_id} of {DATASET} into {TARGET}",
        )

    @pytest.mark.parametrize("level", [0, 1, 2])
    def test_up_to_a_level(self, chain: Chain, level: int) -> None:
        fleet, _, contents = chain
        result = fleet.restore(level=level)
        assert len(result.links) == level + 1
        assert fleet.zfs.content(TARGET) == contents[level]

    def test_up_to_a_time_and_by_id(self, chain: Chain) -> None:
        fleet, results, contents = chain
        fleet.restore(at=results[1].manifest.snapshot.creation)
        assert fleet.zfs.content(TARGET) == contents[1]
        fleet.restore("tank/restore/other", backup_id=results[0].manifest.backup_id)
        assert fleet.zfs.content("tank/restore/other") == contents[0]

    def test_one_link_after_the_other(self, chain: Chain) -> None:
        fleet, results, contents = chain
        for result, content in zip(results, contents, strict=True):
            one = fleet.restore(backup_id=result.manifest.backup_id, only=True)
            assert one.links == (result.manifest.backup_id,)
            assert fleet.zfs.content(TARGET) == content

    def test_of_another_host(self, chain: Chain) -> None:
        fleet, _, contents = chain
        fleet.change_config(host="nas9")
        assert type(fails(fleet)) is NoSuchBackup
        fleet.restore(host="nas1")
        assert fleet.zfs.content(TARGET) == contents[-1]

    def test_it_remembers_what_it_saw(self, chain: Chain, tmp_path: Path) -> None:
        fleet, results, _ = chain
        series = results[0].manifest.series
        fleet.change_config(base_dir=tmp_path / "elsewhere")
        fleet.restore(level=1)
        assert highest_seen(tmp_path / "elsewhere", results[0].manifest.repository_id, series) == 2
        fleet.store.remove(results[1].manifest_key)
        fleet.store.remove(results[2].manifest_key)
        with pytest.raises(BackupsVanished):
            fleet.restore("tank/restore/other")
        result = fleet.restore("tank/restore/other", backup_id=results[0].manifest.backup_id)
        assert result.exit_code == 4
        assert "newest backups" in result.warnings[0]
        assert result.warnings[0] in fleet.progress.warnings

    def test_it_cannot_remember(self, chain: Chain, tmp_path: Path) -> None:
        fleet, _, contents = chain
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "state").touch()
        fleet.change_config(base_dir=tmp_path / "elsewhere")
        assert fleet.restore().exit_code == 0
        assert fleet.zfs.content(TARGET) == contents[-1]
        assert "could not be remembered" in fleet.progress.warnings[0]

    def test_through_the_spool(self, chain: Chain) -> None:
        fleet, _, contents = chain
        fleet.change_limits(memory_limit=2 * LIMITS.chunk_size)
        fleet.restore()
        assert fleet.zfs.content(TARGET) == contents[-1]
        assert list((fleet.root / "state" / "spool").iterdir()) == []

    def test_unsigned_manifests_only_with_a_word_for_it(self, chain: Chain) -> None:
        fleet, _, _ = chain
        context = fleet.context()
        selection = RestoreSelection(dataset=DATASET, target=TARGET)
        with pytest.raises(SignatureInvalid):
            restore(context, selection, identities=[fleet.identity], trusted=[])
        result = restore(context, selection, identities=[fleet.identity], trusted=[], allow_unsigned=True)
        assert "without a trusted signature" in result.warnings[0]
        assert result.exit_code == 4


class TestProperties:
    def test_only_those_that_cannot_act_come_back(self, fleet: Fleet) -> None:
        fleet.zfs.set_properties(
            DATASET, {"recordsize": "1048576", "mountpoint": "/etc", "sharenfs": "on", "org.example:note": "täglich"}
        )
        fleet.back_up(0)
        fleet.restore()
        found = fleet.zfs.local_properties(TARGET)
        assert found["recordsize"] == "1048576"
        assert found["org.example:note"] == "täglich"
        assert found["compression"] == "zstd"
        assert found["mountpoint"] == "none"
        assert found["canmount"] == "noauto"
        assert found["sharenfs"] == "off"
        assert "readonly" not in found

    def test_one_that_cannot_be_set_is_a_warning(self, chain: Chain) -> None:
        fleet, _, contents = chain
        fleet.zfs.fail("set_properties", ZfsError("Cannot set it", next_step="Look"))
        result = fleet.restore()
        (warning,) = result.warnings
        assert "compression=zstd" in warning and "Cannot set it. Look." in warning
        assert result.exit_code == 4
        assert fleet.progress.finished[-1][0] == "warning"
        assert fleet.zfs.content(TARGET) == contents[-1]

    def test_a_target_that_stays_read_only_is_a_warning(self, chain: Chain) -> None:
        fleet, _, _ = chain
        fleet.zfs.fail("inherit_property", ZfsError("Cannot inherit it", next_step="Look"))
        (warning,) = fleet.restore().warnings
        assert "read-only" in warning and "Cannot inherit it. Look." in warning


class TestRefused:
    """Nothing is created, and nothing but manifests and lists of parts is downloaded."""

    @pytest.fixture(autouse=True)
    def nothing_is_touched(self, chain: Chain) -> Any:
        fleet, _, _ = chain
        before = fleet.zfs.descendants("tank")
        yield
        assert fleet.zfs.descendants("tank") == before
        assert not [key for call, key in fleet.store.calls if call == "read_into" and not key.endswith(".parts")]

    def test_the_target_exists(self, chain: Chain) -> None:
        fleet, _, _ = chain
        error = fails(fleet, target="tank/restore")
        assert type(error) is TargetExists
        assert error.subject == "tank/restore" and "--target" in error.next_step

    def test_the_target_is_the_dataset_itself(self, chain: Chain) -> None:
        fleet, _, _ = chain
        assert type(fails(fleet, target=DATASET)) is TargetExists

    def test_the_parent_is_missing(self, chain: Chain) -> None:
        fleet, _, _ = chain
        error = fails(fleet, target="tank/gone/copy")
        assert type(error) is NoSuchDataset
        assert "tank/gone/copy" in error.problem
        assert "`zfs create -o mountpoint=none tank/gone`" in error.next_step

    def test_a_whole_pool(self, chain: Chain) -> None:
        fleet, _, _ = chain
        error = fails(fleet, target="other")
        assert type(error) is UsageError
        assert "pool" in error.problem and "other/restored" in error.next_step

    def test_a_zfs_that_knows_other_flags(self, chain: Chain) -> None:
        fleet, results, _ = chain
        old = FakeZfs(capabilities=ZFS_FUSE)
        old.add_dataset("tank/restore")
        error = fails(fleet, context=fleet.context(zfs=old))
        assert type(error) is ZfsUnable
        for name in (results[0].manifest.backup_id, "-L -c", "pool version 23"):
            assert name in error.problem
        assert "zfs-2.3.2-2" in error.next_step

    def test_archived_parts(self, chain: Chain) -> None:
        fleet, results, _ = chain
        frozen = results[1].manifest
        for part in fleet.parts(frozen):
            fleet.store.archive(part.key)
        error = fails(fleet)
        assert type(error) is ThawNeeded
        assert error.exit_code == 7
        for name in ("1 of 3 backups", f"{frozen.parts.stored_bytes} bytes", "DEEP_ARCHIVE"):
            assert name in error.problem
        assert frozen.series.data_prefix(frozen.backup_id, 1) in error.next_step

    def test_only_without_its_base(self, chain: Chain) -> None:
        fleet, results, _ = chain
        for target in ("tank/restore", DATASET):
            error = fails(fleet, target=target, backup_id=results[1].manifest.backup_id, only=True)
            assert type(error) is NoSuchSnapshot
            for name in (results[1].manifest.backup_id, results[0].manifest.snapshot.name, target):
                assert name in error.problem
            assert "--only" in error.next_step

    def test_only_into_a_dataset_that_does_not_exist(self, chain: Chain) -> None:
        fleet, results, _ = chain
        assert type(fails(fleet, backup_id=results[1].manifest.backup_id, only=True)) is NoSuchDataset

    def test_a_level_that_was_never_made(self, chain: Chain) -> None:
        fleet, _, _ = chain
        error = fails(fleet, level=4)
        assert type(error) is NoSuchBackup
        assert "of level 4" in error.explain()


class TestPlan:
    def test_it_names_every_link_and_changes_nothing(self, chain: Chain) -> None:
        fleet, results, _ = chain
        context = fleet.context()
        selection = RestoreSelection(dataset=DATASET, target=TARGET)
        plan = plan_restore(context, selection, trusted=context.trusted_signers())
        manifests = [result.manifest for result in results]
        assert plan.as_json() == {
            "dataset": DATASET,
            "target": TARGET,
            "links": [
                {
                    "backup_id": manifest.backup_id,
                    "level": manifest.level,
                    "snapshot": manifest.snapshot.name,
                    "guid": manifest.snapshot.guid,
                    "stream_bytes": manifest.stream.bytes,
                    "stored_bytes": manifest.parts.stored_bytes,
                    "parts": manifest.parts.count,
                    "storage_class": "STANDARD",
                    "readable": True,
                    "present": False,
                    "fetched_bytes": manifest.parts.stored_bytes,
                }
                for manifest in manifests
            ],
            "stream_bytes": sum(manifest.stream.bytes for manifest in manifests),
            "stored_bytes": sum(manifest.parts.stored_bytes for manifest in manifests),
            "done": False,
            "warnings": [],
        }
        assert fleet.store.closed
        assert not fleet.zfs.exists(TARGET)
        with pytest.raises(TargetExists):
            plan_restore(context, replace(selection, target=DATASET), trusted=context.trusted_signers())

    def test_archived_parts_are_shown_and_no_error(self, chain: Chain) -> None:
        fleet, results, _ = chain
        context = fleet.context()
        selection = RestoreSelection(dataset=DATASET, target=TARGET)
        fleet.store.archive(fleet.parts(results[0].manifest)[0].key, "GLACIER")
        plan = plan_restore(context, selection, trusted=context.trusted_signers())
        assert [(link.storage_class, link.readable) for link in plan.links] == [
            ("GLACIER+STANDARD", False),
            ("STANDARD", True),
            ("STANDARD", True),
        ]
        fleet.store.thaw(fleet.parts(results[0].manifest)[0].key, done=False)
        assert not plan_restore(context, selection, trusted=context.trusted_signers()).links[0].readable
        fleet.store.thaw(fleet.parts(results[0].manifest)[0].key)
        assert plan_restore(context, selection, trusted=context.trusted_signers()).links[0].readable


class EagerZfs(FakeZfs):
    """As a real ZFS does it: the target is there as soon as its first receive has begun. It cannot resume."""

    def __init__(self) -> None:
        super().__init__(capabilities=replace(OPENZFS, receive_resumable=False))

    def receive(self, target: str, *, type: DatasetType, first: bool, token: str = "", resumes: bool = False) -> Any:
        process: ReceiveProcess = super().receive(target, type=type, first=first, token=token, resumes=resumes)
        if first:
            self.add_dataset(target, type=type)
            self._mark(target, token)
        return process


class TestListOfParts:
    """No part is fetched, and nothing created, unless the whole list of a link is the signed one."""

    @pytest.mark.parametrize("link", [0, 1, 2])
    @pytest.mark.parametrize("damage", ["remove", "corrupt", "truncate", "grow", "exchange"])
    def test_damage_before_the_restore(self, chain: Chain, damage: str, link: int) -> None:
        fleet, results, _ = chain
        self.damage(fleet, damage, [result.manifest.parts.key for result in results], link)
        error = fails(fleet)
        assert type(error) is (PartMissing if damage == "remove" else PartDamaged)
        assert error.subject == results[link].manifest.parts.key
        assert not fleet.zfs.exists(TARGET)
        assert not [key for call, key in fleet.store.calls if call == "read_into" and key.startswith("data/")]

    @pytest.mark.parametrize("link", [0, 1, 2])
    @pytest.mark.parametrize("damage", ["remove", "corrupt", "truncate", "grow", "exchange"])
    def test_damage_after_the_plan(self, chain: Chain, damage: str, link: int) -> None:
        """Lists are read again for each link, and proven again."""
        fleet, results, contents = chain
        keys = [result.manifest.parts.key for result in results]

        class Meanwhile(Recorded):
            def start(self, operation: str, *, total: int | None, message: str) -> None:
                TestListOfParts.damage(fleet, damage, keys, link)

        error = fails(fleet, context=fleet.context(progress=Meanwhile()))
        assert type(error) is (PartMissing if damage == "remove" else PartDamaged)
        assert error.subject == keys[link]
        assert fleet.zfs.exists(TARGET) is (link > 0)
        assert not link or fleet.zfs.content(TARGET) == contents[link - 1]

    @staticmethod
    def damage(fleet: Fleet, damage: str, keys: list[str], link: int) -> None:
        content = fleet.store.get(keys[link], limit=1 << 20)
        match damage:
            case "remove":
                fleet.store.remove(keys[link])
            case "corrupt":
                fleet.store.corrupt(keys[link], len(content) // 2)
            case "truncate":
                fleet.store.truncate(keys[link], content.rfind(b"\n", 0, -1) + 1)
            case "grow":
                fleet.store.replace(keys[link], content + content)
            case "exchange":
                fleet.store.replace(keys[link], fleet.store.get(keys[link - 1], limit=1 << 20))


class LateStore(MemoryStore):
    """Gives the part at ``late`` only when the receiver has begun."""

    def __init__(self, zfs: FakeZfs) -> None:
        super().__init__()
        self.zfs = zfs
        self.late = ""

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        while key == self.late and not self.zfs.exists(TARGET):
            time.sleep(0.001)
        super().read_into(key, offset, buffer)


def with_late_damage(root: Path) -> Fleet:
    """The last part of its backup is damaged, which shows when the dataset has been made."""
    zfs = EagerZfs()
    store = LateStore(zfs)
    fleet = Fleet(root, zfs=zfs, store=store)
    store.late = fleet.parts(fleet.back_up(0).manifest)[-1].key
    store.corrupt(store.late)
    return fleet


class TestFailed:
    """A link that fails leaves nothing behind; those before it stay, and the message says how to go on."""

    @pytest.mark.parametrize("nth", range(1, 16, 2))
    def test_parts_of_which_no_listing_says_that_they_are_archived(self, chain: Chain, nth: int) -> None:
        """As in the archive tiers of S3 Intelligent-Tiering: only reading shows it, and the exit code is the same."""
        fleet, _, _ = chain
        archived = ObjectArchived("archived", subject="x", answer="InvalidObjectState", next_step="Thaw it")
        fleet.store.fail("read_into", nth=nth, error=archived, key_part="data/")
        assert fails(fleet).exit_code == 7

    def test_a_damaged_part_of_the_first_link_creates_nothing(self, chain: Chain) -> None:
        fleet, results, _ = chain
        fleet.store.corrupt(fleet.parts(results[0].manifest)[0].key)
        error = fails(fleet)
        assert type(error) is PartDamaged
        assert "--continue" not in error.explain()
        assert not fleet.zfs.exists(TARGET)
        assert fleet.progress.finished == [("failed", error.facts())]

    def test_a_damaged_part_of_a_later_link(self, chain: Chain) -> None:
        fleet, results, contents = chain
        ids = [result.manifest.backup_id for result in results]
        key = fleet.parts(results[1].manifest)[0].key
        fleet.store.corrupt(key)
        error = fails(fleet)
        assert f"{TARGET} holds this chain up to {ids[0]}" in error.next_step
        assert "--continue" in error.next_step
        assert fleet.zfs.content(TARGET) == contents[0]
        again = fails(fleet)
        assert type(again) is TargetExists
        assert f"up to {ids[0]}; to go on from there, repeat this restore with --continue" in again.explain()
        fleet.store.corrupt(key)  # the same bits once more: as it was
        assert fleet.restore(continues=True).links == tuple(ids[1:])
        assert fleet.zfs.content(TARGET) == contents[2]

    def test_the_wrong_identity_names_the_right_one(self, chain: Chain) -> None:
        fleet, _, _ = chain
        error = fails(fleet, identity=new_identity()[0])
        assert type(error) is WrongIdentity
        assert fleet.config.recipients[0] in error.next_step
        assert not fleet.zfs.exists(TARGET)
        assert "restore" not in [operation for operation, *_ in fleet.progress.started]

    def test_a_key_that_does_not_open_a_later_link_is_noticed_first(self, fleet: Fleet) -> None:
        """A level 0 that is for the old key, and a level 1 for the new one: days of download would be for nothing."""
        old, new = new_identity(), new_identity()
        for level, pair in ((0, old), (1, new)):
            fleet.change_config(recipients=(pair[1],))
            fleet.write(level)
            fleet.back_up(level)
        error = fails(fleet, identity=old[0])
        assert type(error) is WrongIdentity
        assert new[1] in error.next_step
        assert not fleet.zfs.exists(TARGET)

    @pytest.mark.parametrize("keeps", [False, True])
    @pytest.mark.parametrize("after_bytes", [0, 1000, 150 * KIB])
    def test_zfs_receive_gives_up(self, chain: Chain, after_bytes: int, keeps: bool) -> None:
        """What it has got by then stays only in a ZFS that can go on from there."""
        fleet, _, contents = chain
        fleet.zfs._capabilities = replace(OPENZFS, receive_resumable=keeps)
        fleet.zfs.receive_fault = ReceiveFault(after_bytes)
        error = fails(fleet)
        assert type(error) is ReceiveFailed
        assert "out of space" in error.explain()
        assert fleet.zfs.exists(TARGET) is (keeps and after_bytes > 0)
        assert ("--continue" in error.next_step) is fleet.zfs.exists(TARGET)
        fleet.zfs.receive_fault = None
        fleet.restore(continues=True)
        assert fleet.zfs.content(TARGET) == contents[-1]

    def test_what_a_failed_receive_created_is_destroyed(self, tmp_path: Path) -> None:
        fleet = with_late_damage(tmp_path)
        assert type(fails(fleet)) is PartDamaged
        assert not fleet.zfs.exists(TARGET)
        assert fleet.zfs.exists("tank/restore")

    def test_it_cannot_be_destroyed(self, tmp_path: Path) -> None:
        fleet = with_late_damage(tmp_path)
        fleet.zfs.fail("destroy_dataset", ZfsError("Cannot destroy it", next_step="Look"))
        assert type(fails(fleet)) is PartDamaged
        (warning,) = fleet.progress.warnings
        assert TARGET in warning and "Cannot destroy it. Look." in warning

    @pytest.mark.parametrize("mark", [{}, {"zrb:received-by": "another run"}])
    @pytest.mark.parametrize("able", [False, True], ids=["zfs-fuse", "OpenZFS"])
    def test_what_somebody_else_created_meanwhile_is_theirs(
        self, tmp_path: Path, able: bool, mark: dict[str, str]
    ) -> None:
        """Between the check of the target and ``zfs receive``, which then refuses it."""
        fleet = with_late_damage(tmp_path)
        fleet.zfs._capabilities = replace(fleet.zfs.capabilities, receive_properties=able)
        fleet.zfs._mark = lambda target, _token: fleet.zfs.set_properties(target, mark)  # type: ignore[method-assign]
        assert type(fails(fleet)) is PartDamaged
        assert fleet.zfs.exists(TARGET)
        (warning,) = fleet.progress.warnings
        assert TARGET in warning

    def test_no_mark_is_left_on_what_was_restored(self, chain: Chain) -> None:
        fleet, _, _ = chain
        fleet.restore(target=TARGET)
        assert "zrb:received-by" not in fleet.zfs.local_properties(TARGET)

    def test_what_holds_a_snapshot_is_never_destroyed(self, chain: Chain) -> None:
        """A later link fails when some of it was received: the dataset is not its own."""
        fleet, _, contents = chain
        fleet.write(3, length=500 * KIB)
        result = fleet.back_up(3)
        fleet.store.corrupt(fleet.parts(result.manifest)[-1].key)
        fails(fleet)
        assert fleet.zfs.content(TARGET) == contents[2]

    def test_zfs_receive_ends_before_it_has_read_everything(self, tmp_path: Path) -> None:
        class HastyZfs(EagerZfs):
            """Its receive ends at once, and well."""

            def receive(self, target: str, **options: Any) -> Any:
                super().receive(target, **options).kill()
                return ReceiveChild(["true"], failure=lambda ended: ZfsError(str(ended), next_step="None"))

        fleet = Fleet(tmp_path, zfs=HastyZfs())
        fleet.zfs.write(DATASET, random_bytes(2 << 20))  # more than a pipe takes
        result = fleet.back_up(0)
        error = fails(fleet)
        assert type(error) is ReceiveFailed
        for name in (TARGET, "stream", result.manifest.backup_id):
            assert name in error.problem
        assert not fleet.zfs.exists(TARGET)

    def test_zfs_receive_says_that_all_is_well_and_it_is_not(self, tmp_path: Path) -> None:
        class ForgetfulZfs(EagerZfs):
            """Whatever is received, no snapshot is there afterwards."""

            def snapshots(self, dataset: str) -> list[Snapshot]:
                return [] if dataset == TARGET else super().snapshots(dataset)

        fleet = Fleet(tmp_path, zfs=ForgetfulZfs())
        result = fleet.back_up(0)
        error = fails(fleet)
        assert type(error) is ReceiveFailed
        for name in (TARGET, "snapshot", result.manifest.backup_id):
            assert name in error.problem

    def test_the_store_fails_in_between(self, chain: Chain) -> None:
        fleet, _, contents = chain
        fleet.store.fail("read_into", key_part="level1/", nth=2)  # the first one is for its header
        assert type(fails(fleet)) is StoreUnavailable
        assert fleet.zfs.content(TARGET) == contents[0]

    def test_an_interrupt(self, tmp_path: Path) -> None:
        fleet = Fleet(tmp_path, zfs=EagerZfs())
        fleet.back_up(0)

        def stop(name: str) -> None:
            if name == "stream-written":
                raise Interrupted(15, next_step="Run again")

        with pytest.raises(Interrupted):
            fails(fleet, context=fleet.context(checkpoint=stop))
        assert not fleet.zfs.exists(TARGET)

    def test_an_interrupt_after_the_last_link_is_no_warning(self, tmp_path: Path) -> None:
        fleet = Fleet(tmp_path, zfs=EagerZfs())
        fleet.back_up(0)
        fleet.zfs.fail("inherit_property", Interrupted(15, next_step="Run again"))
        with pytest.raises(Interrupted):
            fails(fleet)

    def test_a_ctrl_c_that_nobody_turned_into_an_error(self, tmp_path: Path) -> None:
        fleet = Fleet(tmp_path, zfs=EagerZfs())
        fleet.back_up(0)

        def stop(name: str) -> None:
            if name == "stream-written":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fails(fleet, context=fleet.context(checkpoint=stop))
        assert not fleet.zfs.exists(TARGET)

    def test_the_spool_cannot_be_made(self, chain: Chain) -> None:
        fleet, _, _ = chain
        (fleet.root / "state" / "spool").touch()
        fleet.change_limits(memory_limit=2 * LIMITS.chunk_size)
        error = fails(fleet)
        assert "spool" in error.explain()
        assert not fleet.zfs.exists(TARGET)


class TestDoneAlready:
    """Whether a restore need not be run again."""

    def guid(self, fleet: Fleet, **selection: Any) -> str | None:
        context = fleet.context()
        selected = RestoreSelection(**{"dataset": DATASET, "target": TARGET, **selection})
        return restored_guid(context, selected, trusted=context.trusted_signers())

    def test_only_where_the_newest_snapshot_is_the_wanted_one(self, chain: Chain) -> None:
        fleet, results, _ = chain
        guids = [result.manifest.snapshot.guid for result in results]
        fleet.store.calls.clear()
        assert self.guid(fleet) is None
        assert fleet.store.calls == [], "a target that does not exist needs no catalogue"
        fleet.restore(level=1)
        assert self.guid(fleet, level=1) == guids[1]
        assert self.guid(fleet) is None
        assert self.guid(fleet, level=0) is None
        assert self.guid(fleet, target="tank/restore") is None
        fleet.restore(backup_id=results[2].manifest.backup_id, only=True)
        assert self.guid(fleet) == guids[2]

    def test_a_backup_that_does_not_exist(self, chain: Chain) -> None:
        fleet, _, _ = chain
        with pytest.raises(NoSuchBackup):
            self.guid(fleet, target=DATASET, level=4)
        assert fleet.store.closed
