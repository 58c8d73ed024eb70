# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns errors of the operating system about files of a repository into typed errors."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from ..errors import (
    EngineError,
    IntegrityError,
    NoSuchRepository,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN}


@contextmanager
def explained(tried: str, key: str, root: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a typed error, which says what was ``tried`` ("Writing", "Reading") on
    ``key``."""
    try:
        yield
    except OSError as error:
        raise _error_of(error, tried, key, root) from error


def open_regular(path: Path, key: str, root: Path) -> FileIO:
    """Open the file of an object for reading. Raises :class:`IntegrityError` if it is not a regular file, or is behind
    a symbolic link: zrb wrote neither. Never waits for a pipe, never follows a link. Raises :class:`OSError`, too."""
    check_inside(path, key, root)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise _foreign(key, root) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _foreign(key, root)
    return FileIO(descriptor, "rb")


def check_inside(path: Path, key: str, root: Path) -> None:
    """Raise :class:`IntegrityError` if a directory of ``path`` is a symbolic link: it may lead elsewhere."""
    if any(parent.is_symlink() for parent in path.parents if parent != root and parent.is_relative_to(root)):
        raise _foreign(key, root)


def _foreign(key: str, root: Path) -> IntegrityError:
    return IntegrityError(
        f"{key} in {root} is not a file that zrb wrote, or is behind a symbolic link",
        subject=key,
        next_step="Find out what it is and who made it, move it away, and restore the file from a copy",
    )


def missing_root(root: Path) -> NoSuchRepository:
    """The error for a repository directory that is not there."""
    return NoSuchRepository(
        f"The directory {root} of the repository does not exist",
        subject=str(root),
        next_step=f"Mount the disk, or create the directory once with `mkdir {root}`. zrb never creates it, so that it "
        "does not fill the disk below a missing mount",
    )


def missing_object(key: str, root: Path) -> ObjectMissing:
    """The error for a key that is not there."""
    return ObjectMissing(
        f"{key} is not in the repository {root}",
        subject=key,
        next_step="`zrb verify --depth exists` lists everything that is missing",
    )


def _error_of(error: OSError, tried: str, key: str, root: Path) -> EngineError:
    problem = f"{tried} {key or 'the listing'} in {root} failed"
    answer = error.strerror or os.strerror(error.errno or errno.EIO)
    match error.errno:
        case number if number in _FULL:
            return StoreFull(
                problem, subject=key, answer=answer, next_step="Free space on that file system, then run the same again"
            )
        case number if number in _DENIED:
            return StoreDenied(
                problem,
                subject=key,
                answer=answer,
                next_step=f"Check with `ls -ld {root}` and `findmnt -T {root}` who owns it and whether it is mounted "
                "read-only",
            )
        case number if number in _GONE:
            return StoreUnavailable(
                problem,
                subject=key,
                answer=answer,
                next_step="The disk or the network file system does not answer: check `dmesg` and the mount, then run "
                "the same again",
            )
        case errno.ENOENT:
            return missing_object(key, root) if root.is_dir() else missing_root(root)
        case errno.EISDIR | errno.ENOTDIR | errno.ELOOP | errno.ENAMETOOLONG | errno.EEXIST:
            return StoreError(
                problem,
                subject=key,
                answer=answer,
                next_step="Something that zrb did not write has this name: look at it and move it away",
            )
        case _:
            return StoreError(
                problem,
                subject=key,
                answer=answer,
                next_step=f"Check the file system that holds {root}, then run the same again",
            )
