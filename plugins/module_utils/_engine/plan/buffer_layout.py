# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the memory limit is divided: blocks of plaintext, chunks of ciphertext, and a scratch for each thread that
encrypts or decrypts. Nothing else holds bytes of a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..values.config import KIB, Limits
from .part_sizes import PIPELINE_BYTES, choose_sizes

PIECE_BYTES = 64 * KIB
"""A block is cut in whole pieces of age, which encrypts 64 KiB at a time."""

_TAG_BYTES = 16

BLOCK_BYTES = 512 * KIB
"""A block and its ciphertext stay in the second cache of a core while they are encrypted, hashed and decrypted."""

MAX_THREADS = 8
"""SHA-256 of a part is taken in order, by one thread at a time: more threads wait for it."""

_HEADER_ROOM = 64 * KIB
"""More than the header of an age file takes: some 600 recipients."""


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
    """Chunks for what is uploaded, as many again for what runs ahead, and never fewer than one block can touch. A short
    stream gets no more than it needs; if it is longer than ``stream_bytes``, it is only slower."""
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
    """How many streams run at once, and the limits of one of the ``small`` ones and of the one ``large`` that may run
    beside them. ``limits`` have sizes; a small stream is one chunk."""
    one = replace(limits, workers=1)
    share = plan_backup_buffers(one, cores=cores, stream_bytes=limits.chunk_size).total_bytes
    room = limits.memory_limit - (2 * limits.chunk_size + PIPELINE_BYTES if large else 0)
    lanes = max(1, min(limits.workers, small + large, room // share + large))
    beside = lanes - 1 if large else 0
    return lanes, one, replace(limits, memory_limit=limits.memory_limit - beside * share)


def plan_restore_buffers(limits: Limits, *, cores: int) -> BufferLayout:
    """As many chunks as fit: a part waits in them, whole, until its hash is known to be right."""
    limits = choose_sizes(limits)
    threads, blocks = _threads_and_blocks(cores)
    room = limits.memory_limit - BLOCK_BYTES * blocks - sealed_bytes(BLOCK_BYTES) * threads
    return BufferLayout(BLOCK_BYTES, blocks, limits.chunk_size, max(2, room // limits.chunk_size), threads)


def sealed_bytes(plain_bytes: int) -> int:
    """How long ``plain_bytes`` become when age encrypts them, without the header of the file."""
    return plain_bytes + _TAG_BYTES * -(-plain_bytes // PIECE_BYTES)


def _threads_and_blocks(cores: int) -> tuple[int, int]:
    """Every thread has a block, and finds the next one; two more are in the hands of who fills or empties them."""
    threads = max(1, min(MAX_THREADS, cores))
    return threads, 2 * threads + 2


def _whole_pieces(size: int) -> int:
    return max(PIECE_BYTES, size // PIECE_BYTES * PIECE_BYTES)


def count_chunks(object_bytes: int, chunk_bytes: int) -> int:
    """How many chunks an object of ``object_bytes`` is moved in."""
    return -(-object_bytes // chunk_bytes)
