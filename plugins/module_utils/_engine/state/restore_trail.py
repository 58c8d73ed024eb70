# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers where in a stream records begin while it is received: from there, and not from the start of the stream, it
is downloaded again if the receive is cut off. A convenience: without it, or with a part of it, all is only slower."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..zfs.resumed_stream import Milestone
from .durable_files import make_private
from .locks import dataset_state_dir

_NAME = ".restore-trail"


@dataclass(frozen=True, slots=True)
class Trail:
    """What is known of the stream of one backup: its BEGIN record, and milestones."""

    begin: bytes
    milestones: tuple[Milestone, ...]

    def last_before(self, position: tuple[int, int]) -> Milestone | None:
        """The last milestone from which everything from ``position`` on can be read."""
        before = (milestone for milestone in self.milestones if milestone.passed < position)
        return max(before, key=lambda milestone: milestone.at, default=None)


class TrailFile:
    """The trail of a stream that flows by. What cannot be written down is not: see the module."""

    def __init__(self, file: IO[str] | None, backup_id: str) -> None:
        self._file = file
        self._backup_id = backup_id

    def note_begin(self, begin: bytes) -> None:
        """The BEGIN record with its payload."""
        self._write({"backup_id": self._backup_id, "begin": begin.hex()})

    def note_milestone(self, milestone: Milestone) -> None:
        """A place to go on from."""
        self._write([milestone.part, milestone.at, *milestone.passed, milestone.range.hex()])

    def _write(self, line: object) -> None:
        if self._file is not None:
            try:
                self._file.write(json.dumps(line) + "\n")
                self._file.flush()
            except OSError:
                self._file = None


@contextmanager
def keep_trail(base_dir: Path, target: str, backup_id: str, *, goes_on: bool) -> Iterator[TrailFile]:
    """The trail of the stream that ``target`` receives now. One that goes on is appended to."""
    path = dataset_state_dir(base_dir, target) / _NAME
    file: IO[str] | None = None
    with suppress(OSError):
        make_private(path.parent)
        file = path.open("a" if goes_on else "w", encoding="ascii")
    try:
        yield TrailFile(file, backup_id)
    finally:
        if file is not None:
            with suppress(OSError):
                file.close()


def read_trail(base_dir: Path, target: str, backup_id: str) -> Trail | None:
    """What is known of the stream of this backup. A line that a power cut damaged is passed over."""
    try:
        lines = (dataset_state_dir(base_dir, target) / _NAME).read_text(encoding="ascii", errors="replace").splitlines()
        head = json.loads(lines[0])
        if head["backup_id"] != backup_id:
            return None
        return Trail(bytes.fromhex(head["begin"]), tuple(_milestones(lines[1:])))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _milestones(lines: list[str]) -> Iterator[Milestone]:
    for line in lines:
        with suppress(ValueError, TypeError):
            part, at, number, offset, range_ = json.loads(line)
            yield Milestone(int(part), int(at), (int(number), int(offset)), bytes.fromhex(range_))


def forget_trail(base_dir: Path, target: str) -> None:
    """The stream was received whole."""
    with suppress(OSError):
        (dataset_state_dir(base_dir, target) / _NAME).unlink(missing_ok=True)
