# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle configurations of a real bucket."""

from __future__ import annotations

from dataclasses import replace

import pytest
from zrb.errors import NoSuchRepository, StoreDenied
from zrb.plan.lifecycle_xml import rule_from_xml, rule_to_xml
from zrb.store.bucket_settings import BucketLifecycle, LifecycleDocument
from zrb.store.s3_errors import S3Refused
from zrb.store.s3_session import S3Session
from zrb.values.lifecycle_rule import LifecycleRule

from tests.fakes.s3_proxy import FaultProxy, Reply
from tests.integration.s3_fixtures import LocalBucket

pytestmark = pytest.mark.s3

RULES = [
    LifecycleRule.of({"id": "abort", "abort_incomplete_multipart_upload_days": 14}),
    LifecycleRule.of(
        {
            "id": "move",
            "enabled": False,
            "prefix": "data/",
            "tags": {"a": "1"},
            "transitions": [
                {"storage_class": "GLACIER", "days": 30},
                {"storage_class": "DEEP_ARCHIVE", "days": 200},
            ],
            "noncurrent_version_transitions": [
                {"storage_class": "GLACIER", "days": 30, "newer_noncurrent_versions": 2}
            ],
            "noncurrent_version_expiration_days": 60,
        }
    ),
    LifecycleRule.of({"id": "expire", "prefix": "logs/", "expiration_date": "2027-01-31"}),
]


@pytest.fixture
def lifecycle(bucket: LocalBucket) -> BucketLifecycle:
    return BucketLifecycle(S3Session(bucket.settings))


def test_a_bucket_without_rules(lifecycle: BucketLifecycle) -> None:
    assert lifecycle.read() == LifecycleDocument()


def test_what_is_written_is_read_and_removed(lifecycle: BucketLifecycle) -> None:
    lifecycle.write([rule_to_xml(rule) for rule in RULES])
    assert [rule_from_xml(xml) for xml in lifecycle.read().rules] == RULES
    lifecycle.write([])
    assert lifecycle.read() == LifecycleDocument()


def test_a_write_carries_its_md5(bucket: LocalBucket, s3_proxy: FaultProxy) -> None:
    s3_proxy.check_md5 = True
    lifecycle = BucketLifecycle(S3Session(replace(bucket.settings, endpoint=s3_proxy.endpoint)))
    for _ in range(2):
        lifecycle.write([rule_to_xml(RULES[0])])
    assert all("content-md5" in request.headers for request in s3_proxy.requests)


def test_the_least_size_of_the_bucket_is_read_and_written(bucket: LocalBucket, s3_proxy: FaultProxy) -> None:
    def told(reply: Reply) -> Reply:
        name = "x-amz-transition-default-minimum-object-size"
        return replace(reply, headers={**reply.headers, name: "varies_by_storage_class"})

    lifecycle = BucketLifecycle(S3Session(replace(bucket.settings, endpoint=s3_proxy.endpoint)))
    lifecycle.write([rule_to_xml(RULES[0])], least_size="varies_by_storage_class")
    sent = s3_proxy.requests[0].headers
    assert sent["x-amz-transition-default-minimum-object-size"] == "varies_by_storage_class"
    s3_proxy.change_reply(told, method="GET")
    assert lifecycle.read().least_size == "varies_by_storage_class"


def test_refusals_name_the_permission(bucket: LocalBucket, s3_proxy: FaultProxy) -> None:
    lifecycle = BucketLifecycle(S3Session(replace(bucket.settings, endpoint=s3_proxy.endpoint, max_attempts=1)))
    s3_proxy.answer(403, "AccessDenied")
    with pytest.raises(StoreDenied, match="s3:GetLifecycleConfiguration"):
        lifecycle.read()
    with pytest.raises(StoreDenied, match="s3:PutLifecycleConfiguration"):
        lifecycle.write([rule_to_xml(RULES[0])])
    s3_proxy.heal()
    s3_proxy.answer(400, "MalformedXML", message="The XML you provided was not well-formed", method="GET")
    with pytest.raises(S3Refused, match="MalformedXML"):
        lifecycle.read()
    s3_proxy.heal()
    s3_proxy.answer(404, "NoSuchBucket")
    with pytest.raises(NoSuchRepository):
        lifecycle.read()


def test_elements_that_botocore_does_not_know_come_and_go(bucket: LocalBucket, s3_proxy: FaultProxy) -> None:
    lifecycle = BucketLifecycle(S3Session(replace(bucket.settings, endpoint=s3_proxy.endpoint)))
    unknown = "<DelMarkerExpiration><Days>3</Days></DelMarkerExpiration>"
    s3_proxy.impersonate(
        b'<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ID>theirs</ID>'
        b"<Status>Enabled</Status><Filter/>" + unknown.encode() + b"</Rule></LifecycleConfiguration>",
        method="GET",
    )
    (theirs,) = (rule_from_xml(xml) for xml in lifecycle.read().rules)
    s3_proxy.impersonate(b"", method="PUT")
    lifecycle.write([rule_to_xml(theirs), rule_to_xml(RULES[0])])
    assert unknown in s3_proxy.requests[-1].body.decode()
    assert RULES[0].id in s3_proxy.requests[-1].body.decode()
