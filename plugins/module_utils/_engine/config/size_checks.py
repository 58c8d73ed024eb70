# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks that sizes fit together: the limits of S3, and the memory that a pipeline needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..plan.part_sizes import (
    MAX_CHUNKS,
    MAX_S3_CHUNK,
    MAX_S3_OBJECT,
    MIN_S3_CHUNK,
    PIPELINE_BYTES,
    choose_sizes,
    stored_bytes,
)
from ..values.config import Limits
from ..values.size_text import human_size
from .yaml_nodes import Node


def read_limits(root: Node, values: Mapping[str, Any], *, on_s3: bool) -> Limits:
    """Return the limits among the ``values`` of the file. Raises ``ConfigError`` if they cannot work together."""
    names = {field.name for field in fields(Limits)}
    limits = Limits(**{name: value for name, value in values.items() if name in names})
    chosen = choose_sizes(limits)
    part, chunk = chosen.part_size, chosen.chunk_size
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
    stored = stored_bytes(part)
    if stored > MAX_S3_OBJECT:
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
