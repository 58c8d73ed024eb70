# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users read when the bucket cannot be reached, seen, or trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import (
    ClockSkewed,
    ForeignReply,
    NoSuchRepository,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    TlsFailure,
    WrongRegion,
)
from zrb.store.bucket_settings import BucketLifecycle
from zrb.store.s3 import S3Store
from zrb.store.s3_errors import CredentialsRefused, S3Refused
from zrb.store.s3_session import S3Session

from tests.fakes.conformance_of_stores import KEY
from tests.fakes.s3_proxy import FaultProxy
from tests.fakes.tls import self_signed
from tests.integration.s3_fixtures import LocalBucket, S3Server
from tests.integration.store.conftest import OpenStore
from tests.integration.store.test_s3_impostors import USES

pytestmark = pytest.mark.s3

OTHER_USES: dict[str, Callable[[S3Store], object]] = {
    "abort": lambda store: store.abort_upload(KEY, "x"),
    "features": lambda store: store.features(),
    "bucket": lambda store: store._session.call("head_bucket"),
    "lifecycle": lambda store: BucketLifecycle(store._session).read(),
}


class TestBuckets:
    def test_one_that_does_not_exist(self, open_s3: OpenStore) -> None:
        store = open_s3(bucket="zrbtest-none")
        for call in (
            lambda: list(store.list("")),
            lambda: store.put(KEY, b""),
            lambda: store.head(KEY),
            lambda: store.get(KEY, limit=1),
            lambda: store.open_upload(KEY, total_chunks=1),
        ):
            with pytest.raises(NoSuchRepository, match="zrbtest-none"):
                call()

    def test_a_bucket_is_looked_for_once(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        for _ in range(2):
            assert behind_proxy.head(KEY) is None
        assert s3_proxy.count("HEAD", f"/{bucket.name}") == 1

    def test_one_that_may_not_be_looked_at_exists(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, bucket: LocalBucket
    ) -> None:
        s3_proxy.answer(403, "AccessDenied", method="HEAD", path=f"/{bucket.name}")
        assert behind_proxy.head(KEY) is None

    def test_one_in_another_region(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(400, "AuthorizationHeaderMalformed", more="<Region>eu-west-1</Region>")
        with pytest.raises(WrongRegion, match="eu-west-1"):
            list(behind_proxy.list(""))

    @pytest.mark.parametrize(
        ("status", "code", "headers", "more"),
        [
            (400, "AuthorizationHeaderMalformed", {}, "<Region>eu-west-1</Region>"),
            (400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": "eu-west-1"}, ""),
            (301, "PermanentRedirect", {"x-amz-bucket-region": "eu-west-1"}, "<Endpoint>elsewhere</Endpoint>"),
            (307, "TemporaryRedirect", {"x-amz-bucket-region": "eu-west-1"}, ""),
        ],
    )
    @pytest.mark.parametrize("use", [*USES, *OTHER_USES])
    def test_every_operation_names_the_region_of_the_bucket(
        self,
        behind_proxy: S3Store,
        s3_proxy: FaultProxy,
        use: str,
        status: int,
        code: str,
        headers: dict[str, str],
        more: str,
    ) -> None:
        s3_proxy.answer(status, code, headers=headers, more=more)
        act = USES[use].act if use in USES else OTHER_USES[use]
        with pytest.raises(WrongRegion, match="eu-west-1"):
            act(behind_proxy)
        assert len(s3_proxy.requests) <= 3, "nothing is followed"

    def test_one_that_nobody_may_ask_about_is_no_missing_object(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy
    ) -> None:
        """versitygw answers a wrong access key with 404."""
        s3_proxy.answer(404, "XAdminUserNotFound")
        for act in (use.act for use in USES.values()):
            with pytest.raises(CredentialsRefused):
                act(behind_proxy)

    def test_a_404_that_says_something_else_is_no_missing_object(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy
    ) -> None:
        s3_proxy.answer(404, "NoSuchTenant")
        for act in (use.act for use in USES.values()):
            with pytest.raises(S3Refused, match="NoSuchTenant"):
                act(behind_proxy)

    def test_one_that_is_full(self, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
        s3_proxy.answer(507, "XMinioStorageFull", method="PUT")
        with pytest.raises(StoreFull, match="Free space"):
            behind_proxy.put(KEY, b"content")


class TestLooksThatAreRefused:
    """A HEAD has no body: the reason is asked for once more."""

    @pytest.mark.parametrize(
        ("status", "code", "kind", "words"),
        [
            (403, "AccessDenied", StoreDenied, "s3:GetObject"),
            (400, "ExpiredToken", StoreDenied, "ExpiredToken"),
            (403, "RequestTimeTooSkewed", ClockSkewed, "clock"),
            (403, "InvalidAccessKeyId", StoreDenied, "InvalidAccessKeyId"),
        ],
    )
    def test_the_reason_is_told(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, status: int, code: str, kind: type[Exception], words: str
    ) -> None:
        s3_proxy.answer(status, code)
        with pytest.raises(kind, match=words):
            behind_proxy.head(KEY)

    def test_a_refusal_without_a_reason_is_told_as_it_is(
        self, open_s3: OpenStore, store: S3Store, s3_proxy: FaultProxy
    ) -> None:
        store.put(KEY, b"content")
        s3_proxy.answer(403, "AccessDenied", method="HEAD")
        behind = open_s3(endpoint=s3_proxy.endpoint, max_attempts=1, expected_bucket_owner="123456789012")
        with pytest.raises(StoreDenied, match="HeadObject of data/"):
            behind.head(KEY)
        assert s3_proxy.requests[-1].headers["range"] == "bytes=0-0"


class TestTls:
    def test_a_certificate_of_an_unknown_ca_is_refused(
        self, s3_server: S3Server, open_s3: OpenStore, tmp_path: Path
    ) -> None:
        with FaultProxy(s3_server.endpoint, certificate=self_signed(tmp_path)) as proxy:
            store = open_s3(endpoint=proxy.endpoint, max_attempts=1)
            with pytest.raises(TlsFailure, match=r"(?s)CERTIFICATE_VERIFY_FAILED.*ca_bundle"):
                store.put(KEY, b"content")
        assert proxy.requests == []

    def test_its_own_ca_bundle_makes_it_trusted(self, s3_server: S3Server, open_s3: OpenStore, tmp_path: Path) -> None:
        certificate = self_signed(tmp_path)
        with FaultProxy(s3_server.endpoint, certificate=certificate) as proxy:
            store = open_s3(endpoint=proxy.endpoint, ca_bundle=str(certificate[0]))
            store.put(KEY, b"content")
            assert store.get(KEY, limit=10) == b"content"

    def test_another_ca_bundle_does_not(self, s3_server: S3Server, open_s3: OpenStore, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        other, _ = self_signed(tmp_path / "other")
        with FaultProxy(s3_server.endpoint, certificate=self_signed(tmp_path)) as proxy:
            store = open_s3(endpoint=proxy.endpoint, ca_bundle=str(other), max_attempts=1)
            with pytest.raises(TlsFailure, match=f"{other}"):
                store.head(KEY)

    @pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
    def test_validation_can_be_switched_off_by_a_caller(
        self, s3_server: S3Server, bucket: LocalBucket, tmp_path: Path
    ) -> None:
        with FaultProxy(s3_server.endpoint, certificate=self_signed(tmp_path)) as proxy:
            session = S3Session(replace(bucket.settings, endpoint=proxy.endpoint, validate_certs=False))
            session.call("head_bucket")
            session.close()

    def test_https_where_http_is_spoken_is_told(self, open_s3: OpenStore, s3_proxy: FaultProxy) -> None:
        store = open_s3(endpoint=s3_proxy.endpoint.replace("http:", "https:"), max_attempts=1)
        with pytest.raises(TlsFailure, match="TLS"):
            store.head(KEY)

    @pytest.mark.parametrize("operation", ["put", "list", "head"])
    def test_http_where_tls_is_spoken_is_told(
        self, s3_server: S3Server, open_s3: OpenStore, tmp_path: Path, operation: str
    ) -> None:
        with FaultProxy(s3_server.endpoint, certificate=self_signed(tmp_path)) as proxy:
            store = open_s3(endpoint=proxy.endpoint.replace("https:", "http:"), max_attempts=1)
            with pytest.raises(StoreUnavailable, match="https://"):
                USES[operation].act(store)

    @pytest.mark.parametrize("operation", ["put", "list", "head", "get"])
    def test_a_server_that_explains_it_and_hangs_up(
        self, open_s3: OpenStore, s3_proxy: FaultProxy, operation: str
    ) -> None:
        """As Go's does: an error whose body breaks off."""
        s3_proxy.impersonate(b"Client sent an HTTP request", status=400, promised=48)
        with pytest.raises(StoreUnavailable, match="https://"):
            USES[operation].act(open_s3(endpoint=s3_proxy.endpoint, max_attempts=1))


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("use", [*USES, *OTHER_USES])
    def test_a_portal_that_redirects_is_not_followed(
        self, behind_proxy: S3Store, s3_proxy: FaultProxy, use: str, status: int
    ) -> None:
        s3_proxy.impersonate(b"<html>", status=status, headers={"Location": f"{s3_proxy.endpoint}/portal"})
        act = USES[use].act if use in USES else OTHER_USES[use]
        with pytest.raises(ForeignReply, match="portal"):
            act(behind_proxy)
        assert len(s3_proxy.requests) <= 3
