# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Allows one run at a time per dataset. The kernel releases these locks however the process ends.

Each lock is one byte of one file, ``{base_dir}/run/.lock``, so the locks of thousands of datasets need only one file
descriptor. They belong to the open file (``F_OFD_SETLK``), not to the process as those of ``fcntl.lockf`` do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import LocalStateError, Locked
from ..values.repository_names import encode_component
from .durable_files import make_private

_FLOCK = struct.Struct("hhqqi0q")
"""``struct flock``: type, whence, start, length, pid."""


def dataset_state_dir(base_dir: Path, dataset: str) -> Path:
    """Return ``{base_dir}/run/{pool}/{dataset}``, the directory for the journals of one dataset."""
    return base_dir.joinpath("run", *(encode_component(part) for part in dataset.split("/")))


class DatasetLocks:
    """The locks of one run."""

    def __init__(self, base_dir: Path, descriptor: int) -> None:
        self._base_dir = base_dir
        self._descriptor = descriptor

    def take(self, dataset: str) -> None:
        """Lock ``dataset``, or raise :class:`Locked` at once."""
        note = dataset_state_dir(self._base_dir, dataset) / ".locked-by"
        start = int.from_bytes(hashlib.sha256(dataset.encode()).digest()[:8], "big") >> 1
        try:
            with _explained(self._base_dir):
                fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
        except BlockingIOError as error:
            holder = "an unknown process"
            with suppress(OSError):
                holder = note.read_text(errors="replace")[:64].strip() or holder
            raise Locked(
                f"Another run ({holder}) is working on {dataset} and holds its lock in {self._base_dir}",
                subject=dataset,
                next_step="Wait until that process has ended, which frees the lock, then run the same command again",
            ) from error
        with _explained(self._base_dir):
            make_private(note.parent)
            note.write_text(f"pid {os.getpid()}\n")


@contextmanager
def dataset_locks(base_dir: Path) -> Iterator[DatasetLocks]:
    """Provide the locks of a run, and release them at its end. Raises :class:`LocalStateError`."""
    path = base_dir / "run" / ".lock"
    with _explained(base_dir):
        make_private(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield DatasetLocks(base_dir, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process is inside such a block for ``directory``. Raises :class:`OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _explained(base_dir: Path) -> Iterator[None]:
    try:
        yield
    except BlockingIOError:
        raise
    except OSError as error:
        raise LocalStateError(
            f"No lock could be taken in {base_dir}",
            subject=str(base_dir),
            answer=str(error),
            next_step=f"Make {base_dir} (base_dir) writable for this user, and free some space",
        ) from error
