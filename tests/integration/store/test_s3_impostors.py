# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something between here and the endpoint answers 200: whatever it says, no success comes of it without the bytes.

Captive portals, proxies and gateways do this. Every request of every use of the store is answered so, once and from
there on, with every kind of body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from zrb.errors import EngineError, ForeignReply
from zrb.store.s3 import S3Store
from zrb.values.manifest import Checksum

from tests.fakes.conformance_of_stores import read_all, some_bytes
from tests.fakes.s3_proxy import FaultProxy, Request
from tests.integration.s3_fixtures import LocalBucket
from tests.integration.store.conftest import OpenStore

pytestmark = pytest.mark.s3

KEY = "data/new"
OLD = "data/old"
CONTENT = some_bytes(1000)
IMPOSTORS = {
    "nothing": (b"", {}),
    "a page": (b"<html><body><p>Welcome to the hotel</p></body></html>", {"Content-Type": "text/html"}),
    "a sloppy page": (b"<!DOCTYPE html><html><p>Welcome<br></html>", {"Content-Type": "text/html"}),
    "a page with an ETag": (b"<html></html>", {"Content-Type": "text/html; charset=utf-8", "ETag": '"65-1f"'}),
    "other XML": (b"<?xml version='1.0'?><Status><ok/></Status>", {"Content-Type": "application/xml"}),
    "truncated XML": (b"<?xml version='1.0'?><ListBucketResult><Contents><Key>", {"Content-Type": "application/xml"}),
    "text": (b"OK\n", {"Content-Type": "text/plain"}),
}


@dataclass(frozen=True)
class Use:
    """What a test does to the store, and what is true if that succeeds."""

    act: Callable[[S3Store], object]
    holds: Callable[[object, LocalBucket], bool]


def stored(bucket: LocalBucket, key: str) -> bytes | None:
    client = bucket.client()
    names = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket.name).get("Contents", ())]
    if f"zfs-backups/{key}" not in names:
        return None
    body: bytes = client.get_object(Bucket=bucket.name, Key=f"zfs-backups/{key}")["Body"].read()
    return body


def upload(store: S3Store) -> Checksum:
    begun = store.open_upload(KEY, total_chunks=1)
    begun.put_chunk(0, 0, CONTENT)
    return begun.complete()


def proof_of_old(store: S3Store) -> Checksum | None:
    return store.holds(
        OLD, size=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest(), expected=Checksum("none", "")
    )


USES = {
    "put": Use(lambda store: store.put(KEY, CONTENT), lambda _, bucket: stored(bucket, KEY) == CONTENT),
    "upload": Use(upload, lambda _, bucket: stored(bucket, KEY) == CONTENT),
    "head": Use(lambda store: getattr(store.head(OLD), "bytes", None), lambda found, _: found == len(CONTENT)),
    "holds": Use(proof_of_old, lambda found, _: isinstance(found, Checksum) and found.kind == "sha256"),
    "get": Use(lambda store: store.get(OLD, limit=2000), lambda found, _: len(found) > 0),  # its reader has hashes
    "read": Use(lambda store: read_all(store, OLD, len(CONTENT)), lambda found, _: found == CONTENT),
    "list": Use(
        lambda store: [entry.key for entry in store.list("")], lambda found, _: found in ([OLD], [OLD, "zrb.json"])
    ),
}


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize(("times", "known"), [(1, True), (1, False), (10**9, True)])
def test_no_success_without_the_bytes(
    open_s3: OpenStore,
    bucket: LocalBucket,
    s3_proxy: FaultProxy,
    name: str,
    impostor: str,
    times: int,
    known: bool,
    tmp_path: Path,
) -> None:
    s3_proxy.check_sha256 = True
    plain = open_s3()
    plain.put(OLD, CONTENT)
    if known:
        plain.put("zrb.json", b"identity")
    body, headers = IMPOSTORS[impostor]
    use = USES[name]
    asked: list[Request] = []
    for nth in count():
        s3_proxy.heal()
        bucket.client().delete_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}")
        store = open_s3(endpoint=s3_proxy.endpoint, max_attempts=1, state_dir=tmp_path if known else None)
        if known:
            store.features()  # learnt by the first, read from the cache by all others
        s3_proxy.requests.clear()
        s3_proxy.impersonate(body, headers=headers, skip=nth, times=times)
        try:
            found = use.act(store)
        except EngineError:
            pass
        else:
            assert use.holds(found, bucket), f"{impostor} to request {nth}: {list(map(str, s3_proxy.requests))}"
        if len(s3_proxy.requests) <= nth:
            break
        asked.append(s3_proxy.requests[nth])
    assert asked, "at least one request was answered so"


@pytest.mark.parametrize("impostor", IMPOSTORS)
def test_nothing_false_is_learnt_about_the_endpoint(open_s3: OpenStore, s3_proxy: FaultProxy, impostor: str) -> None:
    s3_proxy.check_sha256 = True
    open_s3().put("zrb.json", b"identity")
    truth = open_s3(endpoint=s3_proxy.endpoint).features()
    body, headers = IMPOSTORS[impostor]
    for nth in count():
        s3_proxy.heal()
        s3_proxy.requests.clear()
        s3_proxy.impersonate(body, headers=headers, skip=nth, times=1)
        with suppress(EngineError):
            assert open_s3(endpoint=s3_proxy.endpoint, max_attempts=1).features() == truth
        if len(s3_proxy.requests) <= nth:
            break
    assert nth > 5


@pytest.mark.parametrize("impostor", IMPOSTORS)
@pytest.mark.parametrize("name", USES)
def test_where_nothing_else_answers_the_error_says_who(
    open_s3: OpenStore, s3_proxy: FaultProxy, name: str, impostor: str
) -> None:
    body, headers = IMPOSTORS[impostor]
    s3_proxy.impersonate(body, headers=headers)
    with pytest.raises(ForeignReply) as caught:
        USES[name].act(open_s3(endpoint=s3_proxy.endpoint, max_attempts=1))
    assert "portal" in caught.value.explain()
    assert s3_proxy.endpoint in caught.value.next_step


@pytest.mark.parametrize(
    "page",
    [
        b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>zfs-backups/x</Key></Contents></ListBucketResult>",
        b"<ListBucketResult><Contents><Key>elsewhere/x</Key><Size>1</Size></Contents></ListBucketResult>",
        b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken>"
        b"</ListBucketResult>",
    ],
)
def test_a_listing_that_makes_no_sense_is_refused(behind_proxy: S3Store, s3_proxy: FaultProxy, page: bytes) -> None:
    s3_proxy.impersonate(page, headers={"Content-Type": "application/xml"})
    with pytest.raises(ForeignReply):
        list(behind_proxy.list(""))


@pytest.mark.parametrize(
    "page",
    [
        b"<IsTruncated>true</IsTruncated>",
        b"<Upload><Key>elsewhere/x</Key><UploadId>1</UploadId></Upload>",
        b"<IsTruncated>true</IsTruncated><NextKeyMarker>again</NextKeyMarker>",
    ],
)
def test_uploads_that_make_no_sense_are_refused(behind_proxy: S3Store, s3_proxy: FaultProxy, page: bytes) -> None:
    body = b"<ListMultipartUploadsResult>" + page + b"</ListMultipartUploadsResult>"
    s3_proxy.impersonate(body, headers={"Content-Type": "application/xml"})
    with pytest.raises(ForeignReply):
        list(behind_proxy.uploads(""))


@pytest.mark.parametrize("composite", ["A" * 43 + "=-1", "A" * 43 + "="])
def test_a_composite_that_is_not_ours_is_damage(behind_proxy: S3Store, s3_proxy: FaultProxy, composite: str) -> None:
    begun = behind_proxy.open_upload(KEY, total_chunks=1)
    begun.put_chunk(0, 0, CONTENT)
    s3_proxy.impersonate(
        b"<CompleteMultipartUploadResult><ETag>'x-1'</ETag><ChecksumSHA256>"
        + composite.encode()
        + b"</ChecksumSHA256></CompleteMultipartUploadResult>",
        method="POST",
    )
    s3_proxy.impersonate(
        b"", headers={"ETag": "x-1", "x-amz-checksum-sha256": composite, "Content-Length": "1000"}, method="HEAD"
    )
    with pytest.raises(EngineError, match="other bytes"):
        begun.complete()


def test_an_object_of_another_length_is_damage(open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
    begun = open_s3(endpoint=s3_proxy.endpoint, checksums="off").open_upload(KEY, total_chunks=1)
    begun.put_chunk(0, 0, CONTENT)
    s3_proxy.impersonate(
        b"<CompleteMultipartUploadResult><ETag>no-md5</ETag></CompleteMultipartUploadResult>", method="POST"
    )
    s3_proxy.impersonate(b"", headers={"ETag": "no-md5", "Content-Length": "999"}, method="HEAD")
    with pytest.raises(EngineError, match="999 bytes"):
        begun.complete()
