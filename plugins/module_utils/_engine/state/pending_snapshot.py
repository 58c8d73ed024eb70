# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The snapshot that a run is about to take. Until the journal binds it, a killed run would leave it held by nobody's
knowledge; with this note the next run lets it go."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ..errors import LocalStateError, NoSuchSnapshot
from ..zfs.protocol import Zfs
from .durable_files import replace_durably

_NAME = ".pending-snapshot"


def note_pending(directory: Path, snapshot: str) -> None:
    """Note the name of a snapshot before it is taken. Raises :class:`LocalStateError`."""
    try:
        replace_durably(directory / _NAME, f"{snapshot}\n")
    except OSError as error:
        raise LocalStateError(
            f"The note of the snapshot {snapshot} could not be written in {directory}",
            subject=snapshot,
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and give it free space, then run the same command again",
        ) from error


def clear_pending(directory: Path) -> None:
    """The journal knows the snapshot now."""
    (directory / _NAME).unlink(missing_ok=True)


def release_pending(directory: Path, zfs: Zfs, *, hold_tag: str, bound: Collection[str]) -> None:
    """Release what a run held that was killed before it had a journal; ``bound`` are the snapshots that have one."""
    try:
        snapshot = (directory / _NAME).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    if snapshot and snapshot not in bound:
        with suppress(NoSuchSnapshot):
            zfs.release(snapshot, hold_tag)
    clear_pending(directory)
