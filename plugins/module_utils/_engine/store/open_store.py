# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens the store that a configuration names, and what may delete in it."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..values.config import Config
from .directory import DirectoryRemover, DirectoryStore
from .protocol import Remover, Store


def open_store(config: Config) -> Store:
    """Open the configured store. It connects at its first call."""
    if config.s3:
        from .s3 import S3Store
        from .s3_probe import EndpointProbe
        from .s3_session import S3Session

        # One connection for every worker, and one for all else.
        session = S3Session(config.s3, connections=config.limits.workers + 1)
        return S3Store(session, EndpointProbe(session, state_dir=Path(config.base_dir) / "state"))
    if config.local:
        return DirectoryStore(Path(config.local.path))
    raise _no_storage()


def open_remover(config: Config) -> Remover:
    """Open what deletes objects of the configured store, for a cleanup alone. It connects at its first call."""
    if config.s3:
        from .s3 import S3Remover
        from .s3_session import S3Session

        return S3Remover(S3Session(config.s3, connections=1))
    if config.local:
        return DirectoryRemover(Path(config.local.path))
    raise _no_storage()


def _no_storage() -> ConfigError:
    return ConfigError(
        "The configuration names no storage",
        subject="s3",
        next_step="Enable exactly one of `s3` and `local`",
    )
