# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What docs/servers.md says of each server is what it does, and enough of them are here to know."""

from __future__ import annotations

import os

import pytest
from zrb.run.lifecycle import (
    LifecycleRequest,
    ReadsUntilStable,
    apply_bucket_lifecycle,
    open_bucket_lifecycle,
    plan_bucket_lifecycle,
)
from zrb.store.s3_endpoint_features import EndpointFeatures
from zrb.store.s3_errors import NotImplementedThere
from zrb.store.s3_probe import EndpointProbe
from zrb.store.s3_session import S3Session
from zrb.values.config import S3Settings
from zrb.values.lifecycle_rule import LifecycleRule

from tests.servers.conftest import HERE
from tests.servers.findings import QUESTIONS, columns_of_page, findings, heading
from tests.servers.programs import MINIO, Server

OLD_VERSIONS = LifecycleRule.of({"id": "old", "prefix": "nas/", "noncurrent_version_expiration_days": 60})


@pytest.mark.skipif(not os.environ.get("CI"), reason="each server that cannot be had here is named above")
def test_enough_servers_run_where_it_counts() -> None:
    assert MINIO in HERE
    assert len(HERE) >= 3


def test_the_page_says_what_was_found(server: Server) -> None:
    found = findings(server)
    page = columns_of_page().get(heading(server))
    assert page == found, "`make servers-page` writes the table anew"


def test_the_page_asks_what_is_asked() -> None:
    assert {tuple(column) for column in columns_of_page().values()} == {tuple(QUESTIONS)}


def test_what_a_run_learns_is_what_was_found(server: Server, bucket: S3Settings) -> None:
    session = S3Session(bucket)
    session.call("put_object", key="zrb.json", Body=b"{}", ChecksumAlgorithm="SHA256")
    learnt = EndpointProbe(session).features()
    session.close()
    page = columns_of_page()[heading(server)]
    assert learnt == EndpointFeatures(
        conditional_writes=page["refuses PutObject over an object (`If-None-Match`)"].startswith("412"),
        checksum_rejected=page["refuses UploadPart with another SHA-256"].startswith("400"),
        checksum_stored=page["SHA-256 of a multipart upload"] == "kept",
        content_md5_checked=page["refuses PutObject with another Content-MD5"].startswith("400"),
    )


def test_lifecycle_rules_are_kept_or_said_to_be_impossible(server: Server, bucket: S3Settings) -> None:
    request = LifecycleRequest(rules=(OLD_VERSIONS,), repository_prefix=bucket.prefix)
    with open_bucket_lifecycle(bucket) as lifecycle:
        if columns_of_page()[heading(server)]["lifecycle rule that removes old versions"] != "kept":
            with pytest.raises(NotImplementedThere, match="no lifecycle rules"):
                lifecycle.write(["<Rule/>"])
            return
        plan = plan_bucket_lifecycle(lifecycle, request)
        assert plan.changed
        assert apply_bucket_lifecycle(lifecycle, plan, reads=ReadsUntilStable(interval_s=0)) == ()
        assert not plan_bucket_lifecycle(lifecycle, request).changed
