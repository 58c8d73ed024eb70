# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opening what a configuration names."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from zrb.errors import ConfigError
from zrb.store.open_store import open_store
from zrb.values.config import Config


def test_a_configuration_without_storage_is_refused() -> None:
    config = Config(PurePosixPath("/var/lib/zrb"), PurePosixPath("/var/log/zrb"), "nas1", (), None)
    with pytest.raises(ConfigError, match="no storage"):
        open_store(config)
