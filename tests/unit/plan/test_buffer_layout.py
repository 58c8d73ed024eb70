# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""However memory, parts and chunks are configured: the buffers fit in the limit, and there are enough to go on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.config.size_checks import PIPELINE_BYTES
from zrb.plan.buffer_layout import (
    BLOCK_BYTES,
    MAX_THREADS,
    PIECE_BYTES,
    BufferLayout,
    count_chunks,
    plan_backup_buffers,
    plan_lanes,
    plan_restore_buffers,
    sealed_bytes,
)
from zrb.plan.part_sizes import choose_sizes
from zrb.values.config import KIB, MIB, Limits
from zrb.values.part_list_json import count_parts

BOTH = pytest.mark.parametrize("plan", [plan_backup_buffers, plan_restore_buffers])
CORES = st.integers(1, 256)
Plan = Callable[..., BufferLayout]


@st.composite
def possible_limits(draw: st.DrawFn) -> Limits:
    """Limits as the configuration accepts them."""
    chunk = draw(st.one_of(st.integers(1, 512 * MIB), st.integers(1, 2 * MIB)))
    return Limits(
        part_size=draw(st.integers(chunk, 8 * 1024 * MIB)),
        chunk_size=chunk,
        memory_limit=2 * chunk + PIPELINE_BYTES + draw(st.integers(0, 8 * 1024 * MIB)),
        workers=draw(st.integers(1, 64)),
    )


@BOTH
@given(limits=possible_limits(), cores=CORES)
def test_they_fit_and_are_enough(plan: Plan, limits: Limits, cores: int) -> None:
    layout = plan(limits, cores=cores)
    pools = layout.blocks * layout.block_bytes + layout.chunks * layout.chunk_bytes
    assert layout.total_bytes == pools + layout.threads * sealed_bytes(layout.block_bytes)
    assert layout.total_bytes <= limits.memory_limit
    assert layout.chunk_bytes == limits.chunk_size
    assert layout.chunks >= 2
    assert 1 <= layout.threads <= min(cores, MAX_THREADS)
    assert layout.blocks >= layout.threads + 2
    assert PIECE_BYTES <= layout.block_bytes <= BLOCK_BYTES
    assert not layout.block_bytes % PIECE_BYTES


@given(limits=possible_limits(), cores=CORES, before=st.integers(0, 64 * KIB))
def test_a_block_finds_all_the_chunks_that_it_can_touch(limits: Limits, cores: int, before: int) -> None:
    """Wherever it begins in a chunk, and with a header: else the reader would wait for itself."""
    layout = plan_backup_buffers(limits, cores=cores)
    for begin in {0, 1, layout.chunk_bytes - 1, before % layout.chunk_bytes}:
        end = begin + sealed_bytes(layout.block_bytes)
        assert count_chunks(end, layout.chunk_bytes) <= layout.chunks
    assert count_chunks(before + sealed_bytes(layout.block_bytes), layout.chunk_bytes) <= layout.chunks


@given(length=st.integers(1, 100 * MIB))
def test_what_age_makes_of_it(length: int) -> None:
    """A tag of 16 bytes for every piece of 64 KiB, the last one included."""
    assert sealed_bytes(length) == length + 16 * ((length + 65535) // 65536)


def test_the_defaults() -> None:
    assert plan_backup_buffers(Limits(), cores=4) == BufferLayout(512 * KIB, 10, 32 * MIB, 10, 4)
    assert plan_restore_buffers(Limits(), cores=4) == BufferLayout(512 * KIB, 10, 32 * MIB, 15, 4)


def test_little_memory_and_one_core() -> None:
    little = Limits(memory_limit=128 * MIB)
    assert plan_backup_buffers(little, cores=1) == BufferLayout(512 * KIB, 4, 8 * MIB, 10, 1)
    assert plan_restore_buffers(little, cores=1) == BufferLayout(512 * KIB, 4, 8 * MIB, 15, 1)


@given(limits=possible_limits(), cores=CORES, length=st.integers(0, 1 << 45))
def test_a_short_stream_gets_what_it_needs_and_no_more(limits: Limits, cores: int, length: int) -> None:
    whole = plan_backup_buffers(limits, cores=cores)
    layout = plan_backup_buffers(limits, cores=cores, stream_bytes=length)
    assert layout.total_bytes <= whole.total_bytes
    assert layout.total_bytes <= 2 * length + 2 * layout.chunk_bytes + PIPELINE_BYTES
    assert layout.chunk_bytes * layout.chunks >= min(sealed_bytes(length), whole.chunk_bytes * whole.chunks)
    assert layout.threads <= max(1, count_chunks(length, layout.block_bytes))


def test_ten_mebibytes_do_not_reserve_all_memory() -> None:
    assert plan_backup_buffers(Limits(), cores=4, stream_bytes=10 * MIB).total_bytes < 80 * MIB


def test_the_tightest_that_is_accepted() -> None:
    tightest = Limits(part_size=64 * KIB, chunk_size=16 * KIB, memory_limit=32 * KIB + 16 * MIB, workers=9)
    assert plan_backup_buffers(tightest, cores=8) == BufferLayout(64 * KIB, 18, 16 * KIB, 20, 8)
    assert plan_restore_buffers(tightest, cores=8).chunks == (16 * MIB + 32 * KIB - 13 * MIB - 8 * 128) // (16 * KIB)


@given(length=st.integers(1, 1 << 50), size=st.integers(1, 1 << 40))
def test_counting(length: int, size: int) -> None:
    for count in (count_parts(length, size), count_chunks(length, size)):
        assert (count - 1) * size < length <= count * size


def test_nothing_is_cut_into_nothing() -> None:
    assert count_parts(0, 10) == count_chunks(0, 10) == 0


@given(limits=possible_limits(), cores=CORES, small=st.integers(1, 500), large=st.booleans())
def test_streams_at_once_fit_together(limits: Limits, cores: int, small: int, large: bool) -> None:
    lanes, of_small, of_large = plan_lanes(limits, cores=cores, small=small, large=large)
    assert 1 <= lanes <= min(limits.workers, small + large)
    each = plan_backup_buffers(of_small, cores=cores, stream_bytes=limits.chunk_size // 2).total_bytes
    whole = plan_backup_buffers(of_large, cores=cores).total_bytes
    assert (lanes - 1) * each + (whole if large else each) <= limits.memory_limit
    assert large or of_large == limits


def test_small_streams_run_at_once_also_beside_a_large_one() -> None:
    for large in (False, True):
        lanes, _small, of_large = plan_lanes(choose_sizes(Limits()), cores=4, small=300, large=large)
        assert lanes == 4
        assert of_large.memory_limit > 256 * MIB
