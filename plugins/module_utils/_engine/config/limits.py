# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that sizes fit together: the limits of S3, and the memory that a pipeline needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from ..values.config import MIB, Limits
from ..values.size_text import human_size
from .readers import MAX_SIZE
from .yaml_nodes import Node

MIN_S3_CHUNK = 5 * MIB
MAX_S3_CHUNK = 5 * 1024 * MIB
MAX_CHUNKS = 10_000
"""Parts of a multipart upload, as S3 counts them (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
PIPELINE_BYTES = 16 * MIB
"""Memory that a pipeline needs besides two chunks."""


def read_limits(root: Node, values: Mapping[str, Any], *, on_s3: bool) -> Limits:
    """Return the limits among the ``values`` of the file. Raises ``ConfigError`` if they cannot work together."""
    names = {field.name for field in fields(Limits)}
    limits = Limits(**{name: value for name, value in values.items() if name in names})
    if "chunk_size" not in values and limits.part_size < limits.chunk_size:
        limits = replace(limits, chunk_size=limits.part_size)
    part, chunk = limits.part_size, limits.chunk_size
    if chunk > part:
        raise root.at("chunk_size").error(
            f"is {human_size(chunk)}, more than `part_size` ({human_size(part)})",
            "A part is made of whole chunks: make `chunk_size` smaller or `part_size` larger",
        )
    if on_s3:
        _check_s3(root, part, chunk)
    needed = 2 * chunk + PIPELINE_BYTES
    if limits.memory_limit < needed:
        raise root.at("memory_limit", "chunk_size").error(
            f"does not fit: `memory_limit` is {human_size(limits.memory_limit)}, but two chunks of {human_size(chunk)} "
            f"and {human_size(PIPELINE_BYTES)} for the pipeline need {human_size(needed)}",
            "Make `memory_limit` larger or `chunk_size` smaller",
        )
    return limits


def _check_s3(root: Node, part: int, chunk: int) -> None:
    if not MIN_S3_CHUNK <= chunk <= MAX_S3_CHUNK:
        raise root.at("chunk_size", "part_size").error(
            f"results in chunks of {human_size(chunk)}, but S3 accepts 5 MiB to 5 GiB",
            "Choose a size in that range, such as 32MiB",
        )
    stored = part + part // 4096 + 64 * 1024  # age adds 16 bytes to every 64 KiB, and a header
    if stored > MAX_SIZE:
        raise root.at("part_size").error(
            f"is {human_size(part)}, but an S3 object has at most 5 TiB, encryption included",
            "Choose a smaller size, such as 256MiB",
        )
    chunks = -(-stored // chunk)
    if chunks > MAX_CHUNKS:
        raise root.at("part_size").error(
            f"needs {chunks} chunks of {human_size(chunk)}, but an upload to S3 has at most {MAX_CHUNKS}",
            "Make `part_size` smaller or `chunk_size` larger",
        )
