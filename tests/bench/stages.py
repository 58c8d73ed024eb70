# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stages of a backup, one after the other, on every core at once: what the whole can at best be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from zrb.seal.age import AgeSealer
from zrb.seal.age_stream import PIECE_BYTES
from zrb.seal.hashing import stream_hasher

MIB = 1024 * 1024
BLOCK = MIB
PASSES = {"read a pipe": 1, "BLAKE3": 2, "SHA-256": 1, "encrypt": 1, "write": 1}
"""How often each byte goes through each stage of a backup to a directory, without the proof."""
PROOF_PASSES = {"BLAKE3": 1, "decrypt": 1}
"""What the proof adds."""


def stage_speeds(source: Path, recipient: str, scratch: Path, *, cores: int) -> dict[str, float]:
    """Bytes per second of processor time of each stage, so that what else the machine does hardly counts.

    All cores are busy meanwhile, as in a backup: two that are threads of one core are slower together than alone.
    """
    with ProcessPoolExecutor(cores) as pool:
        runs = [pool.submit(_speeds, source, recipient, scratch) for _ in range(cores)]
        found = [run.result() for run in runs]
    return {stage: sum(one[stage] for one in found) / cores for stage in found[0]}


def _speeds(source: Path, recipient: str, scratch: Path) -> dict[str, float]:
    block = bytearray(os.urandom(BLOCK))
    encrypt, decrypt = _age(recipient)
    return {
        "read a pipe": _read_pipe(source),
        "BLAKE3": _rate(partial(stream_hasher().update, block)),
        "SHA-256": _rate(partial(hashlib.sha256().update, block)),
        "encrypt": encrypt,
        "decrypt": decrypt,
        "write": _write(scratch, block),
    }


def floor(speeds: Mapping[str, float], *, cores: int, proof: bool) -> float:
    """Bytes per second if every core did nothing but these stages."""
    seconds_per_byte = sum(passes / speeds[stage] for stage, passes in PASSES.items())
    if proof:
        seconds_per_byte += sum(passes / speeds[stage] for stage, passes in PROOF_PASSES.items())
    return cores / seconds_per_byte


def _rate(action: Callable[[], object], *, rounds: int = 256) -> float:
    action()
    started = time.process_time()
    for _ in range(rounds):
        action()
    return rounds * BLOCK / (time.process_time() - started)


def _read_pipe(source: Path) -> float:
    buffer = bytearray(BLOCK)
    read = 0
    with subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        started = time.process_time()
        while count := os.readv(descriptor, [buffer]):
            read += count
        return read / (time.process_time() - started)


def _age(recipient: str, *, rounds: int = 256) -> tuple[float, float]:
    plain = memoryview(bytearray(os.urandom(BLOCK)))
    part = AgeSealer([recipient]).begin()
    runs = [part.cut(BLOCK, last=number == rounds - 1) for number in range(rounds)]
    sealed = memoryview(bytearray(BLOCK + BLOCK // PIECE_BYTES * 16))
    opened = memoryview(bytearray(BLOCK))
    encrypting = decrypting = 0.0
    for run in runs:
        started = time.process_time()
        run.seal(plain, [sealed])
        done = time.process_time()
        run.prove([sealed], opened)
        encrypting += done - started
        decrypting += time.process_time() - done
    return rounds * BLOCK / encrypting, rounds * BLOCK / decrypting


def _write(scratch: Path, block: bytearray) -> float:
    path = scratch / f"write-speed-{os.getpid()}"
    with path.open("wb", buffering=0) as file:
        speed = _rate(lambda: file.write(block))
    path.unlink()
    return speed
