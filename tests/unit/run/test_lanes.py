# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small streams run beside each other: a slow or failing one does not hold the others, and all stop together."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from zrb.cli.signals import stopping_on_signals
from zrb.errors import Interrupted, Unexpected
from zrb.run.backup import BackupOutcome
from zrb.store.protocol import Ending
from zrb.stream.patience import Patience, pause
from zrb.values.config import MIB

from tests.fakes.fleet import DATASET, Fleet

NAMES = [DATASET, *(f"{DATASET}/{letter}" for letter in "abcdefgh")]
PATIENCE_S = 60


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    for name in NAMES:
        fleet.zfs.add_dataset(name, content=name.encode() * 10)
    fleet.task = replace(fleet.task, recursive=True)
    fleet.change_limits(part_size=0, chunk_size=64 * 1024, memory_limit=64 * MIB, workers=3)
    return fleet


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


class Watched:
    """A ZFS that calls ``before`` with the name of a dataset before it sends it."""

    def __init__(self, zfs: Any, before: Callable[[str], object]) -> None:
        self._zfs = zfs
        self._before = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._zfs, name)

    def send(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> Any:
        self._before(snapshot.partition("@")[0])
        return self._zfs.send(snapshot, base=base, flags=flags)


def datasets(outcome: BackupOutcome) -> list[str]:
    return [result.manifest.dataset.name for result in outcome.results]


def test_as_many_as_there_are_workers_run_at_once(fleet: Fleet) -> None:
    together = threading.Barrier(3)
    zfs = Watched(fleet.zfs, lambda _name: together.wait(PATIENCE_S))
    outcome = fleet.run(0, zfs=zfs)
    assert (outcome.exit_code, datasets(outcome)) == (0, NAMES)
    assert len({result.manifest.snapshot.createtxg for result in outcome.results}) == 1


@pytest.mark.parametrize("slow", [NAMES[0], NAMES[4], NAMES[-1]])
@pytest.mark.parametrize("length", [100, 200_000])
def test_a_slow_one_does_not_hold_the_others(fleet: Fleet, slow: str, length: int) -> None:
    """Neither a small one nor a large one: it begins when all others are committed."""
    fleet.zfs.write(slow, b"x" * length)
    others = threading.Semaphore(0)

    def wait(name: str) -> None:
        if name == slow:
            for _other in NAMES[1:]:
                assert others.acquire(timeout=PATIENCE_S)

    def passed(checkpoint: str) -> None:
        if checkpoint == "journal-removed":
            others.release()

    outcome = fleet.run(0, zfs=Watched(fleet.zfs, wait), checkpoint=passed)
    assert (outcome.exit_code, datasets(outcome)) == (0, NAMES)


def test_those_that_fail_do_not_disturb_the_others(fleet: Fleet) -> None:
    failing = [NAMES[1], NAMES[5]]
    for name in failing:
        fleet.store.fail("put", key_part=f"data/nas1/{name}/")
    outcome = fleet.run(0)
    assert [name for name, _error in outcome.failures] == failing
    assert datasets(outcome) == [name for name in NAMES if name not in failing]
    assert datasets(fleet.run(0)) == NAMES


def test_records_of_one_dataset_are_not_mixed_with_those_of_others(fleet: Fleet) -> None:
    together = threading.Barrier(3)
    outcome = fleet.run(0, zfs=Watched(fleet.zfs, lambda _name: together.wait(PATIENCE_S)), progress=(shown := Order()))
    assert outcome.exit_code == 0
    assert shown.kinds == ["start", "finish"] * len(NAMES)
    assert [shown.datasets[2 * place] for place in range(len(NAMES))] == shown.datasets[1::2]
    assert sorted(shown.datasets[1::2]) == sorted(NAMES)


@dataclass
class Order:
    """Remembers in which order operations start and end."""

    kinds: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        self.kinds.append("start")
        self.datasets.append(message.partition(" of ")[2].partition("@")[0])

    def advance(self, phase: str, *, current: int, total: int | None, message: str = "") -> None:
        pass

    def log(self, message: str, *, level: str = "info", **facts: Any) -> None:
        pass

    def finish(self, *, status: str, result: dict[str, Any]) -> None:
        self.kinds.append("finish")
        self.datasets.append(result["dataset"])


class Endless:
    """A send that gives nothing and does not end before it is killed."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self.killed = False

    def fileno(self) -> int:
        return self._read

    def wait(self) -> None:
        raise AssertionError("it has not ended")

    def kill(self) -> None:
        self.killed = True
        os.close(self._read)
        os.close(self._write)


def test_a_signal_stops_all(fleet: Fleet) -> None:
    sends: list[Endless] = []
    begun = threading.Barrier(3, action=lambda: os.kill(os.getpid(), signal.SIGTERM))

    class Stalled(Watched):
        def send(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> Any:
            sends.append(send := Endless())
            begun.wait(PATIENCE_S)
            return send

    with stopping_on_signals(), pytest.raises(Interrupted) as caught:
        fleet.run(0, zfs=Stalled(fleet.zfs, lambda _name: None))
    assert caught.value.exit_code == 143
    assert [send.killed for send in sends] == [True] * 3
    assert len(fleet.journals()) == len(NAMES)
    assert datasets(fleet.run(0)) == NAMES
    assert fleet.journals() == []


@pytest.mark.parametrize("key_part", ["data/", ".parts", ".json"])
def test_a_signal_ends_all_waiting_for_a_storage_that_is_away(fleet: Fleet, key_part: str) -> None:
    fleet.run(0)
    for nth in range(1, 100):
        fleet.store.fail("put", nth=nth, key_part=key_part)
    away = threading.Barrier(3, action=lambda: os.kill(os.getpid(), signal.SIGTERM))

    def wait(pause_s: float, end: Ending) -> bool:
        away.wait(PATIENCE_S)
        return pause(PATIENCE_S + pause_s, end)

    with stopping_on_signals(), pytest.raises(Interrupted):
        fleet.run(0, patience=Patience(3600, pause=wait))
    assert len(fleet.manifests()) == len(NAMES)


@pytest.mark.parametrize("error", [IndexError("no row"), MemoryError(), OSError(24, "Too many")], ids=repr)
@pytest.mark.parametrize("length", [100, 200_000])
def test_a_defect_is_a_failure_of_one_alone(fleet: Fleet, error: Exception, length: int) -> None:
    fleet.zfs.write(NAMES[4], b"x" * length)
    outcome = fleet.run(0, zfs=Watched(fleet.zfs, raising(NAMES[4], error)))
    assert [(name, type(failure), failure.answer) for name, failure in outcome.failures] == [
        (NAMES[4], Unexpected, str(error))
    ]
    assert datasets(outcome) == [name for name in NAMES if name != NAMES[4]]
    assert datasets(fleet.run(0)) == NAMES


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Interrupted])
@pytest.mark.parametrize("length", [100, 200_000])
def test_who_wants_the_run_to_end_gets_it(fleet: Fleet, kind: type[BaseException], length: int) -> None:
    fleet.zfs.write(NAMES[4], b"x" * length)
    error = Interrupted(15, next_step="Again") if kind is Interrupted else kind()
    with pytest.raises(kind):
        fleet.run(0, zfs=Watched(fleet.zfs, raising(NAMES[4], error)))
    assert datasets(fleet.run(0)) == NAMES
    assert fleet.journals() == []


def raising(dataset: str, error: BaseException) -> Callable[[str], None]:
    def before(name: str) -> None:
        if name == dataset:
            raise error

    return before
