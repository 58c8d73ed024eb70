# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One bit flips somewhere on the way of a stream that is stored, over and over. By hand:

.venv/bin/python -m tests.unit.stream.bit_flips [FLIPS [SEED]]        10,000 flips take some minutes
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from zrb.errors import MemoryFault, StoreError
from zrb.plan.buffer_layout import BufferLayout
from zrb.store.protocol import Buffer
from zrb.stream.backup_pipeline import BackupPipeline
from zrb.values.manifest import Checksum

from tests.fakes.store import MemoryStore, MemoryUpload
from tests.unit.stream.piping import KIB, RECIPIENT, destination, store_bytes
from tests.unit.stream.watched_age import WatchedSealer

PIECE = 64 * KIB
PARTS = (PIECE, 100_000, 3 * PIECE)
CHUNKS = (40_000, PIECE, 256 * KIB)


@dataclass(frozen=True)
class Stage:
    """Where a bit flips, when, and what has to come of it."""

    name: str
    call: str
    """The call of the age layer, or ``put`` for the store."""
    where: str
    found: type[Exception]


STAGES = (
    Stage("plaintext, after it was read", "seal", "plain", MemoryFault),
    Stage("ciphertext, before its SHA-256", "run sealed", "sealed", MemoryFault),
    Stage("header, before its SHA-256", "run sealed", "header", MemoryFault),
    Stage("ciphertext, between SHA-256 and proof", "prove", "sealed", MemoryFault),
    Stage("header, between SHA-256 and proof", "prove", "header", MemoryFault),
    Stage("the scratch of the proof", "proved", "scratch", MemoryFault),
    Stage("chunk, before the store takes it", "put", "chunk", StoreError),
)


class OneBit:
    """Flips one bit: at the ``nth`` call of its stage, ``position`` (0 to 1) of the way through the buffer."""

    def __init__(self, stage: Stage, *, nth: int, position: float, bit: int) -> None:
        self.stage = stage
        self._nth = nth
        self._position = position
        self._mask = 1 << bit
        self.flipped = False

    def __call__(self, call: str, run: Any = None, first: Any = None, second: Any = None) -> None:
        """As :data:`.watched_age.Watch`."""
        if call != self.stage.call:
            return
        sealed = first if call in {"prove", "proved"} else second
        if self.stage.where == "plain":
            self._flip([first])
        elif self.stage.where == "scratch":
            self._flip([second])
        elif self.stage.where == "sealed":
            self._flip(sealed)
        elif run.header_bytes:
            self._flip_before(sealed[0], run.header_bytes)

    def put(self, data: Buffer) -> None:
        """The store is about to take ``data``."""
        if self.stage.call == "put":
            self._flip([memoryview(data)])

    def _due(self) -> bool:
        self._nth -= 1
        due = self._nth == 0
        self.flipped = self.flipped or due
        return due

    def _flip(self, views: Sequence[memoryview]) -> None:
        if self._due():
            place = int(self._position * sum(map(len, views)))
            for view in views:
                if place < len(view):
                    view[place] ^= self._mask
                    return
                place -= len(view)

    def _flip_before(self, view: memoryview, length: int) -> None:
        """In the ``length`` bytes that lie before ``view`` in the same chunk."""
        if self._due():
            start = ctypes.addressof(ctypes.c_char.from_buffer(view))
            byte = ctypes.c_ubyte.from_address(start - length + int(self._position * length))
            byte.value ^= self._mask


class FlippingStore(MemoryStore):
    """Shows what it is given to ``flip``, before it looks at it."""

    def __init__(self, flip: OneBit) -> None:
        super().__init__()
        self._flip = flip

    def put(self, key: str, data: Buffer, **more: Any) -> Checksum:
        self._flip.put(data)
        return super().put(key, data, **more)

    def open_upload(self, key: str, **more: Any) -> MemoryUpload:
        upload = super().open_upload(key, **more)
        put_chunk: Callable[..., None] = upload.put_chunk

        def flipped(number: int, offset: int, data: Buffer, **rest: Any) -> None:
            self._flip.put(data)
            put_chunk(number, offset, data, **rest)

        upload.put_chunk = flipped  # type: ignore[method-assign]
        return upload


def outcome(stage: Stage, random: Random, *, proof: bool = True) -> str:
    """Store a stream while one bit flips: ``committed``, ``found``, or ``not reached`` if nothing could flip."""
    part_size, chunk = random.choice(PARTS), random.choice(CHUNKS)
    length = max(1, random.choice((1, PIECE, part_size, 2 * part_size)) + random.randint(-1, 1))
    flip = OneBit(stage, nth=random.randint(1, 3), position=random.random(), bit=random.randrange(8))
    store = FlippingStore(flip)
    layout = BufferLayout(PIECE, 4, chunk, 2 + 2 * PIECE // chunk, 2)
    pipeline = BackupPipeline(layout, sealer=WatchedSealer([RECIPIENT], flip), uploaders=2, proof=proof)
    try:
        store_bytes(pipeline, random.randbytes(length), destination(store, part_size=part_size))
    except stage.found:
        assert flip.flipped
        return "found"
    return "committed" if flip.flipped else "not reached"


def campaign(flips: int, seed: int) -> Counter[tuple[str, str]]:
    """What became of so many flips, by stage and outcome."""
    random = Random(seed)
    counted: Counter[tuple[str, str]] = Counter()
    while sum(counted.values()) < flips:
        stage = random.choice(STAGES)
        came = outcome(stage, random)
        if came != "not reached":
            counted[stage.name, came] += 1
    return counted


def main(flips: int = 10_000, seed: int = 1) -> int:
    """Print what became of the flips; 1 if one of them was committed."""
    counted = campaign(flips, seed)
    for (stage, came), count in sorted(counted.items()):
        print(f"{count:7} {came:10} {stage}")
    committed = sum(count for (_stage, came), count in counted.items() if came == "committed")
    print(f"{committed} of {flips} flips were committed")
    return 1 if committed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
