# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private key files: made once, for their owner alone; read only while nobody else can read them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ...config.key_files import read_identities, read_signing_key
from ...errors import KeyFileError
from ...seal import age_keys
from ...seal.signing import SigningKey
from ...state.durable_files import sync_directory
from ...values.json_records import write_time
from ...values.recipients import KeyKind


@dataclass(frozen=True, slots=True)
class KeyWritten:
    """A key file and its public key. ``created`` is false if the file was there already, and was left alone."""

    path: Path
    public: str
    created: bool


def write_age_key(path: Path, *, kind: KeyKind = "hybrid", now: datetime | None = None) -> KeyWritten:
    """Make an age key pair of ``kind``: the private half in ``path``, as ``age-keygen`` writes it, mode 0600.

    A file that is there is never overwritten: its public key is given back, of whichever kind. Raises
    :class:`KeyFileError` if it is no age key file, and if ``path`` cannot be written, and :class:`LibraryMissing` if
    ``cryptography`` is too old for a hybrid key.
    """
    if os.path.lexists(path):
        return KeyWritten(path, age_keys.public_of(read_identities(path)[0]), created=False)
    private, public = age_keys.new_identity(kind)
    _write(path, f"# created: {_now(now)}\n# public key: {public}\n{private}\n")
    return KeyWritten(path, public, created=True)


def write_signing_key(path: Path, *, kind: KeyKind = "hybrid", now: datetime | None = None) -> KeyWritten:
    """Make a key pair of ``kind`` that signs manifests, likewise."""
    if os.path.lexists(path):
        return KeyWritten(path, read_signing_key(path).public, created=False)
    key = SigningKey.generate(kind)
    _write(path, key.text(created=_now(now)))
    return KeyWritten(path, key.public, created=True)


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
