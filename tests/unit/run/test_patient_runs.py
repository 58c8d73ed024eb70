# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every run outlives a storage that is away for a while, whichever of its calls notices it."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.cli.signals import stopping_on_signals
from zrb.errors import Interrupted, StoreDenied, StoreUnavailable
from zrb.run.backup import plan_backup
from zrb.run.context import Context
from zrb.run.list import list_backups
from zrb.run.restore import RestoreSelection, plan_restore, restore, restored_guid
from zrb.run.verify import DEPTHS, verify
from zrb.store.protocol import Ending
from zrb.stream.patience import Patience, pause
from zrb.values.config import PATIENCE_S, PATIENCE_TO_LOOK_S

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


def looks(fleet: Fleet) -> list[Callable[[Context], object]]:
    """Every use case but a backup and a restore; each says what it found."""
    trusted = fleet.context().trusted_signers()
    selection = RestoreSelection(dataset=DATASET, target="tank/restore/copy")

    def verified(context: Context, **choice: Any) -> object:
        return verify(context, **choice, identities=[fleet.identity]).as_json()

    return [
        partial(list_backups, host="*"),
        *(partial(verified, depth=depth) for depth in DEPTHS),
        partial(verified, depth="checksum", subset="1/2", accept_losses=True),
        lambda context: plan_backup(context, task=fleet.task, level=0)[0].as_json() | {"snapshot": ""},
        lambda context: plan_restore(context, selection, trusted=trusted).as_json(),
        lambda context: restored_guid(context, replace(selection, target=DATASET), trusted=trusted),
    ]


def test_whichever_call_finds_it_away(fleet: Fleet) -> None:
    """All but those of a backup and a restore, which are too many for each to have a run of its own."""
    fleet.change_limits(workers=1)
    fleet.back_up(0)
    fleet.write(2)
    fleet.back_up(1)
    for look in looks(fleet):
        fleet.store.calls.clear()
        said, counts = look(fleet.context()), Counter[Operation]()
        assert len(fleet.store.calls) >= 4
        for operation, key in list(fleet.store.calls):
            counts[operation] += 1
            fleet.store.fail(operation, nth=counts[operation])
            # What a list remembers, it does not ask for.
            shutil.rmtree(Path(fleet.config.base_dir) / "state" / "catalogue", ignore_errors=True)
            waiting = Waiting()
            assert look(fleet.context(patience=waiting.patience())) == said, (operation, key)
            assert len(waiting.pauses) == 1, (operation, key)
            fleet.store._faults.clear()


@pytest.mark.parametrize("operation", ["list", "get", "head", "put", "read_into", "put_chunk", "complete"])
def test_a_whole_life_with_a_storage_that_comes_and_goes(fleet: Fleet, operation: Operation) -> None:
    waiting = Waiting()
    away(fleet, operation, "", times=3)
    context = fleet.context(patience=waiting.patience())
    for level in (0, 1):
        assert fleet.back_up(level, patience=waiting.patience()).warnings == ()
        fleet.write(level)
    selection = RestoreSelection(dataset=DATASET, target="tank/restore/copy")
    restore(context, selection, identities=[fleet.identity], trusted=context.trusted_signers())
    assert len(waiting.pauses) >= 3
    assert fleet.zfs.content("tank/restore/copy") != fleet.zfs.content(DATASET)


def test_what_only_looks_waits_for_minutes(fleet: Fleet) -> None:
    fleet.back_up(0)
    for look in (
        list_backups,
        lambda context: plan_backup(context, task=fleet.task, level=0),
        lambda context: plan_restore(
            context, RestoreSelection(dataset=DATASET, target="tank/x"), trusted=context.trusted_signers()
        ),
    ):
        waiting = Waiting()
        away(fleet, "get", "zrb.json", times=1000)
        with pytest.raises(StoreUnavailable):
            look(fleet.context(patience=waiting.patience(6 * HOUR)))
        assert waiting.now == pytest.approx(PATIENCE_TO_LOOK_S)
        fleet.store._faults.clear()


@pytest.mark.parametrize("operation", ["list", "get"])
def test_no_run_waits_for_what_it_may_not_read(fleet: Fleet, operation: Operation) -> None:
    fleet.back_up(0)
    fleet.store.fail(operation, error=StoreDenied("no", next_step="Allow it"))
    waiting = Waiting()
    with pytest.raises(StoreDenied):
        verify(fleet.context(patience=waiting.patience()), depth="exists")
    assert waiting.pauses == []


def test_a_signal_ends_the_waiting_of_all_threads(fleet: Fleet) -> None:
    """Those that read the catalogue are several, and the signal reaches the main thread alone."""
    for _ in range(4):
        fleet.back_up(0)
    away(fleet, "get", "manifests/", times=1000)
    together = threading.Barrier(4, action=lambda: os.kill(os.getpid(), signal.SIGTERM))

    def wait(pause_s: float, end: Ending) -> bool:
        together.wait(60)
        return pause(3600 + pause_s, end)

    with stopping_on_signals(), pytest.raises(Interrupted):
        verify(fleet.context(patience=Patience(2 * HOUR, pause=wait)), depth="signature")


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
