# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recursive tasks: what one dataset needs must not add up, and what goes wrong in one must not touch the others."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import Interrupted, StoreUnavailable, Unexpected, ZfsError
from zrb.stream.buffer_pool import BufferPool

from tests.fakes.fleet import DATASET, Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.task = replace(fleet.task, recursive=True)
    return fleet


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Allow ``spare`` descriptors besides those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_datasets_than_descriptors(fleet: Fleet) -> None:
    for number in range(300):
        fleet.zfs.add_dataset(f"{DATASET}/{number}", content=b"little")
    with few_descriptors(spare=32):
        outcome = fleet.run(0)
    assert (len(outcome.results), outcome.failures, outcome.exit_code) == (301, (), 0)


def test_a_failed_dataset_keeps_no_buffers(fleet: Fleet) -> None:
    for number in range(10):
        fleet.zfs.add_dataset(f"{DATASET}/{number}", content=b"little")
    for nth in range(1, 40):
        fleet.store.fail("put", nth=nth, key_part="data/")
    outcome = fleet.run(0)
    assert {type(error) for _name, error in outcome.failures} == {StoreUnavailable}
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, BufferPool)]


ZFS_CALLS = (
    "pool",
    "snapshots",
    "bookmarks",
    "hold",
    "release",
    "bookmark",
    "estimate_bytes",
    "send",
    "described",
    "local_properties",
)


@pytest.mark.parametrize("error", [IndexError("no row"), MemoryError(), OSError(24, "Too many open files")], ids=repr)
@pytest.mark.parametrize("call", ZFS_CALLS)
def test_a_defect_in_one_dataset_is_its_failure_alone(fleet: Fleet, call: str, error: Exception) -> None:
    """Whichever call it is, and whatever it raises: the others are backed up, and the next run makes it good."""
    names = {DATASET, *(f"{DATASET}/{number}" for number in range(3))}
    for name in names - {DATASET}:
        fleet.zfs.add_dataset(name, content=b"little")
    fleet.run(0)
    fleet.write(2)
    fleet.zfs.fail(call, error)
    outcome = fleet.run(0)
    done = [result.manifest.dataset.name for result in outcome.results]
    failed = [name for name, _error in outcome.failures]
    assert sorted(done + failed) == sorted(names)
    assert len(failed) <= 1
    assert len(fleet.manifests()) == 4 + len(done), "what was committed is no failure"
    for _name, failure in outcome.failures:
        assert (type(failure), failure.exit_code) == (Unexpected, 1)
        assert type(error).__name__ in failure.problem
        assert failure.answer == str(error)
    assert len(fleet.run(0).results) == 4


@pytest.mark.parametrize("error", [IndexError("no row"), MemoryError(), ZfsError("no", next_step="Look")], ids=repr)
@pytest.mark.parametrize("call", ["pool", "snapshots", "bookmarks", "described", "local_properties", "hold"])
def test_what_is_asked_together_and_fails_is_asked_about_each(fleet: Fleet, call: str, error: Exception) -> None:
    """It fails for all together, and then for the first one alone."""
    names = [DATASET, *(f"{DATASET}/{number}" for number in range(3))]
    for name in names[1:]:
        fleet.zfs.add_dataset(name, content=b"little")
    fleet.zfs.fail(call, error, times=2)
    outcome = fleet.run(0)
    assert [name for name, _error in outcome.failures] == [DATASET]
    assert [result.manifest.dataset.name for result in outcome.results] == names[1:]
    assert len(fleet.run(0).results) == 4
    assert fleet.journals() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), Interrupted(15, next_step="Again")], ids=repr)
@pytest.mark.parametrize("call", ZFS_CALLS)
def test_who_wants_the_run_to_end_gets_it(fleet: Fleet, call: str, error: BaseException) -> None:
    fleet.run(0)
    fleet.write(2)
    fleet.zfs.fail(call, error)
    with pytest.raises(type(error)):
        fleet.run(0)
    assert len(fleet.run(0).results) == 1


def test_snapshots_that_cannot_be_taken_fail_those_that_need_them(fleet: Fleet) -> None:
    fleet.zfs.fail("create_snapshots", IndexError("no row"))
    assert [type(error) for _name, error in fleet.run(0).failures] == [Unexpected]
    assert len(fleet.run(0).results) == 1
