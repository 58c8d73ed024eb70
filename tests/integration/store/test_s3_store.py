# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S3Store does what every store does, on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zrb.store.s3 import S3Store
from zrb.store.s3_probe import EndpointProbe
from zrb.store.s3_session import S3Session

from tests.fakes.conformance_of_stores import StoreConformance
from tests.integration.s3_fixtures import LocalBucket

pytestmark = pytest.mark.s3


@pytest.fixture
def store(bucket: LocalBucket) -> Iterator[S3Store]:
    session = S3Session(bucket.settings, connections=5)
    store = S3Store(session, EndpointProbe(session))
    yield store
    store.close()


class TestS3Store(StoreConformance):
    """The suite, with the module's ``store``."""
