# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves parts at a depth: that they exist, that their bytes are right, that they decrypt to what was signed.

A damaged or missing part does not stop the others. Every check adds its errors to the findings, and a deeper check
skips parts that already have one. Only an error that makes the whole repository unreadable (no connection, no
permission) is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ...errors import (
    EngineError,
    IntegrityError,
    ObjectArchived,
    ObjectMissing,
    PartDamaged,
    PartMissing,
    ThawNeeded,
    WrongIdentity,
)
from ...plan.buffer_layout import plan_restore_buffers
from ...plan.part_proof import beside_listing, proves
from ...plan.part_sizes import choose_sizes
from ...seal.age import AgeOpener
from ...seal.hashing import part_hasher
from ...store.protocol import Store, StoredObject
from ...stream.part_downloads import Source
from ...stream.restore_pipeline import RestorePipeline
from ...stream.threads import usable_cores
from ...values.config import Limits
from ...values.manifest import Manifest, Part, StreamDigest

T = TypeVar("T")
Moved = Callable[[int], None]
_PARTS_AT_ONCE = 1000
"""How many parts of a list are in memory at once."""


@dataclass
class Findings:
    """The errors of one backup: of single parts, by index, and of the whole. ``not_compared`` counts parts that have
    the right length, but no checksum in the store to compare."""

    parts: dict[int, EngineError] = field(default_factory=dict)
    whole: list[EngineError] = field(default_factory=list)
    not_compared: int = 0

    def __iter__(self) -> Iterator[EngineError]:
        yield from (self.parts[index] for index in sorted(self.parts))
        yield from self.whole


class Sound:
    """The ``parts`` without an error so far. Can be read again."""

    def __init__(self, parts: Iterable[Part], findings: Findings) -> None:
        self._parts = parts
        self._findings = findings

    def __iter__(self) -> Iterator[Part]:
        return (part for part in self._parts if part.index not in self._findings.parts)


def check_presence(store: Store, manifest: Manifest, parts: Iterable[Part], *, workers: int) -> Findings:
    """Check that every part exists, with its length and, if the store has a checksum, its content. Reads no part, so it
    also works on archived objects. One listing shows most; a part that somebody wrote again needs a request."""
    findings = Findings()
    prefix = manifest.series.data_prefix(manifest.backup_id, manifest.level)

    def doubtful() -> Iterator[tuple[Part, StoredObject]]:
        for part, found in beside_listing(parts, store.list(prefix)):
            if found is None:
                findings.parts[part.index] = _missing(part, store)
            elif found.bytes != part.bytes:
                findings.parts[part.index] = _other_length(part, found)
            elif not proves(found.checksum, part):
                yield part, found

    def look(doubt: tuple[Part, StoredObject], stop: threading.Event) -> bool | None:
        part, _listed = doubt
        found = store.until(stop).head(part.key)
        if found is None:
            raise _missing(part, store)
        if found.bytes != part.bytes:
            raise _other_length(part, found)
        proven = proves(found.checksum, part)
        if proven is False:
            raise _other(part, "checksum", expected=part.sha256, found=f"{found.checksum.value} (base64)")
        return proven

    for (part, _listed), answer in _each(doubtful(), look, workers=workers):
        if isinstance(answer, EngineError):
            findings.parts[part.index] = answer
        elif answer is None:
            findings.not_compared += 1
    return findings


def check_hashes(store: Store, parts: Iterable[Part], findings: Findings, *, limits: Limits, moved: Moved) -> None:
    """Read every part back, and check that it has the signed SHA-256. Needs no key. Keeps at most one chunk per worker
    in memory, and no more than ``memory_limit`` in total."""
    limits = choose_sizes(limits)

    def check(part: Part, stop: threading.Event) -> None:
        hasher = part_hasher()
        buffer = memoryview(bytearray(min(limits.chunk_size, part.bytes)))
        for offset in range(0, part.bytes, limits.chunk_size):
            if stop.is_set():
                return
            view = buffer[: min(limits.chunk_size, part.bytes - offset)]
            _read(store.until(stop), part, offset, view)
            hasher.update(view)
            moved(len(view))
        if hasher.hexdigest() != part.sha256:
            raise _other(part, "SHA-256", expected=part.sha256, found=hasher.hexdigest())

    workers = max(1, min(limits.workers, limits.memory_limit // limits.chunk_size))
    for part, answer in _each(parts, check, workers=workers):
        if isinstance(answer, EngineError):
            findings.parts[part.index] = answer


class DecryptChecks:
    """Fetches and decrypts with the pipeline of a restore, and discards the plaintext."""

    def __init__(
        self,
        store: Store,
        *,
        limits: Limits,
        identities: Sequence[str],
        spool: Callable[[], Path],
        moved: Moved,
    ) -> None:
        layout = plan_restore_buffers(limits, cores=usable_cores())
        self._pipeline = RestorePipeline(layout, opener=AgeOpener(identities), downloaders=limits.workers)
        self._source = Source(store, spool, moved)
        self._limits = limits

    def check_stream(self, manifest: Manifest, parts: Iterable[Part], findings: Findings) -> None:
        """Check the whole stream of one backup, with every hash of its manifest. After the first damage, check the
        parts that are not proved yet one by one: this names all damage and reads little twice."""
        failure, proven = None, 0
        if not findings.parts:
            failure, proven = self._failure_of(manifest, parts)
            if failure is None:
                return
        self.check_parts(manifest, islice(Sound(parts, findings), proven, None), findings)
        if failure is not None and not findings.parts and not findings.whole:
            findings.whole.append(failure)

    def check_parts(self, manifest: Manifest, parts: Iterable[Part], findings: Findings) -> None:
        """Check some parts, each as if it were a whole stream with its own length and hash. If no key opens the first
        one, none opens the others: then these are only hashed."""
        left = iter(parts)
        for part in left:
            stream = StreamDigest(part.plain_bytes, part.plain_blake3)
            alone = replace(manifest, stream=stream, part_size=part.plain_bytes)
            failure, _proven = self._failure_of(alone, (replace(part, index=0),))
            if isinstance(failure, WrongIdentity):
                findings.whole.append(failure)
                check_hashes(self._source.store, left, findings, limits=self._limits, moved=self._source.moved)
            elif failure is not None:
                findings.parts[part.index] = failure

    def _failure_of(self, manifest: Manifest, parts: Iterable[Part]) -> tuple[EngineError | None, int]:
        """Return the error of a stream, if any, and how many parts at its beginning were proved."""
        written = 0

        def write(view: memoryview) -> None:
            nonlocal written
            written += len(view)

        failure: EngineError | None = None
        try:
            self._pipeline.fetch_stream(manifest, parts, self._source, write)
        except (IntegrityError, ThawNeeded, WrongIdentity) as error:
            failure = error
        except ObjectArchived as error:
            failure = _archived(error.subject, error)
        # A part was compared with its hash before the first byte of the next one was written.
        return failure, max(0, written - 1) // manifest.part_size


def _each(
    things: Iterable[T], check: Callable[[T, threading.Event], bool | None], *, workers: int
) -> Iterator[tuple[T, bool | EngineError | None]]:
    """Pair each of ``things``, in order, with the result of ``check``, or with the error that it raises."""
    stop = threading.Event()

    def answer(thing: T) -> bool | EngineError | None:
        if stop.is_set():
            return None
        try:
            return check(thing, stop)
        except (IntegrityError, ThawNeeded) as error:
            return error
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="verify") as threads:
        try:
            waiting = iter(things)
            while some := list(islice(waiting, _PARTS_AT_ONCE)):
                yield from zip(some, threads.map(answer, some), strict=True)
        except BaseException:
            stop.set()
            raise


def _read(store: Store, part: Part, offset: int, view: memoryview) -> None:
    try:
        store.read_into(part.key, offset, view)
    except ObjectMissing as error:
        raise _missing(part, store) from error
    except ObjectArchived as error:
        raise _archived(part.key, error) from error


def _missing(part: Part, store: Store) -> PartMissing:
    return PartMissing(
        f"Part {part.index} ({part.key}) is not in {store.location}",
        subject=part.key,
        next_step="Without it, this backup and all increments based on it cannot be restored: look for a lifecycle "
        "rule, or for somebody who deletes objects, and make a new full backup",
    )


def _other_length(part: Part, found: StoredObject) -> PartDamaged:
    return _other(part, "length", expected=f"{part.bytes} bytes", found=f"{found.bytes} bytes")


def _other(part: Part, what: str, *, expected: str, found: str) -> PartDamaged:
    return PartDamaged(
        f"{part.key} has another {what} than its signed manifest states",
        subject=part.key,
        answer=f"expected {expected}, found {found}",
        next_step="This backup and all increments based on it cannot be restored: look for the cause in the store, and "
        "make a new full backup",
    )


def _archived(key: str, error: ObjectArchived) -> ThawNeeded:
    return ThawNeeded(
        f"{key} is in an archive class and cannot be read now",
        subject=key,
        answer=error.answer,
        next_step="Thaw it first; the depths `signature` and `exists` need no thawing",
    )
