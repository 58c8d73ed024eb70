# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever the stream, the class, the memory and what is configured: sizes that S3 takes, that fit, and that suit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.buffer_layout import count_chunks
from zrb.plan.part_proof import count_parts
from zrb.plan.part_sizes import (
    FEW_PARTS,
    LEAST_PART,
    MAX_CHUNKS,
    MAX_S3_CHUNK,
    MAX_S3_OBJECT,
    MIN_S3_CHUNK,
    PIPELINE_BYTES,
    choose_sizes,
    stored_bytes,
)
from zrb.plan.price_list import AWS, FIRST_REGION
from zrb.values.config import KIB, MIB, Limits
from zrb.values.field_types import MAX_PARTS
from zrb.values.storage_classes import ARCHIVE_CLASSES

GIB, TIB = 1 << 30, 1 << 40
CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE", "OF_ANOTHER_SERVICE")
STREAMS = st.one_of(st.none(), st.integers(0, 1 << 60), st.integers(0, 60).map(lambda exponent: 1 << exponent))
MEMORY = st.integers(2 * MIN_S3_CHUNK + PIPELINE_BYTES, 64 * GIB)
WORKERS = st.integers(1, 64)


def assert_possible(limits: Limits) -> None:
    """S3 takes these sizes, and the memory holds them."""
    assert MIN_S3_CHUNK <= limits.chunk_size <= MAX_S3_CHUNK
    assert limits.chunk_size <= limits.part_size
    assert stored_bytes(limits.part_size) <= MAX_S3_OBJECT
    assert count_chunks(stored_bytes(limits.part_size), limits.chunk_size) <= MAX_CHUNKS
    assert 2 * limits.chunk_size + PIPELINE_BYTES <= limits.memory_limit


@given(stream=STREAMS, storage_class=st.sampled_from(CLASSES), memory=MEMORY, workers=WORKERS)
def test_what_is_chosen_is_possible_and_not_many(
    stream: int | None, storage_class: str, memory: int, workers: int
) -> None:
    given_ = Limits(memory_limit=memory, workers=workers)
    limits = choose_sizes(given_, stream_bytes=stream, storage_class=storage_class)
    assert_possible(limits)
    assert (limits.memory_limit, limits.workers) == (memory, workers)
    assert limits.part_size >= min(LEAST_PART, MAX_CHUNKS * MIN_S3_CHUNK)
    largest = stored_bytes(2 * limits.part_size) > min(MAX_S3_OBJECT, MAX_CHUNKS * (memory - PIPELINE_BYTES) // 2)
    assert count_parts(stream or 0, limits.part_size) <= FEW_PARTS or largest
    if limits.chunk_size > MIN_S3_CHUNK and count_chunks(stored_bytes(limits.part_size), limits.chunk_size) < 5000:
        assert (2 * workers + 2) * limits.chunk_size <= memory - PIPELINE_BYTES


@given(stream=STREAMS, storage_class=st.sampled_from(CLASSES), memory=MEMORY, chunk=st.integers(MIN_S3_CHUNK, 5 * GIB))
def test_a_chunk_size_that_is_given_is_kept(stream: int | None, storage_class: str, memory: int, chunk: int) -> None:
    given_ = Limits(memory_limit=memory + 2 * chunk, chunk_size=chunk)
    limits = choose_sizes(given_, stream_bytes=stream, storage_class=storage_class)
    assert limits.chunk_size == chunk
    assert_possible(limits)


@given(stream=STREAMS, storage_class=st.sampled_from(CLASSES), memory=MEMORY, part=st.integers(MIN_S3_CHUNK, 40 * GIB))
def test_a_part_size_that_is_given_is_kept(stream: int | None, storage_class: str, memory: int, part: int) -> None:
    limits = choose_sizes(Limits(memory_limit=memory, part_size=part), stream_bytes=stream, storage_class=storage_class)
    assert limits.part_size == part
    assert_possible(limits)


@given(part=st.integers(1, TIB), chunk=st.integers(1, GIB), stream=STREAMS, storage_class=st.sampled_from(CLASSES))
def test_what_is_chosen_or_given_is_not_chosen_again(
    part: int, chunk: int, stream: int | None, storage_class: str
) -> None:
    """Also what no store would take: to refuse it is the configuration's part."""
    limits = Limits(part_size=part, chunk_size=chunk)
    assert choose_sizes(limits, stream_bytes=stream, storage_class=storage_class) == limits
    chosen = choose_sizes(Limits(), stream_bytes=stream, storage_class=storage_class)
    assert choose_sizes(chosen, stream_bytes=1, storage_class="STANDARD") == chosen


@given(stream=STREAMS, longer=st.integers(0, TIB), storage_class=st.sampled_from(CLASSES))
def test_a_longer_stream_never_has_smaller_parts(stream: int | None, longer: int, storage_class: str) -> None:
    one, other = (
        choose_sizes(Limits(), stream_bytes=length, storage_class=storage_class)
        for length in (stream, (stream or 0) + longer)
    )
    assert one.part_size <= other.part_size


@pytest.mark.parametrize(
    ("storage_class", "part", "chunk"),
    [
        ("STANDARD", 256 * MIB, 32 * MIB),
        ("STANDARD_IA", 256 * MIB, 128 * MIB),
        ("ONEZONE_IA", 256 * MIB, 128 * MIB),
        ("GLACIER_IR", 256 * MIB, 256 * MIB),
        ("GLACIER", 512 * MIB, 64 * MIB),
        ("DEEP_ARCHIVE", GIB, 128 * MIB),
    ],
)
def test_what_an_object_and_a_request_cost_is_a_hundredth(storage_class: str, part: int, chunk: int) -> None:
    """With memory enough. Half of either would cost more, unless it is the smallest that is ever chosen."""
    limits = choose_sizes(Limits(memory_limit=8 * GIB), stream_bytes=1, storage_class=storage_class)
    assert (limits.part_size, limits.chunk_size) == (part, chunk)
    known = AWS[FIRST_REGION]
    prices, standard = known.classes[storage_class], known.classes["STANDARD"]
    assert prices.gb_month and prices.thousand_puts and standard.thousand_puts
    usd_a_byte = prices.gb_month / 1e9 * max(30, known.billing_of(storage_class).least_days) / 30
    for_chunks = standard.thousand_puts if storage_class in ARCHIVE_CLASSES else prices.thousand_puts
    for size, usd in ((part, prices.thousand_puts / 1000), (chunk, for_chunks / 1000)):
        assert usd <= size * usd_a_byte / 100
        assert usd > size / 2 * usd_a_byte / 100 or size == LEAST_PART


@pytest.mark.parametrize(
    ("stream", "part", "count"),
    [(10 * MIB, 256 * MIB, 1), (None, 256 * MIB, 0), (4 * TIB, 256 * MIB, 16384), (40 * TIB, 4 * GIB, 10240)],
)
def test_parts_of_some_streams(stream: int | None, part: int, count: int) -> None:
    limits = choose_sizes(Limits(), stream_bytes=stream)
    assert (limits.part_size, limits.chunk_size) == (part, 32 * MIB)
    assert count_parts(stream or 0, limits.part_size) == count


def test_two_hundred_tebibytes_fit_also_if_the_estimate_was_wrong() -> None:
    assert count_parts(200 * TIB, choose_sizes(Limits(), stream_bytes=10 * KIB).part_size) < MAX_PARTS
