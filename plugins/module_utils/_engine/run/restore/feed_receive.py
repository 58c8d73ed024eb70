# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of a stream from its parts to ``zfs receive``: from its first byte, or from where a receive was cut off.

What the receiver has was verified before it got it. The parts that only hold that are not downloaded again, so the
hash of the whole stream cannot be checked; the hashes of all other parts are, by the signed list of parts, and the
end is held back until they are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, islice

from ...errors import StreamDamaged
from ...state.restore_trail import TrailFile, read_trail
from ...values.manifest import Manifest, Part
from ...values.zfs import ResumePoint
from ...zfs.record_flow import Record, RecordFlow
from ...zfs.resumed_stream import Milestone, ResumedStream, Surveyor
from ..context import Context


@dataclass(frozen=True, slots=True)
class Resumption:
    """How to go on with a receive that was cut off at ``point``. Without a milestone, the stream is downloaded from its
    start, and what the receiver has is left out."""

    point: ResumePoint
    begin: bytes = b""
    since: Milestone | None = None

    @property
    def first_part(self) -> int:
        """The first part that is needed."""
        return self.since.part if self.since else 0

    @property
    def passed_bytes(self) -> int:
        """How much of the stream is not needed."""
        return self.since.at if self.since else 0


def find_resumption(context: Context, target: str, manifest: Manifest, point: ResumePoint) -> Resumption:
    """How to go on at ``point``, as far as this machine remembers the stream."""
    trail = read_trail(context.base_dir, target, manifest.backup_id)
    since = trail.last_before((point.object, point.offset)) if trail else None
    return Resumption(point, trail.begin, since) if trail and since else Resumption(point)


class Passage:
    """Takes the stream, and hands on what the receiver lacks. ``parts`` are those of the list that are needed."""

    def __init__(
        self,
        parts: Iterable[Part],
        trail: TrailFile,
        write: Callable[[memoryview], object],
        *,
        resumption: Resumption | None,
    ) -> None:
        since = resumption.since if resumption else None
        self._all = parts
        self._first_part = resumption.first_part if resumption else 0
        self._write = write
        self.start = sum(part.plain_bytes for part in islice(parts, self._first_part))
        """The offset in the stream at which the parts begin that are needed."""
        self._skip = since.at - self.start if since else 0
        self._flow: RecordFlow | None = RecordFlow(since.at if since else 0)
        self._surveyor = Surveyor(accumulate((part.plain_bytes for part in parts), initial=0), trail, since=since)
        self._resumed = (
            ResumedStream(resumption.point, write, begin=resumption.begin, since=since) if resumption else None
        )

    @property
    def parts(self) -> Iterable[Part]:
        """The parts to download; they can be read as often as wanted."""
        return _PartsFrom(self._all, self._first_part)

    def take(self, view: memoryview) -> None:
        """The next bytes of the stream."""
        skipped = min(self._skip, len(view))
        self._skip -= skipped
        view = view[skipped:]
        if self._resumed is None:
            self._survey(view)
            self._write(view)
            return
        for piece in self._pieces(view):
            self._surveyor.see(piece)
            self._resumed.take(piece)
        self._resumed.flush()

    def _survey(self, view: memoryview) -> None:
        """Note where records begin. A stream of which that is not known is received all the same."""
        try:
            for piece in self._pieces(view):
                self._surveyor.see(piece)
        except StreamDamaged:
            self._flow = None

    def _pieces(self, view: memoryview) -> Iterator[Record | memoryview]:
        return self._flow.cut(view) if self._flow else iter(())


class _PartsFrom:
    def __init__(self, parts: Iterable[Part], first: int) -> None:
        self._parts = parts
        self._first = first

    def __iter__(self) -> Iterator[Part]:
        return islice(self._parts, self._first, None)
