# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 store on servers of others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from zrb.store.s3 import S3Store
from zrb.store.s3_probe import EndpointProbe
from zrb.store.s3_session import S3Session
from zrb.values.config import S3Settings

from tests.fakes.conformance_of_stores import StoreConformance
from tests.servers.programs import Server

_NO_ABORT = "it has no AbortMultipartUpload"
SHORTCOMINGS = {
    ("rclone", "test_a_chunk_that_is_written_again_replaces_the_first"): "it refuses that, and says so",
    ("s3rver", "test_a_flow_breaks_transfers_off_in_their_midst"): "it keeps the beginning of what was broken off",
    ("s3rver", "test_abort_leaves_nothing_and_may_be_repeated"): _NO_ABORT,
    ("s3rver", "test_an_upload_of_a_dead_process_is_aborted_by_its_name"): _NO_ABORT,
    ("s3rver", "test_listing_is_in_key_order_and_by_prefix"): "it lists one directory after the other",
    ("s3rver", "test_unfinished_uploads_are_shown_until_they_end"): "it lists no uploads",
    ("minio", "test_unfinished_uploads_are_shown_until_they_end"): "it lists the uploads of one key alone",
}
"""What a server cannot do. If it can, the test fails: the line goes then."""
RACES = {("s3rver", "test_many_threads_write_one_key_and_one_content_wins"): "it ignores If-None-Match"}
"""What it may do or not, by chance."""


@pytest.fixture
def store(request: pytest.FixtureRequest, server: Server, bucket: S3Settings) -> Iterator[S3Store]:
    """A new bucket on each server."""
    test = (server.kind.name, request.node.originalname)
    if reason := SHORTCOMINGS.get(test) or RACES.get(test):
        request.applymarker(pytest.mark.xfail(reason=reason, strict=test in SHORTCOMINGS))
    session = S3Session(bucket, connections=5)
    store = S3Store(session, EndpointProbe(session))
    yield store
    store.close()


class TestStore(StoreConformance):
    """The suite, with the fixture ``store``."""
