# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prove parts at a depth: that they exist, that their bytes are right, that they decrypt to what was signed.

A damaged or missing part does not stop the others: every check gives back what it found wrong. What makes the
whole repository unreadable (no connection, no permission, the wrong identity) is raised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ...errors import EngineError, IntegrityError, ObjectArchived, ObjectMissing, PartDamaged, PartMissing, ThawNeeded
from ...plan.buffers import plan_restore_buffers
from ...plan.sizes import choose_sizes
from ...seal.age import AgeOpener
from ...seal.hashing import part_hasher
from ...store.protocol import Store
from ...stream.part_downloads import Source
from ...stream.restore import RestorePipeline
from ...stream.threads import usable_cores
from ...values.config import Limits
from ...values.manifest import Manifest, Part, StreamDigest

PartProblem = tuple[Part, EngineError]
Moved = Callable[[int], None]


def check_presence(store: Store, parts: Sequence[Part], *, limits: Limits, moved: Moved) -> list[PartProblem]:
    """Every part is there, as long as it should be, and with the checksum that the store gave for it at backup
    time. Reads nothing, so it also works on archived objects. ``moved`` is told the size of each part."""

    def check(part: Part, _stop: threading.Event) -> None:
        found = store.head(part.key)
        if found is None:
            raise _missing(part, store)
        if found.bytes != part.bytes:
            raise _other(part, "length", expected=f"{part.bytes} bytes", found=f"{found.bytes} bytes")
        recorded, stored = part.checksum, found.checksum
        if recorded.kind == stored.kind and recorded.kind != "none" and recorded.value != stored.value:
            raise _other(part, f"checksum ({recorded.kind})", expected=recorded.value, found=stored.value)
        moved(part.bytes)

    return _check_each(parts, check, workers=limits.workers)


def check_hashes(store: Store, parts: Sequence[Part], *, limits: Limits, moved: Moved) -> list[PartProblem]:
    """Every part is read back whole and has the SHA-256 that was signed; needs no key. Holds at most one chunk a
    worker in memory, and no more than ``memory_limit`` together."""
    limits = choose_sizes(limits)

    def check(part: Part, stop: threading.Event) -> None:
        found = store.head(part.key)
        if found is not None and found.bytes != part.bytes:
            raise _other(part, "length", expected=f"{part.bytes} bytes", found=f"{found.bytes} bytes")
        hasher = part_hasher()
        buffer = memoryview(bytearray(min(limits.chunk_size, part.bytes)))
        for offset in range(0, part.bytes, limits.chunk_size):
            if stop.is_set():
                return
            view = buffer[: min(limits.chunk_size, part.bytes - offset)]
            _read(store, part, offset, view)
            hasher.update(view)
            moved(len(view))
        if hasher.hexdigest() != part.sha256:
            raise _other(part, "SHA-256", expected=part.sha256, found=hasher.hexdigest())

    workers = max(1, min(limits.workers, limits.memory_limit // limits.chunk_size))
    return _check_each(parts, check, workers=workers)


class DecryptChecks:
    """Fetches and decrypts by the pipeline of a restore, and throws the plaintext away."""

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

    def check_stream(self, manifest: Manifest) -> list[PartProblem]:
        """The whole stream of one backup: every hash of its manifest. Where it fails, every part by itself, so that
        all damage is named."""
        failure = self._failure_of(manifest)
        if failure is None:
            return []
        problems = self.check_parts(manifest, manifest.parts)
        return problems or [(manifest.parts[-1], failure)]

    def check_parts(self, manifest: Manifest, parts: Sequence[Part]) -> list[PartProblem]:
        """Some parts, each by itself."""
        problems = []
        for part in parts:
            failure = self._failure_of(_alone(manifest, part))
            if failure is not None:
                problems.append((part, failure))
        return problems

    def _failure_of(self, manifest: Manifest) -> EngineError | None:
        try:
            self._pipeline.fetch_stream(manifest, self._source, lambda _: None)
        except (IntegrityError, ThawNeeded) as error:
            return error
        except ObjectArchived as error:
            return _archived(manifest.parts[0], error)
        return None


def _alone(manifest: Manifest, part: Part) -> Manifest:
    """``part`` as if it were a whole stream: its own length and hash are that stream's."""
    stream = StreamDigest(part.plain_bytes, part.plain_blake3)
    return replace(manifest, parts=(replace(part, index=0),), stream=stream)


def _check_each(
    parts: Sequence[Part], check: Callable[[Part, threading.Event], None], *, workers: int
) -> list[PartProblem]:
    stop = threading.Event()

    def problem_of(part: Part) -> PartProblem | None:
        if stop.is_set():
            return None
        try:
            check(part, stop)
        except (IntegrityError, ThawNeeded) as error:
            return part, error
        except BaseException:
            stop.set()
            raise
        return None

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="verify") as threads:
        try:
            found = [problem for problem in threads.map(problem_of, parts) if problem is not None]
        except BaseException:
            stop.set()
            raise
    return found


def _read(store: Store, part: Part, offset: int, view: memoryview) -> None:
    try:
        store.read_into(part.key, offset, view)
    except ObjectMissing as error:
        raise _missing(part, store) from error
    except ObjectArchived as error:
        raise _archived(part, error) from error


def _missing(part: Part, store: Store) -> PartMissing:
    return PartMissing(
        f"Part {part.index} ({part.key}) is not in {store.location}",
        subject=part.key,
        next_step="Without it this backup and all increments on it cannot be restored: look for a lifecycle rule or "
        "somebody who deletes, and make a new full backup",
    )


def _other(part: Part, what: str, *, expected: str, found: str) -> PartDamaged:
    return PartDamaged(
        f"{part.key} has another {what} than its signed manifest states",
        subject=part.key,
        answer=f"expected {expected}, found {found}",
        next_step="This backup and all increments on it cannot be restored: look for the cause in the storage, and "
        "make a new full backup",
    )


def _archived(part: Part, error: ObjectArchived) -> ThawNeeded:
    return ThawNeeded(
        f"{part.key} is in an archive class and cannot be read now",
        subject=part.key,
        answer=error.answer,
        next_step="Thaw it first; the depths `signature` and `exists` need no thawing",
    )
