# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The S3 store on a real S3 server that behaves."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import ObjectArchived, ObjectExists
from zrb.store.directory import DirectoryStore
from zrb.store.open_store import open_store
from zrb.store.s3 import S3Store
from zrb.values.config import Config, Limits, LocalSettings
from zrb.values.manifest import Checksum
from zrb.version import VERSION

from tests.fakes.conformance_of_stores import CHUNK, KEY, StoreConformance, read_all, some_bytes
from tests.fakes.s3_proxy import FaultProxy
from tests.integration.s3_fixtures import LocalBucket
from tests.integration.store.conftest import OpenStore

pytestmark = pytest.mark.s3


class TestS3Store(StoreConformance):
    """The suite, with the fixture ``store``."""

    knows_when_uploads_began = False


def sha256_text(content: bytes) -> str:
    return b64encode(hashlib.sha256(content).digest()).decode()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_where_it_is(store: S3Store, bucket: LocalBucket) -> None:
    assert store.kind == "s3"
    assert store.location == f"s3://{bucket.name}/zfs-backups/"


def test_a_single_put_has_the_sha256_of_its_bytes(store: S3Store) -> None:
    assert store.put(KEY, b"content") == Checksum("sha256", sha256_text(b"content"), md5(b"content"))


def test_a_multipart_upload_has_the_composite_of_its_chunks(store: S3Store) -> None:
    content = some_bytes(CHUNK + 1)
    upload = store.open_upload(KEY, total_chunks=2)
    upload.put_chunk(0, 0, content[:CHUNK])
    upload.put_chunk(1, CHUNK, content[CHUNK:])
    digests = hashlib.sha256(content[:CHUNK]).digest() + hashlib.sha256(content[CHUNK:]).digest()
    found = upload.complete()
    assert found == Checksum("sha256-composite", sha256_text(digests) + "-2", found.etag)
    assert [entry.checksum for entry in store.list(KEY)] == [Checksum("none", "", found.etag)]


def test_checksums_off_leaves_the_etag(open_s3: OpenStore) -> None:
    store = open_s3(checksums="off")
    for _ in range(2):
        assert store.put(KEY, b"content") == Checksum("none", "", md5(b"content"))
    upload = store.open_upload("data/other", total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    checksum = upload.complete()
    assert (checksum.kind, bool(checksum.etag)) == ("none", True)


def test_storage_classes_are_passed_on_and_told(store: S3Store) -> None:
    store.put("data/put", b"content", storage_class="STANDARD_IA")
    upload = store.open_upload("data/upload", total_chunks=1, storage_class="GLACIER_IR")
    upload.put_chunk(0, 0, b"content")
    upload.complete()
    assert [(entry.key, entry.storage_class) for entry in store.list("")] == [
        ("data/put", "STANDARD_IA"),
        ("data/upload", "GLACIER_IR"),
    ]
    head = store.head("data/upload")
    assert head is not None
    assert (head.storage_class, head.readable) == ("GLACIER_IR", True)


@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_objects_say_so_until_they_are_thawed(store: S3Store, bucket: LocalBucket, storage_class: str) -> None:
    store.put(KEY, b"content", storage_class=storage_class)
    head = store.head(KEY)
    assert head is not None
    assert (head.storage_class, head.readable, head.thawing) == (storage_class, False, False)
    assert [entry.readable for entry in store.list("")] == [False]
    with pytest.raises(ObjectArchived, match=r"InvalidObjectState.*Thaw"):
        store.get(KEY, limit=10)
    with pytest.raises(ObjectArchived):
        read_all(store, KEY, 7)
    bucket.client().restore_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}", RestoreRequest={"Days": 1})
    head = store.head(KEY)
    assert head is not None
    assert head.readable
    assert store.get(KEY, limit=10) == b"content"


def test_an_archived_object_is_proven_by_its_stored_checksum_alone(store: S3Store) -> None:
    store.put(KEY, b"content", storage_class="DEEP_ARCHIVE")
    assert store.put(KEY, b"content").kind == "sha256"
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert store.holds(KEY, size=7, sha256=sha256, expected=Checksum("none", "")) is not None
    with pytest.raises(ObjectExists, match="read back"):
        store.put(KEY, b"contenT")


@pytest.mark.parametrize("checksums", ["auto", "off"])
def test_an_archived_upload_is_proven_by_what_was_expected(open_s3: OpenStore, checksums: str) -> None:
    """The reply to the last request of a part may be lost, and a part in an archive class cannot be read back: what
    was foretold before it is all that can spare sending a month of parts again."""
    store = open_s3(checksums=checksums)
    content = some_bytes(CHUNK + 1)
    upload = store.open_upload(KEY, total_chunks=2, storage_class="DEEP_ARCHIVE")
    upload.put_chunk(1, CHUNK, content[CHUNK:])
    upload.put_chunk(0, 0, content[:CHUNK])
    expected = upload.expected_checksum()
    assert upload.complete() == expected
    sha256 = hashlib.sha256(content).hexdigest()
    assert store.holds(KEY, size=len(content), sha256=sha256, expected=expected) == expected
    for other in (Checksum("none", ""), Checksum(expected.kind, "0" * 32 + "-2", "0" * 32 + "-2")):
        with pytest.raises(ObjectExists, match="read back"):
            store.holds(KEY, size=len(content), sha256=sha256, expected=other)


def test_a_foreign_object_is_proven_by_etag_or_by_reading_it(store: S3Store, bucket: LocalBucket) -> None:
    bucket.client().put_object(Bucket=bucket.name, Key=f"zfs-backups/{KEY}", Body=b"content")
    assert store.put(KEY, b"content") == Checksum("none", "", md5(b"content"))
    sha256 = hashlib.sha256(b"content").hexdigest()
    assert store.holds(KEY, size=7, sha256=sha256, expected=Checksum("none", "")) is not None
    with pytest.raises(ObjectExists, match="content differs"):
        store.put(KEY, b"contenT")
    with pytest.raises(ObjectExists, match="7 bytes"):
        store.put(KEY, b"content!")


def test_folder_markers_of_consoles_are_not_listed(store: S3Store, bucket: LocalBucket) -> None:
    for name in ("zfs-backups/", "zfs-backups/data/", "elsewhere/x"):
        bucket.client().put_object(Bucket=bucket.name, Key=name, Body=b"")
    store.put("data/x", b"")
    assert [entry.key for entry in store.list("")] == ["data/x"]


def test_an_upload_of_a_dead_process_leaves_no_chunks(store: S3Store, bucket: LocalBucket) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    client = bucket.client()
    assert len(client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]) == 1
    store.abort_upload(KEY, upload.upload_id)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket.name)


def test_a_refused_upload_leaves_no_chunks(store: S3Store, bucket: LocalBucket) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    store.put(KEY, b"another")
    with pytest.raises(ObjectExists):
        upload.complete()
    assert "Uploads" not in bucket.client().list_multipart_uploads(Bucket=bucket.name)


def test_every_request_names_the_tool_and_the_expected_owner(open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
    store = open_s3(endpoint=s3_proxy.endpoint, expected_bucket_owner="123456789012")
    store.put("zrb.json", b"identity")
    store.put(KEY, b"content")
    store.put(KEY, b"content")
    upload = store.open_upload("data/upload", total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    upload.complete()
    store.abort_upload("data/gone", "gone")
    store.holds(KEY, size=7, sha256=hashlib.sha256(b"content").hexdigest(), expected=Checksum("none", ""))
    store.head("data/none")
    store.get(KEY, limit=10)
    read_all(store, KEY, 3)
    list(store.list(""))
    assert len(s3_proxy.requests) > 15
    for request in s3_proxy.requests:
        assert request.headers["x-amz-expected-bucket-owner"] == "123456789012", str(request)
        assert f"zrb/{VERSION}" in request.headers["user-agent"], str(request)


def test_every_write_is_conditional_and_carries_its_sha256(behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
    behind_proxy.put("manifests/x", b"content")
    upload = behind_proxy.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, b"content")
    upload.complete()
    writes = [request for request in s3_proxy.requests if request.method in {"PUT", "POST"}]
    put, create, chunk, complete = writes
    assert put.headers["if-none-match"] == complete.headers["if-none-match"] == "*"
    assert put.headers["x-amz-checksum-sha256"] == chunk.headers["x-amz-checksum-sha256"] == sha256_text(b"content")
    assert create.headers["x-amz-checksum-algorithm"] == "SHA256"
    assert not any("trailer" in name for request in writes for name in request.headers)


def test_the_configuration_chooses_the_storage(bucket: LocalBucket, tmp_path: Path) -> None:
    config = Config(
        base_dir=tmp_path, log_dir=tmp_path, host="nas1", recipients=(), signing_key=None, s3=bucket.settings,
        limits=Limits(workers=3),
    )  # fmt: skip
    with_bucket = open_store(config)
    with_bucket.put("zrb.json", b"identity")
    with_bucket.put(KEY, b"content")
    assert [entry.key for entry in with_bucket.list("")] == [KEY, "zrb.json"]
    assert [path.name[:9] for path in (tmp_path / "state").iterdir()] == ["endpoint-"]
    with_bucket.close()
    local = open_store(replace(config, s3=None, local=LocalSettings(path=tmp_path)))
    assert isinstance(local, DirectoryStore)
    assert local.location == str(tmp_path)
