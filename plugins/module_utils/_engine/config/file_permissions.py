# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads files that the user names: only regular files that belong to us and that other users cannot misuse."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import EngineError


def read_own_file(
    path: Path, *, what: str, remedy: str, forbidden: int, most_bytes: int, refusal: type[EngineError]
) -> bytes:
    """Return the content of ``path``. ``what`` names it in messages ("key file"), ``remedy`` is the next step if it is
    missing, ``forbidden`` are the mode bits that it must not have.

    Raises ``refusal`` if it is missing, unreadable, not a regular file, owned by another user, or too long.
    """
    try:
        # Open once and check the open file, so that we read what we checked. Never wait for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            problem, next_step = _fault(path, os.fstat(descriptor), what, forbidden)
            content = b"" if problem else _read(descriptor, most_bytes + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise refusal(f"The {what} {path} does not exist", subject=str(path), next_step=remedy) from None
    except OSError as error:
        raise refusal(
            f"The {what} {path} cannot be read",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step="Run as the user who owns it",
        ) from error
    if len(content) > most_bytes:
        problem, next_step = f"{path} is too long for a {what}", f"Give the path of the {what}"
    if problem:
        raise refusal(problem, subject=str(path), next_step=next_step)
    return content


def _read(descriptor: int, most_bytes: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(most_bytes)


def _fault(path: Path, status: os.stat_result, what: str, forbidden: int) -> tuple[str, str]:
    """Return what is wrong with an open file and what to do about it; two empty strings if nothing is."""
    us = os.geteuid()
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file", f"Give the path of the {what}, not of a directory, pipe or device"
    # Root may read the file of a service user; nobody else may plant a file for another user.
    if status.st_uid not in (0, us) and us != 0:
        return (
            f"The {what} {path} belongs to another user (uid {status.st_uid})",
            f"Run as that user, or `chown {us} {path}`",
        )
    if status.st_mode & forbidden:
        able = "use it" if forbidden & 0o044 else "change where backups go and who can read them"
        return (
            f"The {what} {path} has mode {stat.S_IMODE(status.st_mode):04o}, so users other than its owner can {able}",
            f"`chmod 600 {path}`; assume that somebody has already done so",
        )
    return "", ""
