# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 store behind a network and an endpoint that misbehave: each fault, and what must hold all the same."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from zrb.errors import ObjectExists, PartDamaged, StoreDenied, StoreError, StoreUnavailable
from zrb.store.protocol import BrokenOff
from zrb.store.s3 import S3Store
from zrb.store.s3_errors import UploadGone
from zrb.values.manifest import Checksum

from tests.fakes.conformance_of_stores import CHUNK, KEY, read_all, some_bytes
from tests.fakes.s3_proxy import FaultProxy, Reply
from tests.integration.s3_fixtures import LocalBucket
from tests.integration.store.conftest import OpenStore

pytestmark = pytest.mark.s3

OBJECT = "*/zfs-backups/data/*"


def stored_content(bucket: LocalBucket) -> bytes:
    body: bytes = bucket.client().get_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}")["Body"].read()
    return body


def is_stored(bucket: LocalBucket) -> bool:
    return bucket.client().list_objects_v2(Bucket=bucket.name)["KeyCount"] > 0


class TestRequestsThatFail:
    def test_a_storm_that_passes_is_not_noticed(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(503, "SlowDown", method="PUT", times=1)
        behind_proxy.put(KEY, b"content")
        assert s3_proxy.count("PUT", OBJECT) == 2

    def test_a_storm_that_stays_ends_the_write_and_is_told(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        s3_proxy.answer(503, "SlowDown", message="Please reduce your request rate", method="PUT")
        with pytest.raises(StoreUnavailable) as caught:
            behind_proxy.put(KEY, b"content")
        message = caught.value.explain()
        assert KEY in message
        assert f"s3://{bucket.name}/zfs-backups/" in message
        assert "2 attempts" in message
        assert "SlowDown: Please reduce your request rate" in message
        assert s3_proxy.count("PUT", OBJECT) == 2
        assert not is_stored(bucket)

    @pytest.mark.parametrize("method", ["PUT", "HEAD", "GET"])
    def test_a_connection_that_breaks_once_is_not_noticed(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, method: str
    ) -> None:
        s3_proxy.reset_before(method=method, path=OBJECT, times=1)
        behind_proxy.put(KEY, b"content")
        assert behind_proxy.head(KEY) is not None
        assert read_all(behind_proxy, KEY, 7) == b"content"

    def test_a_retry_is_asked_for_again(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        asked: list[int] = []
        behind_proxy.regulate(asked.append)
        s3_proxy.answer(503, "SlowDown", method="PUT", path=OBJECT, times=1)
        behind_proxy.put(KEY, some_bytes(300_000))
        assert sum(asked) == 600_000

    def test_what_was_broken_off_is_not_retried(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        asked: list[int] = []

        def flow(length: int) -> None:
            asked.append(length)
            if len(asked) > 3:
                raise BrokenOff

        behind_proxy.regulate(flow)
        with pytest.raises(BrokenOff):
            behind_proxy.put(KEY, some_bytes(300_000))
        assert len(asked) == 4

    def test_a_connection_that_always_breaks_is_told(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.reset_before()
        with pytest.raises(StoreUnavailable, match=r"http://127.0.0.1:\d+"):
            behind_proxy.put(KEY, b"content")

    def test_the_retry_sends_the_same_bytes(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        content = some_bytes(1_000_000)
        s3_proxy.answer(500, "InternalError", method="PUT", times=1)
        behind_proxy.put(KEY, content)
        assert stored_content(bucket) == content
        assert [len(request.body) for request in s3_proxy.requests if request.method == "PUT"] == [1_000_000] * 2


class TestLostReplies:
    """The server did it, but nobody was told."""

    def test_of_a_put_once(self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket) -> None:
        s3_proxy.lose_reply(method="PUT", path=OBJECT, times=1)
        assert behind_proxy.put(KEY, b"content").kind == "sha256"
        assert stored_content(bucket) == b"content"

    def test_of_every_put(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.lose_reply(method="PUT", path=OBJECT)
        assert behind_proxy.put(KEY, b"content").kind == "sha256"

    def test_of_a_put_over_other_content(self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy) -> None:
        store.put(KEY, b"another")
        s3_proxy.lose_reply(method="PUT", path=OBJECT)
        with pytest.raises(ObjectExists, match=KEY):
            behind_proxy.put(KEY, b"content")

    @pytest.mark.parametrize("times", [1, 10])
    def test_of_the_end_of_an_upload(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket, times: int
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.lose_reply(method="POST", path=OBJECT, times=times)
        assert upload.complete().kind == "sha256-composite"
        assert stored_content(bucket) == b"content"

    def test_of_the_end_of_an_upload_that_the_server_forgot_since(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.lose_reply(method="POST", path=OBJECT, times=1)
        s3_proxy.answer(404, "NoSuchUpload", method="POST", path=OBJECT, times=1)
        assert upload.complete().kind == "sha256-composite"

    def test_an_upload_that_is_gone_and_left_nothing(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(404, "NoSuchUpload", method="POST", path=OBJECT)
        with pytest.raises(UploadGone, match="removed"):
            upload.complete()
        assert not is_stored(bucket)


class TestEndpointsThatIgnore:
    """Endpoints that accept everything and do less."""

    def test_conditional_writes_that_are_ignored_never_overwrite(
        self, open_s3: OpenStore, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        s3_proxy.check_sha256 = True
        s3_proxy.drop_request_headers = ("if-none-match",)
        store = open_s3(endpoint=s3_proxy.endpoint)
        store.put("zrb.json", b"identity")
        assert store.features().conditional_writes is False
        store.put(KEY, b"content")
        store.put(KEY, b"content")
        with pytest.raises(ObjectExists):
            store.put(KEY, b"another")
        upload = store.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"another")
        with pytest.raises(ObjectExists):
            upload.complete()
        same = store.open_upload(KEY, total_chunks=1)
        same.put_chunk(0, 0, b"content")
        assert same.complete().kind == "sha256"
        assert stored_content(bucket) == b"content"
        assert "Uploads" not in bucket.client().list_multipart_uploads(Bucket=bucket.name)

    def test_the_identity_itself_is_never_overwritten(self, open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
        s3_proxy.drop_request_headers = ("if-none-match",)
        store = open_s3(endpoint=s3_proxy.endpoint)
        store.put("zrb.json", b"identity")
        with pytest.raises(ObjectExists):
            store.put("zrb.json", b"another!")
        assert store.get("zrb.json", limit=100) == b"identity"

    def test_checksums_that_are_ignored_are_replaced_by_content_md5(
        self, open_s3: OpenStore, s3_proxy: FaultProxy
    ) -> None:
        s3_proxy.drop_request_headers = ("x-amz-checksum-*", "x-amz-sdk-checksum-*")
        s3_proxy.check_md5 = True
        store = open_s3(endpoint=s3_proxy.endpoint)
        store.put("zrb.json", b"identity")
        assert store.put(KEY, b"content").kind == "none"
        sent = s3_proxy.requests[-1]
        assert (sent.method, "content-md5" in sent.headers, "x-amz-checksum-sha256" in sent.headers) == (
            "PUT",
            True,
            False,
        )
        content = some_bytes(CHUNK + 1)
        for key in ("data/1", "data/1"):
            upload = store.open_upload(key, total_chunks=2)
            upload.put_chunk(0, 0, content[:CHUNK])
            upload.put_chunk(1, CHUNK, content[CHUNK:])
            assert upload.complete().kind == "none"
        sha256 = hashlib.sha256(content).hexdigest()
        assert store.holds("data/1", size=len(content), sha256=sha256, expected=Checksum("none", "")) is not None

    @pytest.mark.parametrize(
        ("status", "code", "message"),
        [
            (501, "NotImplemented", "A header you provided implies functionality that is not implemented"),
            (400, "InvalidArgument", "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."),
        ],
    )
    def test_headers_that_are_refused_are_left_out(
        self, open_s3: OpenStore, s3_proxy: FaultProxy, status: int, code: str, message: str
    ) -> None:
        s3_proxy.answer(status, code, message=message, method="PUT", path="*/zrb.json", times=1)
        store = open_s3(endpoint=s3_proxy.endpoint)
        store.put("zrb.json", b"identity")
        assert "if-none-match" not in s3_proxy.requests[-1].headers
        assert "x-amz-checksum-sha256" not in s3_proxy.requests[-1].headers

    def test_a_checksum_that_is_required_is_never_left_out(self, open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(501, "NotImplemented", method="PUT")
        store = open_s3(endpoint=s3_proxy.endpoint, checksums="required")
        with pytest.raises(StoreError, match="NotImplemented"):
            store.put("zrb.json", b"identity")

    def test_an_endpoint_that_can_not_even_do_it_plainly(self, open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(501, "NotImplemented", method="PUT")
        store = open_s3(endpoint=s3_proxy.endpoint)
        with pytest.raises(StoreError, match=r"checksums: off"):
            store.put("zrb.json", b"identity")

    def test_bytes_that_are_stored_otherwise_are_noticed(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        def other(reply: Reply) -> Reply:
            reply.headers["x-amz-checksum-sha256"] = "A" * 43 + "="
            return reply

        s3_proxy.change_reply(other, method="PUT", path=OBJECT)
        with pytest.raises(StoreError, match=f"stored {KEY}"):
            behind_proxy.put(KEY, b"content")
        upload = behind_proxy.open_upload("data/x", total_chunks=1)
        with pytest.raises(StoreError, match="stored data/x"):
            upload.put_chunk(0, 0, b"content")


class TestConflicts:
    @pytest.mark.parametrize("times", range(1, 6))
    def test_a_conflict_that_passes_is_waited_out(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, pauses_s: list[float], times: int
    ) -> None:
        s3_proxy.answer(409, "ConditionalRequestConflict", method="PUT", path=OBJECT, times=times)
        assert behind_proxy.put(KEY, b"content").kind == "sha256"
        upload = behind_proxy.open_upload("data/x", total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(409, "ConditionalRequestConflict", method="POST", path="*/data/x*", times=times)
        assert upload.complete().kind == "sha256-composite"
        half = pauses_s[:times]
        assert pauses_s == half * 2
        assert all(after == 2 * before for before, after in pairwise(half))

    def test_a_conflict_that_stays_is_told(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(409, "ConditionalRequestConflict", method="PUT", path=OBJECT)
        with pytest.raises(StoreUnavailable, match="ConditionalRequestConflict"):
            behind_proxy.put(KEY, b"content")

    def test_a_conflict_at_the_end_of_an_upload_is_told(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(409, "ConditionalRequestConflict", method="POST", path=OBJECT)
        with pytest.raises(StoreUnavailable, match="ConditionalRequestConflict"):
            upload.complete()

    def test_an_object_that_vanishes_while_it_is_compared(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        bucket.client().put_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}", Body=b"another")
        s3_proxy.answer(404, "NoSuchKey", method="GET", path=OBJECT)
        sha256 = hashlib.sha256(b"content").hexdigest()
        assert behind_proxy.holds(KEY, size=7, sha256=sha256, expected=Checksum("none", "")) is None

    def test_an_object_that_may_not_be_read_back(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        bucket.client().put_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}", Body=b"another")
        s3_proxy.answer(403, "AccessDenied", method="GET", path=OBJECT)
        with pytest.raises(ObjectExists, match="AccessDenied"):
            behind_proxy.put(KEY, b"content")


class TestBodiesThatBreak:
    def test_reading_goes_on_where_the_body_ended(
        self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy
    ) -> None:
        content = some_bytes(3_000_000)
        store.put(KEY, content)
        s3_proxy.cut_body(2_000_000, path=OBJECT, times=1)
        assert read_all(behind_proxy, KEY, 2_999_990, 10) == content[10:]
        first, second = [request.headers["range"] for request in s3_proxy.requests]
        assert first == "bytes=10-2999999"
        assert int(second.removeprefix("bytes=").split("-")[0]) > 1_000_000, "what came was not asked for again"

    def test_bodies_that_always_break_are_told(
        self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy
    ) -> None:
        store.put(KEY, b"content")
        s3_proxy.cut_body(0, path=OBJECT)
        with pytest.raises(StoreUnavailable, match=f"GetObject.* {KEY}"):
            read_all(behind_proxy, KEY, 7)
        assert s3_proxy.count("GET", OBJECT) == 2

    def test_small_objects_are_read_again(self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy) -> None:
        store.put(KEY, b"content")
        s3_proxy.cut_body(3, path=OBJECT, times=1)
        assert behind_proxy.get(KEY, limit=10) == b"content"

    def test_ranges_that_are_ignored(self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy) -> None:
        store.put(KEY, b"0123456789")
        s3_proxy.drop_request_headers = ("range",)
        assert read_all(behind_proxy, KEY, 4) == b"0123"
        with pytest.raises(StoreError, match=f"range of {KEY}"):
            read_all(behind_proxy, KEY, 4, 2)

    def test_a_range_that_is_another(self, behind_proxy: S3Store, store: S3Store, s3_proxy: FaultProxy) -> None:
        def shifted(reply: Reply) -> Reply:
            return Reply(206, {**reply.headers, "Content-Range": "bytes 1-4/10"}, reply.body)

        store.put(KEY, b"0123456789")
        s3_proxy.drop_reply_headers = ("content-range",)
        s3_proxy.change_reply(shifted, method="GET")
        with pytest.raises(StoreError, match="bytes 1-4/10"):
            read_all(behind_proxy, KEY, 4, 2)

    def test_an_object_that_was_cut_short(self, behind_proxy: S3Store, bucket: LocalBucket) -> None:
        bucket.client().put_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}", Body=b"0123")
        with pytest.raises(PartDamaged, match=f"{KEY}.* 4 bytes"):
            read_all(behind_proxy, KEY, 10)

    def test_a_listing_that_is_no_xml(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.change_reply(lambda reply: Reply(200, {}, b"<html>welcome to the hotel"), method="GET")
        with pytest.raises(StoreError, match="ListObjectsV2"):
            list(behind_proxy.list(""))


class TestAborts:
    def test_chunks_that_arrive_late_are_aborted_again(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=2)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(204, "", method="DELETE", path=OBJECT, times=1)
        behind_proxy.abort_upload(KEY, upload.upload_id)
        assert s3_proxy.count("DELETE", OBJECT) == 2
        assert "Uploads" not in bucket.client().list_multipart_uploads(Bucket=bucket.name)

    def test_an_upload_without_chunks_is_aborted_once(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=2)
        s3_proxy.answer(204, "", method="DELETE", path=OBJECT, times=1)
        behind_proxy.abort_upload(KEY, upload.upload_id)
        assert s3_proxy.count("DELETE", OBJECT) == 1

    def test_an_abort_that_never_helps_ends(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(204, "", method="DELETE", path=OBJECT)
        behind_proxy.abort_upload(KEY, upload.upload_id)
        assert s3_proxy.count("DELETE", OBJECT) == 3

    @pytest.mark.parametrize(
        ("status", "code"), [(403, "AccessDenied"), (405, "MethodNotAllowed"), (501, "NotImplemented"), (500, "Broken")]
    )
    def test_whether_chunks_are_left_is_asked_in_vain(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket, status: int, code: str
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=2)
        upload.put_chunk(0, 0, b"content")
        s3_proxy.answer(status, code, method="GET", path="*uploadId=*")
        behind_proxy.abort_upload(KEY, upload.upload_id)
        assert s3_proxy.count("GET", "*uploadId=*") > 0
        assert "Uploads" not in bucket.client().list_multipart_uploads(Bucket=bucket.name)

    @pytest.mark.parametrize(
        ("status", "code", "kind"),
        [(403, "AccessDenied", StoreDenied), (405, "MethodNotAllowed", StoreError), (500, "Broken", StoreUnavailable)],
    )
    def test_an_abort_that_is_refused_is_told(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, status: int, code: str, kind: type[StoreError]
    ) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=2)
        s3_proxy.answer(status, code, method="DELETE", path=OBJECT)
        with pytest.raises(kind, match=code):
            behind_proxy.abort_upload(KEY, upload.upload_id)

    def test_the_upload_itself_never_fails_to_abort(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        upload = behind_proxy.open_upload(KEY, total_chunks=1)
        s3_proxy.answer(403, "AccessDenied", method="DELETE")
        upload.abort()
        with pytest.raises(StoreDenied, match="s3:AbortMultipartUpload"):
            behind_proxy.abort_upload(KEY, upload.upload_id)
