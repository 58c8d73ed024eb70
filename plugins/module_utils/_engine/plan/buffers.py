# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the memory limit is divided: blocks of plaintext and chunks of ciphertext. Nothing else holds stream bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ..values.config import MIB, Limits

BLOCK_BYTES = 4 * MIB
"""Small enough to stay in a processor's cache between the reader and the encryptor."""

MIN_BLOCKS = 4
MAX_BLOCKS = 32
"""More read-ahead than this buys nothing: the slowest stage sets the pace."""


@dataclass(frozen=True, slots=True)
class BufferLayout:
    """Sizes in bytes and counts of the two pools of a pipeline."""

    block_bytes: int
    blocks: int
    chunk_bytes: int
    chunks: int

    @property
    def total_bytes(self) -> int:
        """Bytes of both pools together; never more than the memory limit."""
        return self.block_bytes * self.blocks + self.chunk_bytes * self.chunks


def plan_backup_buffers(limits: Limits) -> BufferLayout:
    """One chunk for every uploader, one that is being filled, one in reserve; the rest is read-ahead."""
    block = min(BLOCK_BYTES, limits.part_size)
    room_for_chunks = (limits.memory_limit - MIN_BLOCKS * block) // limits.chunk_size
    chunks = max(2, min(limits.workers + 2, room_for_chunks))
    return BufferLayout(block, _blocks(limits, block, chunks), limits.chunk_size, chunks)


def plan_restore_buffers(limits: Limits) -> BufferLayout:
    """As many chunks as fit: a part waits in them, whole, until its hash is known to be right."""
    block = BLOCK_BYTES
    chunks = max(2, (limits.memory_limit - 2 * MIN_BLOCKS * block) // limits.chunk_size)
    return BufferLayout(block, _blocks(limits, block, chunks), limits.chunk_size, chunks)


def _blocks(limits: Limits, block: int, chunks: int) -> int:
    left = (limits.memory_limit - chunks * limits.chunk_size) // block
    return max(MIN_BLOCKS, min(MAX_BLOCKS, left))


def count_chunks(object_bytes: int, chunk_bytes: int) -> int:
    """How many chunks an object of ``object_bytes`` is moved in."""
    return -(-object_bytes // chunk_bytes)
