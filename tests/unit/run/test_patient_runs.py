# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A backup and a restore outlive a storage that is away for a while, whichever of their transfers notices it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.errors import StoreDenied, StoreUnavailable
from zrb.run.context import Context
from zrb.run.restore import RestoreSelection, restore
from zrb.values.config import PATIENCE_S

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.store import Operation
from tests.unit.stream.test_patience import HOUR, Waiting


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def away(fleet: Fleet, operation: Operation, key_part: str, *, nth: int = 1, times: int = 5) -> None:
    for number in range(times):
        fleet.store.fail(operation, nth=nth + number, key_part=key_part)


TRANSFERS: list[tuple[Operation, str]] = [
    ("open_upload", "data/"),
    ("put_chunk", "data/"),
    ("complete", "data/"),
    ("put", "data/"),
    ("put", "manifests/"),
]


@pytest.mark.parametrize(("operation", "key_part"), TRANSFERS)
def test_a_backup_waits(fleet: Fleet, operation: Operation, key_part: str) -> None:
    waiting = Waiting()
    away(fleet, operation, key_part)
    result = fleet.back_up(0, patience=waiting.patience())
    assert len(waiting.pauses) >= 5
    assert result.warnings == ()
    assert fleet.restore().warnings == ()


def test_a_resume_waits(fleet: Fleet) -> None:
    fleet.store.lose_reply("complete", key_part="part-000001")
    fleet.fail()
    waiting = Waiting()
    away(fleet, "holds", "data/")
    assert fleet.back_up(0, patience=waiting.patience()).parts_resumed >= 1
    assert len(waiting.pauses) == 5


def test_a_restore_waits(fleet: Fleet) -> None:
    fleet.back_up(0)
    waiting = Waiting()
    away(fleet, "read_into", "snapshot.part-")
    context = fleet.context(patience=waiting.patience())
    selection = RestoreSelection(dataset=DATASET, target="tank/restore/copy")
    restore(context, selection, identities=[fleet.identity], trusted=context.trusted_signers())
    assert len(waiting.pauses) >= 5
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)


def test_a_run_whose_patience_ended_is_resumed(fleet: Fleet) -> None:
    fleet.change_limits(workers=1)
    waiting = Waiting()
    away(fleet, "complete", "part-000002", times=1000)
    assert type(fleet.fail(0, patience=waiting.patience(HOUR))) is StoreUnavailable
    assert waiting.now == pytest.approx(HOUR)
    fleet.store._faults.clear()
    assert fleet.back_up(0).parts_resumed == 2


def test_what_is_denied_is_not_waited_for(fleet: Fleet) -> None:
    waiting = Waiting()
    fleet.store.fail("put_chunk", error=StoreDenied("no", next_step="Allow it"))
    assert type(fleet.fail(0, patience=waiting.patience())) is StoreDenied
    assert waiting.pauses == []


@pytest.mark.parametrize(
    ("configured", "terminal", "limit_s"), [(None, False, PATIENCE_S), (7, True, 7), (0, False, 0)]
)
def test_the_configuration_says_how_long(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch, configured: Any, terminal: bool, limit_s: int
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal, raising=False)
    fleet.change_config(patience_s=configured, base_dir=PurePosixPath(fleet.root / "x"))
    assert Context.for_config(fleet.config).patience._limit_s == limit_s


def test_a_person_waits_for_minutes(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert 60 <= Context.for_config(fleet.config).patience._limit_s <= 600
