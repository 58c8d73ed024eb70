# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Allows one run at a time per dataset. The kernel releases these locks (flock) when the process ends in any way."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import LocalStateError, Locked
from ..values.repository import encode_component


def dataset_state_dir(base_dir: Path, dataset: str) -> Path:
    """Return ``{base_dir}/run/{pool}/{dataset}``, the directory for lock and journals of one dataset."""
    return base_dir.joinpath("run", *(encode_component(part) for part in dataset.split("/")))


@contextmanager
def dataset_lock(base_dir: Path, dataset: str) -> Iterator[None]:
    """Hold the lock of ``dataset`` or raise :class:`Locked` at once."""
    directory = dataset_state_dir(base_dir, dataset)
    path = directory / ".lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LocalStateError(
            f"The lock file {path} could not be opened",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step=f"Make {base_dir} (base_dir) writable for this user, and free some space",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "an unknown process"
            raise Locked(
                f"Another run ({holder}) is working on {dataset} and holds the lock {path}",
                subject=dataset,
                next_step="Wait until it has ended, then run the same command again; its lock ends with the process",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
