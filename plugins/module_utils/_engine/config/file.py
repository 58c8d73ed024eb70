# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads the configuration file strictly, so that a mistake shows before it matters."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..values.config import Config
from .file_permissions import read_own_file
from .schema import read_config

MAX_CONFIG_BYTES = 1024 * 1024


def load_config(path: Path, *, writes: bool = True) -> Config:
    """Return the configuration in ``path``. Without ``writes`` (list, verify, restore) it needs no recipient.

    Raises :class:`ConfigError`, which names the line, the key and what was expected, for unknown and repeated keys,
    wrong types, impossible values and combinations, and for a file that users other than its owner can change.
    """
    content = read_own_file(
        path,
        what="configuration file",
        remedy="Check the path, or create the file as described in docs/configuration.md",
        forbidden=0o022,
        most_bytes=MAX_CONFIG_BYTES,
        refusal=ConfigError,
    )
    return read_config(path, content, writes=writes)
