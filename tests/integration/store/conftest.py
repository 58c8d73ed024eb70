# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tests of the S3 store share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.store.s3 import S3Store
from zrb.store.s3_probe import EndpointProbe
from zrb.store.s3_session import S3Session

from tests.fakes.s3_proxy import FaultProxy
from tests.integration.s3_fixtures import LocalBucket

OpenStore = Callable[..., S3Store]


@pytest.fixture
def pauses_s() -> list[float]:
    """How long the stores would have waited."""
    return []


@pytest.fixture
def open_s3(bucket: LocalBucket, pauses_s: list[float]) -> Iterator[OpenStore]:
    """Opens the bucket, with the given settings changed; ``state_dir`` is where the probe caches."""
    opened: list[S3Store] = []

    def open_store(*, state_dir: Path | None = None, **changes: Any) -> S3Store:
        session = S3Session(
            replace(bucket.settings, **changes), connections=5, pause=pauses_s.append, chance=lambda: 1.0
        )
        opened.append(S3Store(session, EndpointProbe(session, state_dir=state_dir)))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def store(open_s3: OpenStore) -> S3Store:
    """The bucket, reached directly."""
    return open_s3()


@pytest.fixture
def behind_proxy(open_s3: OpenStore, s3_proxy: FaultProxy) -> S3Store:
    """The bucket, reached through the proxy that makes faults."""
    return open_s3(endpoint=s3_proxy.endpoint, max_attempts=2)
