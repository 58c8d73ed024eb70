# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every use case makes of backups that were retired, and of those that vanished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from zrb.config.key_files import read_signing_key
from zrb.errors import BackupsVanished, ChainBroken, NoSuchBackup
from zrb.plan.chain import select_backup
from zrb.repository.catalogue import read_catalogue
from zrb.repository.retirement import RecordWriter
from zrb.run.list import list_backups
from zrb.run.verify import verify
from zrb.values.manifest import Manifest

from tests.fakes.fleet import DATASET, Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def retire(fleet: Fleet, *manifests: Manifest, steps: int = 3) -> None:
    """Retire backups, and remove as much of them: nothing, the manifest, and its list of parts, and the parts."""
    key = read_signing_key(fleet.signing_key)
    catalogue = read_catalogue(fleet.store, trusted=[key.public])
    ids = [manifest.backup_id for manifest in manifests]
    writer = RecordWriter(fleet.store, fleet.store.remove, key)
    writer.retire(catalogue, manifests[0].series, ids, reason="keep_last: 1", now=fleet.clock())
    for manifest in manifests:
        vanish(fleet, manifest, steps=steps)


def vanish(fleet: Fleet, manifest: Manifest, *, steps: int = 3) -> None:
    """Remove the objects of a backup, as somebody does who says nothing."""
    parts = [part.key for part in fleet.parts(manifest)]
    keys = [[manifest.series.manifest_key(manifest.backup_id)], [manifest.parts.key], parts]
    for key in (key for step in keys[:steps] for key in step):
        fleet.store.remove(key)


def three(fleet: Fleet) -> list[Manifest]:
    """A level 0, a level 1 and a level 2 on it."""
    made = []
    for level in range(3):
        fleet.write(level + 1)
        made.append(fleet.back_up(level).manifest)
    return made


STEPS = pytest.mark.parametrize("steps", range(4))


@STEPS
def test_a_retired_backup_is_neither_listed_nor_a_problem(fleet: Fleet, steps: int) -> None:
    full, first, second = three(fleet)
    retire(fleet, second, steps=steps)
    listing = list_backups(fleet.context())
    assert [entry.backup_id for entry in listing.entries] == [full.backup_id, first.backup_id]
    assert (listing.problems, listing.exit_code) == ((), 0)


@STEPS
def test_what_is_left_is_verified(fleet: Fleet, steps: int) -> None:
    full, first, second = three(fleet)
    retire(fleet, first, second, steps=steps)
    report = verify(fleet.context(), depth="checksum")
    assert (report.backups, report.problems, report.exit_code) == ((full.backup_id,), (), 0)
    with pytest.raises(NoSuchBackup, match="keep_last: 1") as caught:
        verify(fleet.context(), depth="signature", backup_id=second.backup_id)
    assert caught.value.subject == second.backup_id
    retire(fleet, full, steps=steps)
    assert verify(fleet.context(), depth="signature").problems == ()


def test_what_vanished_beside_a_retired_backup_is_a_loss(fleet: Fleet) -> None:
    full, first, second = three(fleet)
    retire(fleet, second)
    vanish(fleet, first)
    for problems in (
        list_backups(fleet.context()).problems,
        [problem.error for problem in verify(fleet.context(), depth="signature").problems],
    ):
        assert [type(problem) for problem in problems] == [BackupsVanished]
        assert problems[0].exit_code == 5
    assert isinstance(fleet.fail(1), BackupsVanished)
    with pytest.raises(BackupsVanished):
        fleet.restore()
    report = verify(fleet.context(), depth="signature", accept_losses=True)
    assert len(report.warnings) == 1
    assert report.problems == ()
    assert fleet.restore().links == (full.backup_id,)


def test_a_machine_that_was_set_up_again_can_accept_what_vanished_before_a_retired_backup(fleet: Fleet) -> None:
    _first, second, third = (fleet.back_up(0).manifest for _ in range(3))
    retire(fleet, third)
    vanish(fleet, second)
    (fleet.root / "state").rename(fleet.root / "state-of-before")
    assert isinstance(fleet.fail(0), BackupsVanished)
    assert verify(fleet.context(), depth="signature", accept_losses=True).problems == ()
    assert fleet.back_up(0).manifest.seq == 4
    assert list_backups(fleet.context()).problems == ()


def test_the_oldest_backup_that_vanished_is_a_loss(fleet: Fleet) -> None:
    made = [fleet.back_up(0).manifest for _ in range(3)]
    retire(fleet, made[0])
    assert list_backups(fleet.context()).exit_code == 0
    vanish(fleet, made[1])
    assert [type(problem) for problem in list_backups(fleet.context()).problems] == [BackupsVanished]


@STEPS
def test_a_restore_takes_the_newest_that_is_not_retired(fleet: Fleet, steps: int) -> None:
    full, first, second = three(fleet)
    retire(fleet, second, steps=steps)
    result = fleet.restore()
    assert (result.links, result.warnings) == ((full.backup_id, first.backup_id), ())
    with pytest.raises(NoSuchBackup) as caught:
        fleet.restore("tank/restore/other", backup_id=second.backup_id)
    assert (caught.value.subject, caught.value.exit_code) == (second.backup_id, 6)
    assert "retired on 2026-01-31" in caught.value.problem
    assert "keep_last: 1" in caught.value.problem
    assert "zrb list" in caught.value.next_step
    retire(fleet, full, first, steps=steps)
    with pytest.raises(NoSuchBackup, match="3 that it made were retired"):
        fleet.restore("tank/restore/other")


@STEPS
def test_a_retired_backup_is_no_base_and_its_number_is_not_given_again(fleet: Fleet, steps: int) -> None:
    full, first, second = three(fleet)
    kept = read_catalogue(fleet.store, trusted=fleet.context().trusted_signers()).manifests[-1]
    retire(fleet, first, second, steps=steps)
    # Also by a machine that has seen nothing.
    (fleet.root / "state").rename(fleet.root / "state-of-before")
    next_one = fleet.back_up(2).manifest
    assert (next_one.level, next_one.seq, next_one.previous) == (1, 4, kept.payload_sha256)
    assert next_one.base
    assert next_one.base.backup_id == full.backup_id
    assert list_backups(fleet.context()).problems == ()
    assert select_backup(fleet.manifests()) == next_one


def test_the_snapshot_of_a_retired_backup_is_released(fleet: Fleet) -> None:
    full, first, second = three(fleet)
    assert {first.snapshot.name, second.snapshot.name} <= fleet.held()
    retire(fleet, first, second)
    again = fleet.back_up(1).manifest
    assert fleet.held() == {full.snapshot.name, again.snapshot.name}


class Killed(BaseException):
    """The end of a run."""


def at(name: str, action: Callable[[], object]) -> Callable[[str], None]:
    """A checkpoint at which something happens."""

    def checkpoint(reached: str) -> None:
        if reached == name:
            action()

    return checkpoint


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("checkpoint", ["stream-stored", "parts-listed"])
def test_nothing_is_committed_on_a_base_that_is_retired_meanwhile(fleet: Fleet, checkpoint: str) -> None:
    _full, first, second = three(fleet)
    fleet.write(9)
    error = fleet.fail(2, checkpoint=at(checkpoint, lambda: retire(fleet, first, second)))
    assert isinstance(error, ChainBroken)
    assert first.backup_id in error.problem
    assert len(fleet.manifests()) == 1
    again = fleet.back_up(2).manifest
    assert (again.level, again.seq) == (1, 4)
    assert list_backups(fleet.context()).problems == ()


@STEPS
def test_an_interrupted_run_does_not_write_under_a_retired_id(fleet: Fleet, steps: int) -> None:
    """It was killed after the commit, and before it removed its journal."""
    full = fleet.back_up(0).manifest
    fleet.write(2)
    with pytest.raises(Killed):
        fleet.run(1, checkpoint=at("manifest-stored", kill))
    assert len(fleet.journals()) == 1
    retire(fleet, fleet.manifests()[-1], steps=steps)
    held = fleet.held()
    again = fleet.back_up(1)
    assert (again.manifest.seq, again.parts_resumed) == (3, 0)
    assert fleet.journals() == []
    assert fleet.held() == {full.snapshot.name, again.manifest.snapshot.name}
    assert held - fleet.held(), "the snapshot of the retired backup is released"
    assert verify(fleet.context(), depth="checksum").problems == ()


def test_the_identity_is_made_again_from_records_alone(fleet: Fleet) -> None:
    full = fleet.back_up(0).manifest
    retire(fleet, full)
    fleet.store.remove("zrb.json")
    report = verify(fleet.context(), depth="signature", accept_losses=True)
    assert report.problems == ()
    assert fleet.back_up(0).manifest.repository_id == full.repository_id
    assert [entry.dataset for entry in list_backups(fleet.context()).entries] == [DATASET]
