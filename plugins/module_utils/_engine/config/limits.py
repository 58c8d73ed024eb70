# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which sizes go together: those of S3, and those that a pipeline needs."""

from __future__ import annotations

from dataclasses import fields, replace

from ..values.config import MIB, Limits
from ..values.size_text import human_size
from .nodes import Section

MIN_S3_CHUNK = 5 * MIB
MAX_S3_CHUNK = 5 * 1024 * MIB
MAX_CHUNKS = 10_000
"""Parts of a multipart upload, as S3 counts them (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
MAX_OBJECT = 5 * 1024 * 1024 * MIB
"""The largest object that every S3 service takes."""
PIPELINE_BYTES = 16 * MIB
"""What a pipeline needs besides two chunks."""


def read_limits(section: Section, *, on_s3: bool) -> Limits:
    """The limits in the root ``section``. Raises ``ConfigError`` for those that cannot work."""
    names = {item.name for item in fields(Limits)}
    limits = Limits(**{name: value for name, value in section.values.items() if name in names})
    if "chunk_size" not in section.values and limits.part_size < limits.chunk_size:
        limits = replace(limits, chunk_size=limits.part_size)
    _check_chunk(section, limits)
    if on_s3:
        _check_s3(section, limits)
    _check_memory(section, limits)
    return limits


def _check_chunk(section: Section, limits: Limits) -> None:
    if limits.chunk_size > limits.part_size:
        raise section.where("chunk_size").error(
            f"is {human_size(limits.chunk_size)}, more than `part_size` ({human_size(limits.part_size)})",
            "A part is made of whole chunks: make `chunk_size` smaller or `part_size` larger",
        )


def _check_s3(section: Section, limits: Limits) -> None:
    if not MIN_S3_CHUNK <= limits.chunk_size <= MAX_S3_CHUNK:
        raise section.where("chunk_size", "part_size").error(
            f"makes chunks of {human_size(limits.chunk_size)}, and S3 takes 5 MiB to 5 GiB",
            "Choose a size between the two; 32MiB is a good one",
        )
    # age adds 16 bytes to every 64 KiB, and a header.
    stored = limits.part_size + limits.part_size // 4096 + 64 * 1024
    if stored > MAX_OBJECT:
        raise section.where("part_size").error(
            f"is {human_size(limits.part_size)}, and an object of S3 has at most 5 TiB, encryption included",
            "Choose a smaller size; 256MiB is a good one",
        )
    chunks = -(-stored // limits.chunk_size)
    if chunks > MAX_CHUNKS:
        raise section.where("part_size").error(
            f"is {chunks} chunks of {human_size(limits.chunk_size)}, and an upload to S3 has at most {MAX_CHUNKS}",
            "Make `part_size` smaller or `chunk_size` larger",
        )


def _check_memory(section: Section, limits: Limits) -> None:
    least = 2 * limits.chunk_size + PIPELINE_BYTES
    if limits.memory_limit < least:
        raise section.where("memory_limit", "chunk_size").error(
            f"does not fit: `memory_limit` is {human_size(limits.memory_limit)}, and {human_size(least)} are needed, "
            f"for two chunks of {human_size(limits.chunk_size)} and {human_size(PIPELINE_BYTES)} of the pipeline",
            "Make `memory_limit` larger or `chunk_size` smaller",
        )
