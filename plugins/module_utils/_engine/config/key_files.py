# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads private key files."""

from __future__ import annotations

from pathlib import Path

from ..errors import KeyFileError
from ..seal import age_keys
from ..seal.signing import SigningKey
from .file_permissions import read_own_file

MAX_KEY_FILE_BYTES = 64 * 1024


def read_identities(path: Path) -> list[str]:
    """Return the age private keys in ``path``. Raises :class:`KeyFileError`."""
    return age_keys.parse_identities(_read(path), name=str(path))


def read_signing_key(path: Path) -> SigningKey:
    """Return the signing key in ``path``. Raises :class:`KeyFileError`."""
    return SigningKey.parse(_read(path), name=str(path))


def _read(path: Path) -> str:
    content = read_own_file(
        path,
        what="key file",
        remedy="Check the path, or create the key with `zrb genkey` or `zrb signing-key`",
        forbidden=0o077,
        most_bytes=MAX_KEY_FILE_BYTES,
        refusal=KeyFileError,
    )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise KeyFileError(
            f"{path} is not a key file: it contains binary data",
            subject=str(path),
            next_step="Use a file created by `zrb genkey`, `age-keygen` or `zrb signing-key`",
        )
    return text
