# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""These tests need programs that ``make test-servers`` builds. Elsewhere they are not collected, since ``make test`` is
another rung and not this one skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from zrb.values.config import S3Settings

from tests.servers.programs import KINDS, MINIO, Kind, Server, running

collect_ignore_glob = [] if os.environ.get("ZRB_TEST_SERVERS") else ["test_*.py"]
HERE = [kind for kind in KINDS if kind.program.exists()]


@pytest.fixture(scope="session", params=HERE, ids=lambda kind: kind.name)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server in turn."""
    kind: Kind = request.param
    with running(kind) as server:
        yield server


@pytest.fixture
def bucket(server: Server) -> S3Settings:
    """A bucket of its own on each server."""
    return server.new_bucket()


@pytest.fixture(scope="session")
def minio() -> Iterator[Server]:
    """MinIO, for what it alone does."""
    if not MINIO.program.exists():
        pytest.skip("minio cannot be had here")
    with running(MINIO) as server:
        yield server
