# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every test of the pipelines ends, and leaves no thread and no descriptor behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import no_hang, nothing_left_running


@pytest.fixture(autouse=True)
def clean_end() -> Iterator[None]:
    """Nothing hangs, nothing is left."""
    with no_hang(), nothing_left_running():
        yield


@pytest.fixture
def store() -> MemoryStore:
    """An empty repository."""
    return MemoryStore()
