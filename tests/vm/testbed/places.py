# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the testbed keeps what is expensive to make, and under which names."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
"""The tree that is tested."""

STANDING = CHECKOUT / ".cache" / "testbed"
"""Machines that `make testbed` started, a directory each."""

REPORT = CHECKOUT / ".cache" / "test-openzfs"
"""Results of `make test-openzfs`."""

KEPT_S = 14 * 86400
"""How long something in the cache stays that no run has asked for."""


def cache_root() -> Path:
    """The user's cache directory for the testbed."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    root = Path(home) / "zrb-testbed"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return root


def digest_of(*pieces: str | bytes) -> str:
    """A short name for what is made of these pieces."""
    total = hashlib.sha256()
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else piece
        total.update(f"{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()[:16]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One at a time for ``name``, over all processes of the user; a process that dies lets go."""
    with (cache_root() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace(name: str) -> Iterator[Path]:
    """A directory in the cache to make something in, for whoever holds the lock ``name``. Removed at the end, as is
    what a process left that was killed at the same work."""
    prefix = f"making-{name}-"
    for left in cache_root().glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=cache_root(), prefix=prefix, ignore_cleanup_errors=True) as path:
        yield Path(path)


def mark_used(path: Path) -> None:
    """Keep ``path`` from :func:`forget_old` for another while."""
    os.utime(path)


def forget_old(pattern: str, *, keep: Sequence[Path]) -> None:
    """Remove what matches ``pattern`` in the cache and was not used for :data:`KEPT_S`."""
    for path in cache_root().glob(pattern):
        if path in keep or time.time() - path.stat().st_mtime < KEPT_S:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
