# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The speed of each stage alone, and the floor that it sets for the whole."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from zrb.plan.buffers import sealed_bytes
from zrb.seal.age import AgeSealer
from zrb.seal.hashing import stream_hasher

MIB = 1024 * 1024
PIECE = 4 * MIB


def stage_speeds(source: Path, recipient: str, scratch: Path) -> dict[str, float]:
    """Bytes per second and core of: reading a pipe, BLAKE3, SHA-256, age both ways, writing files."""
    block = bytearray(os.urandom(PIECE))
    seal, prove = _age(recipient)
    return {
        "read a pipe": _read_pipe(source),
        "BLAKE3": _rate(partial(stream_hasher().update, block)),
        "SHA-256": _rate(partial(hashlib.sha256().update, block)),
        "age": seal,
        "age, the proof": prove,
        "write": _write(scratch, block),
    }


def floor(speeds: dict[str, float], *, cores: int) -> float:
    """Bytes per second if every core did nothing but these stages; the plaintext is hashed as stream and as part,
    and once more when it was decrypted."""
    seconds_per_byte = sum(1 / speed for speed in speeds.values()) + 2 / speeds["BLAKE3"]
    return cores / seconds_per_byte


def _rate(action: Callable[[], object], *, rounds: int = 64) -> float:
    action()
    started = time.perf_counter()
    for _ in range(rounds):
        action()
    return rounds * PIECE / (time.perf_counter() - started)


def _read_pipe(source: Path) -> float:
    buffer = bytearray(PIECE)
    read = 0
    with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        started = time.perf_counter()
        while count := os.readv(descriptor, [buffer]):
            read += count
        return read / (time.perf_counter() - started)


def _age(recipient: str) -> tuple[float, float]:
    """Encryption, and decryption of the same pieces."""
    part = AgeSealer([recipient]).begin()
    plain, sealed = memoryview(bytearray(os.urandom(PIECE))), memoryview(bytearray(sealed_bytes(PIECE)))
    run = part.cut(PIECE, last=False)
    run.seal(plain, [sealed])
    opening = _rate(partial(run.prove, [sealed], plain))
    return _rate(lambda: part.cut(PIECE, last=False).seal(plain, [sealed])), opening


def _write(scratch: Path, block: bytearray) -> float:
    path = scratch / "write-speed"
    with path.open("wb", buffering=0) as file:
        speed = _rate(lambda: file.write(block))
    path.unlink()
    return speed
