# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chooses the sizes of parts and chunks if the configuration does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ..values.config import KIB, MIB, Limits
from ..values.storage_classes import ARCHIVE_CLASSES, AWS_BILLING, STANDARD
from .price_list import AWS, FIRST_REGION, MONTH_DAYS

MIN_S3_CHUNK: Final = 5 * MIB
MAX_S3_CHUNK: Final = 5 * 1024 * MIB
MAX_S3_OBJECT: Final = 5 * 1024 * 1024 * MIB
MAX_CHUNKS: Final = 10_000
"""Parts of a multipart upload, as S3 counts them (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""

PIPELINE_BYTES: Final = 16 * MIB
"""Memory that a pipeline needs besides two chunks."""

LEAST_PART: Final = 256 * MIB
FEW_PARTS: Final = 20_000
"""A stream becomes at most about this many parts."""


def choose_sizes(limits: Limits, *, stream_bytes: int | None = None, storage_class: str = "STANDARD") -> Limits:
    """Return ``limits`` with a ``part_size`` and a ``chunk_size``.

    Objects and requests are so large that they add at most 1 % to the price of their bytes. If ``stream_bytes`` is
    unknown or wrong, there are only more objects. Chunks are so small that every worker has one while the next ones
    are filled.
    """
    object_bytes, chunk_bytes = worthwhile_sizes(storage_class)
    room = limits.memory_limit - PIPELINE_BYTES
    most = max(MIN_S3_CHUNK, room // 2)
    part = limits.part_size or min(
        max(
            LEAST_PART,
            limits.chunk_size,
            object_bytes,
            _power_of_two(-(-(stream_bytes or 0) // FEW_PARTS)),
        ),
        _largest_part(limits.chunk_size or min(most, MAX_S3_CHUNK)),
    )
    share = _power_of_two(room // (2 * limits.workers + 2) // 2 + 1)  # leaves room for two chunks per worker, plus two
    wanted = max(MIN_S3_CHUNK, -(-stored_bytes(part) // MAX_CHUNKS), min(share, chunk_bytes))
    return replace(limits, part_size=part, chunk_size=limits.chunk_size or min(wanted, most, MAX_S3_CHUNK, part))


def worthwhile_sizes(storage_class: str) -> tuple[int, int]:
    """The sizes of objects and chunks for which their requests add 1 % to the price of their bytes over the shortest
    time that is charged.

    Prices are those of us-east-1, wherever the bucket is: only their ratios count, and these differ little. Chunks for
    an archive class cost the STANDARD price (docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html).
    """
    classes = AWS[FIRST_REGION].classes
    prices = classes.get(storage_class, classes["STANDARD"])
    for_chunks = classes["STANDARD"] if storage_class in ARCHIVE_CLASSES else prices
    billing = AWS_BILLING.get(storage_class, STANDARD)
    least = max(billing.least_bytes, billing.overhead_bytes + billing.standard_overhead_bytes)
    usd_a_byte = (prices.gb_month or 0) * max(MONTH_DAYS, billing.least_days) / MONTH_DAYS / 10**9

    def worthwhile(usd_a_thousand: float | None) -> int:
        return _power_of_two(100 * max(least, int((usd_a_thousand or 0) / 1000 / usd_a_byte)))

    return worthwhile(prices.thousand_puts), worthwhile(for_chunks.thousand_puts)


def stored_bytes(part_size: int) -> int:
    """Upper bound for an encrypted part of this size: age adds 16 bytes to every 64 KiB, and a header."""
    return part_size + part_size // 4096 + 64 * KIB


def _largest_part(chunk: int) -> int:
    return max(chunk, (min(MAX_CHUNKS * chunk, MAX_S3_OBJECT) - 64 * KIB) // 4097 * 4096)


def _power_of_two(size: int) -> int:
    """The smallest power of two that is at least ``size``."""
    return 1 << max(0, size - 1).bit_length()
