# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private key files: made once, for their owner alone; read only while nobody else can read them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import KeyFileError
from ..seal import age
from ..seal.signing import SigningKey
from ..values.json_fields import write_time
from ..values.recipients import KeyKind
from .durable_files import sync_directory

MAX_KEY_FILE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class KeyWritten:
    """A key file and its public key. ``created`` is false where the file was there already, and was left alone."""

    path: Path
    public: str
    created: bool


def write_age_key(path: Path, *, kind: KeyKind = "hybrid", now: datetime | None = None) -> KeyWritten:
    """Make an age key pair of ``kind``: the private half in ``path``, as ``age-keygen`` writes it, mode 0600.

    A file that is there is never overwritten: its public key is given back, of whichever kind. Raises
    :class:`KeyFileError` where it is no age key file, and where ``path`` cannot be written, and
    :class:`LibraryMissing` where ``cryptography`` is too old for a hybrid key.
    """
    if os.path.lexists(path):
        return KeyWritten(path, age.public_of(read_identities(path)[0]), created=False)
    private, public = age.new_identity(kind)
    _write(path, f"# created: {_now(now)}\n# public key: {public}\n{private}\n")
    return KeyWritten(path, public, created=True)


def write_signing_key(path: Path, *, now: datetime | None = None) -> KeyWritten:
    """Make a key pair that signs manifests, likewise."""
    if os.path.lexists(path):
        return KeyWritten(path, read_signing_key(path).public, created=False)
    key = SigningKey.generate()
    _write(path, key.text(created=_now(now)))
    return KeyWritten(path, key.public, created=True)


def read_identities(path: Path) -> list[str]:
    """The age private keys in ``path``. Raises :class:`KeyFileError`."""
    return age.parse_identities(_read(path), name=str(path))


def read_signing_key(path: Path) -> SigningKey:
    """The signing key in ``path``. Raises :class:`KeyFileError`."""
    return SigningKey.parse(_read(path), name=str(path))


def _now(now: datetime | None) -> str:
    return write_time(now or datetime.now(UTC))


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)
    except OSError as error:
        # Half a key would stand in the way of the next try, and no one has its public half.
        path.unlink(missing_ok=True)
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> KeyFileError:
    return KeyFileError(
        f"The key file {path} cannot be written",
        subject=str(path),
        answer=error.strerror or str(error),
        next_step=f"Make sure that the directory {path.parent} exists, has room, and lets you write",
    )


def _read(path: Path) -> str:
    try:
        data = _checked_bytes(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if len(data) > MAX_KEY_FILE_BYTES or "\0" in text:
        raise KeyFileError(
            f"{path} is not a key file: it is too long or not text",
            subject=str(path),
            next_step="Name the file that `zrb genkey`, `age-keygen` or `zrb signing-key` wrote",
        )
    return text


def _checked_bytes(path: Path) -> bytes:
    # Opened once and checked as opened: what is read is what was checked. A pipe must not make us wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for check in (_check_kind, _check_owner, _check_mode):
            check(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_KEY_FILE_BYTES + 1)
    finally:
        os.close(descriptor)


def _unreadable(path: Path, error: OSError) -> KeyFileError:
    if isinstance(error, FileNotFoundError):
        return KeyFileError(
            f"The key file {path} does not exist",
            subject=str(path),
            next_step="Give the right path, or make the key with `zrb genkey` or `zrb signing-key`",
        )
    return KeyFileError(
        f"The key file {path} cannot be read",
        subject=str(path),
        answer=error.strerror or str(error),
        next_step="Run as the user who owns it",
    )


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(
            f"{path} is not a regular file", subject=str(path), next_step="Give the path of the private key file"
        )


def _check_owner(path: Path, status: os.stat_result) -> None:
    # Root may read for a service user, who owns the key; nobody else may plant one for another user.
    if status.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise KeyFileError(
            f"The key file {path} belongs to another user (uid {status.st_uid})",
            subject=str(path),
            next_step=f"Run as that user, or `chown {os.geteuid()} {path}`",
        )


def _check_mode(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        raise KeyFileError(
            f"The key file {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others than its owner can use it",
            subject=str(path),
            next_step=f"`chmod 600 {path}`; if others may have read it, make a new key",
        )
