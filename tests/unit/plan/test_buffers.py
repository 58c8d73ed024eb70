# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""However memory, parts and chunks are configured: the buffers fit in the limit, and there are enough to go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.config.limits import PIPELINE_BYTES
from zrb.plan.buffers import (
    BLOCK_BYTES,
    MAX_BLOCKS,
    MIN_BLOCKS,
    BufferLayout,
    count_chunks,
    plan_backup_buffers,
    plan_restore_buffers,
)
from zrb.values.config import KIB, MIB, Limits
from zrb.values.part_list import count_parts

BOTH = pytest.mark.parametrize("plan", [plan_backup_buffers, plan_restore_buffers])


@st.composite
def possible_limits(draw: st.DrawFn) -> Limits:
    """Limits as the configuration accepts them."""
    chunk = draw(st.integers(1, 512 * MIB))
    return Limits(
        part_size=draw(st.integers(chunk, 8 * 1024 * MIB)),
        chunk_size=chunk,
        memory_limit=2 * chunk + PIPELINE_BYTES + draw(st.integers(0, 8 * 1024 * MIB)),
        workers=draw(st.integers(1, 64)),
    )


@BOTH
@given(limits=possible_limits())
def test_they_fit_and_are_enough(plan: Callable[[Limits], BufferLayout], limits: Limits) -> None:
    layout = plan(limits)
    assert layout.total_bytes == layout.blocks * layout.block_bytes + layout.chunks * layout.chunk_bytes
    assert layout.total_bytes <= limits.memory_limit
    assert layout.chunk_bytes == limits.chunk_size
    assert layout.chunks >= 2
    assert MIN_BLOCKS <= layout.blocks <= MAX_BLOCKS
    assert 1 <= layout.block_bytes <= BLOCK_BYTES


@given(limits=possible_limits())
def test_a_backup_has_no_more_chunks_than_its_uploaders_need(limits: Limits) -> None:
    assert plan_backup_buffers(limits).chunks <= max(2, limits.workers + 2)


def test_the_defaults() -> None:
    assert plan_backup_buffers(Limits()) == BufferLayout(4 * MIB, 32, 32 * MIB, 6)
    assert plan_restore_buffers(Limits()) == BufferLayout(4 * MIB, 8, 32 * MIB, 15)


def test_the_tightest_that_is_accepted() -> None:
    tightest = Limits(part_size=64 * KIB, chunk_size=16 * KIB, memory_limit=32 * KIB + 16 * MIB, workers=9)
    assert plan_backup_buffers(tightest) == BufferLayout(64 * KIB, 32, 16 * KIB, 11)
    assert plan_restore_buffers(tightest) == BufferLayout(4 * MIB, 4, 16 * KIB, 2)


@given(length=st.integers(1, 1 << 50), size=st.integers(1, 1 << 40))
def test_counting(length: int, size: int) -> None:
    for count in (count_parts(length, size), count_chunks(length, size)):
        assert (count - 1) * size < length <= count * size


def test_nothing_is_cut_into_nothing() -> None:
    assert count_parts(0, 10) == count_chunks(0, 10) == 0
