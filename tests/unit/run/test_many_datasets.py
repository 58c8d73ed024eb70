# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recursive tasks: what one dataset needs must not add up, and what goes wrong in one must not touch the others."""

from __future__ import annotations

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import Interrupted, StoreUnavailable
from zrb.stream.buffers import BufferPool

from tests.fakes.fleet import DATASET, TAG, Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    fleet = Fleet(tmp_path)
    fleet.task = replace(fleet.task, recursive=True)
    return fleet


@contextmanager
def few_descriptors(spare: int) -> Iterator[None]:
    """Allow ``spare`` descriptors besides those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
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
