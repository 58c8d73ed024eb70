# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes the snapshot that a run is about to take. If the run is killed before its journal names the snapshot, the next
run finds this note and releases the hold."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import LocalStateError, NoSuchSnapshot
from ..zfs.protocol import Zfs
from .durable_files import replace_durably

_NAME = ".pending-snapshot"


def note_pending(directory: Path, snapshot: str, *, hold_tag: str) -> None:
    """Write down the name of a snapshot, and the tag that will hold it, before it is taken.

    Raises :class:`LocalStateError`.
    """
    try:
        replace_durably(directory / _NAME, f"{snapshot}\n{hold_tag}\n")
    except OSError as error:
        raise LocalStateError(
            f"The note about the snapshot {snapshot} could not be written in {directory}",
            subject=snapshot,
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and free some space, then run the same command again",
        ) from error


def clear_pending(directory: Path) -> None:
    """Remove the note, because the journal names the snapshot now."""
    (directory / _NAME).unlink(missing_ok=True)


def release_pending(directory: Path, zfs: Zfs, *, bound: Collection[str]) -> None:
    """Release the hold of a run that was killed before it had a journal. Snapshots in ``bound`` have one."""
    try:
        lines = (directory / _NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    if len(lines) == 2 and lines[0] not in bound:
        with suppress(NoSuchSnapshot):
            zfs.release(lines[0], lines[1])
    clear_pending(directory)
