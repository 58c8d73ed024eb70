# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file: read strictly, so that a mistake shows before the night it matters."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..values.config import Config
from .own_files import read_own_file
from .schema import read_config

MAX_CONFIG_BYTES = 1024 * 1024


def load_config(path: Path, *, writes: bool = True) -> Config:
    """The configuration in ``path``; one that never ``writes`` (to list, verify, restore) needs no recipient.

    Raises :class:`ConfigError`, which names the line, the key and what was expected, for unknown and repeated keys,
    wrong types, impossible values and combinations, and a file that others than its owner can write.
    """
    content = read_own_file(
        path,
        what="configuration file",
        remedy="Check the path, or write the file as docs/configuration.md shows it",
        forbidden=0o022,
        most_bytes=MAX_CONFIG_BYTES,
        refusal=ConfigError,
    )
    return read_config(path, content, writes=writes)
