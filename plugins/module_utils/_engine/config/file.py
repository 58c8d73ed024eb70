# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file: read strictly, so that a mistake shows before the night it matters."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import ConfigError
from ..values.config import Config
from .nodes import MAX_CONFIG_BYTES, parse_yaml
from .schema import read_config

default_config_path = Path("/etc/zrb/config.yaml")


def load_config(path: Path, *, writes: bool = True) -> Config:
    """The configuration in ``path``; one that never ``writes`` (to list, verify, restore) needs no recipient.

    Raises :class:`ConfigError`, which names the line, the key and what was expected, for unknown and repeated keys,
    wrong types, impossible values and combinations, and a file that others than its owner can write.
    """
    return read_config(parse_yaml(path, _read(path)), writes=writes)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            return file.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"The configuration file {path} does not exist",
            subject=str(path),
            next_step=f"Write it, or give another with --config; the default is {default_config_path}",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"The configuration file {path} cannot be read",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step="Run as the user who owns it",
        ) from error


def _check_mode(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o022:
        raise ConfigError(
            f"The configuration file {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others than its owner can "
            "change where backups go and who can read them",
            subject=str(path),
            next_step=f"`chmod 600 {path}`, and check what stands in it",
        )
