# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Divides the memory limit: blocks of plaintext, chunks of ciphertext, and a scratch buffer for each thread that
encrypts or decrypts. Nothing else holds bytes of a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..values.config import KIB, Limits
from .part_sizes import PIPELINE_BYTES, choose_sizes

PIECE_BYTES = 64 * KIB
"""age encrypts 64 KiB at a time. A block is cut into such pieces."""

_TAG_BYTES = 16

BLOCK_BYTES = 512 * KIB
"""So small that a block and its ciphertext stay in a core's L2 cache while they are encrypted, hashed, decrypted."""

MAX_THREADS = 8
"""One thread at a time computes the SHA-256 of a part. More threads than this only wait for it."""

_HEADER_ROOM = 64 * KIB
"""More than any header of an age file needs: enough for some 600 recipients."""


@dataclass(frozen=True, slots=True)
class BufferLayout:
    """Sizes in bytes and counts of the two pools of a pipeline, and how many threads encrypt or decrypt."""

    block_bytes: int
    blocks: int
    chunk_bytes: int
    chunks: int
    threads: int

    @property
    def total_bytes(self) -> int:
        """Bytes of both pools and of the threads together; never more than the memory limit."""
        scratch = sealed_bytes(self.block_bytes)
        return self.block_bytes * self.blocks + self.chunk_bytes * self.chunks + scratch * self.threads


def plan_backup_buffers(limits: Limits, *, cores: int, stream_bytes: int | None = None) -> BufferLayout:
    """Chunks for what is uploaded, as many for what is read ahead, and never fewer than one block can touch. A short
    stream gets no more than it needs; one that turns out longer than ``stream_bytes`` is only slower."""
    limits = choose_sizes(limits)
    chunk = limits.chunk_size
    block = _whole_pieces(min(BLOCK_BYTES, limits.part_size, chunk))
    if stream_bytes is not None:
        cores = min(cores, count_chunks(stream_bytes, block))
    threads, blocks = _threads_and_blocks(cores)
    room = limits.memory_limit - block * blocks - sealed_bytes(block) * threads
    touched = 2 + (sealed_bytes(block) + _HEADER_ROOM) // chunk
    wanted = 2 * limits.workers + 2
    if stream_bytes is not None:
        wanted = min(wanted, count_chunks(sealed_bytes(stream_bytes) + _HEADER_ROOM, chunk))
    chunks = max(touched, min(wanted, room // chunk))
    return BufferLayout(block, blocks, chunk, chunks, threads)


def plan_lanes(limits: Limits, *, cores: int, small: int, large: bool) -> tuple[int, Limits, Limits]:
    """How many streams run at once, the limits of each ``small`` one, and those of a ``large`` one that may run beside
    them. ``limits`` must have sizes; a small stream is one chunk."""
    one = replace(limits, workers=1)
    share = plan_backup_buffers(one, cores=cores, stream_bytes=limits.chunk_size).total_bytes
    room = limits.memory_limit - (2 * limits.chunk_size + PIPELINE_BYTES if large else 0)
    lanes = max(1, min(limits.workers, small + large, room // share + large))
    beside = lanes - 1 if large else 0
    return lanes, one, replace(limits, memory_limit=limits.memory_limit - beside * share)


def plan_restore_buffers(limits: Limits, *, cores: int) -> BufferLayout:
    """As many chunks as fit, because whole parts wait in them until their hash is checked."""
    limits = choose_sizes(limits)
    threads, blocks = _threads_and_blocks(cores)
    room = limits.memory_limit - BLOCK_BYTES * blocks - sealed_bytes(BLOCK_BYTES) * threads
    return BufferLayout(BLOCK_BYTES, blocks, limits.chunk_size, max(2, room // limits.chunk_size), threads)


def sealed_bytes(plain_bytes: int) -> int:
    """The length of ``plain_bytes`` after age has encrypted them, without the header of the file."""
    return plain_bytes + _TAG_BYTES * -(-plain_bytes // PIECE_BYTES)


def _threads_and_blocks(cores: int) -> tuple[int, int]:
    """Two blocks for each thread, one in work and one waiting, and two for the thread that fills or empties them."""
    threads = max(1, min(MAX_THREADS, cores))
    return threads, 2 * threads + 2


def _whole_pieces(size: int) -> int:
    return max(PIECE_BYTES, size // PIECE_BYTES * PIECE_BYTES)


def count_chunks(object_bytes: int, chunk_bytes: int) -> int:
    """The number of chunks of an object of ``object_bytes``."""
    return -(-object_bytes // chunk_bytes)
