# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one byte costs on its way to S3, and how it is signed."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.httpchecksum
import pytest
from zrb.store.s3 import S3Store
from zrb.store.s3_errors import DigestRefused

from tests.fakes.conformance_of_stores import CHUNK, KEY, some_bytes
from tests.fakes.s3_proxy import FaultProxy, Request
from tests.fakes.tls import self_signed
from tests.integration.s3_fixtures import S3Server
from tests.integration.store.conftest import OpenStore

pytestmark = pytest.mark.s3

Send = Callable[[S3Store, bytes, "bytes | None"], object]


def as_one_object(store: S3Store, content: bytes, sha256: bytes | None) -> None:
    store.put(KEY, content, sha256=sha256)


def as_a_chunk(store: S3Store, content: bytes, sha256: bytes | None) -> None:
    upload = store.open_upload(KEY, total_chunks=1)
    upload.put_chunk(0, 0, content, sha256=sha256)
    upload.complete()


SENDS = pytest.mark.parametrize("send", [as_one_object, as_a_chunk])


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of all that is given to a SHA-256 from now on, by this code and by botocore."""
    lengths: list[int] = []
    real = hashlib.sha256

    class Counting:
        def __init__(self, data: Any = b"", **kwargs: Any) -> None:
            self._real = real(**kwargs)
            self.update(data)

        def update(self, data: Any) -> None:
            lengths.append(len(data))
            self._real.update(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    for module in (hashlib, botocore.auth, botocore.httpchecksum):
        monkeypatch.setattr(module, "sha256", Counting)
    return lengths


def bodies(proxy: FaultProxy) -> list[Request]:
    return [request for request in proxy.requests if request.method == "PUT"]


@SENDS
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("tls", [True, False])
def test_no_byte_is_hashed_more_often_than_needed(
    s3_server: S3Server, open_s3: OpenStore, tmp_path: Path, hashed: list[int], send: Send, known: bool, tls: bool
) -> None:
    content = some_bytes(CHUNK)
    digest = hashlib.sha256(content).digest()
    certificate = self_signed(tmp_path)
    hashed.clear()
    with FaultProxy(s3_server.endpoint, certificate=certificate if tls else None) as proxy:
        store = open_s3(endpoint=proxy.endpoint, ca_bundle=str(certificate[0]) if tls else "")
        send(store, content, digest if known else None)
    bulk = [length for length in hashed if length > 10_000]
    assert sum(bulk) == (0 if known else len(content))


@SENDS
@pytest.mark.parametrize("checksums", ["auto", "off"])
def test_without_tls_the_signature_covers_the_bytes_of_every_attempt(
    open_s3: OpenStore, s3_proxy: FaultProxy, send: Send, checksums: str
) -> None:
    s3_proxy.answer(503, "SlowDown", method="PUT", times=2)
    content = some_bytes(300_000)
    send(open_s3(endpoint=s3_proxy.endpoint, max_attempts=3, checksums=checksums), content, None)
    sent = bodies(s3_proxy)
    assert [request.body == content for request in sent] == [True] * 3
    for request in sent:
        assert request.headers["x-amz-content-sha256"] == hashlib.sha256(content).hexdigest()
        assert "x-amz-content-sha256" in request.headers["authorization"]
        assert ("x-amz-checksum-sha256" in request.headers) is (checksums == "auto")


@SENDS
def test_with_tls_the_payload_is_not_signed_and_its_checksum_goes_along(
    s3_server: S3Server, open_s3: OpenStore, tmp_path: Path, send: Send
) -> None:
    certificate = self_signed(tmp_path)
    with FaultProxy(s3_server.endpoint, certificate=certificate) as proxy:
        proxy.answer(503, "SlowDown", method="PUT", times=1)
        send(open_s3(endpoint=proxy.endpoint, ca_bundle=str(certificate[0])), b"content", None)
    assert len(bodies(proxy)) == 2
    for request in bodies(proxy):
        assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        assert request.headers["x-amz-checksum-sha256"] == b64encode(hashlib.sha256(b"content").digest()).decode()


@SENDS
def test_the_hash_of_the_caller_is_what_is_sent(behind_proxy: S3Store, s3_proxy: FaultProxy, send: Send) -> None:
    """Even a wrong one: who hashed the bytes first answers for them, and the endpoint compares."""
    s3_proxy.check_sha256 = True
    wrong = hashlib.sha256(b"other").digest()
    with pytest.raises(DigestRefused):
        send(behind_proxy, b"content", wrong)
    (request,) = bodies(s3_proxy)
    assert request.headers["x-amz-content-sha256"] == wrong.hex()
    assert request.headers["x-amz-checksum-sha256"] == b64encode(wrong).decode()


def test_every_worker_keeps_its_connection(behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
    upload = behind_proxy.open_upload(KEY, total_chunks=None)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: upload.put_chunk(number, number * 100_000, bytes(100_000)), range(24)))
    assert len(bodies(s3_proxy)) == 24
    assert s3_proxy.connections <= 5
