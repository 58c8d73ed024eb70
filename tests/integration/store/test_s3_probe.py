# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Learning what an endpoint does, and remembering it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from zrb.errors import StoreUnavailable
from zrb.store.s3 import S3Store
from zrb.store.s3_endpoint_features import EndpointFeatures
from zrb.store.s3_probe import EndpointProbe
from zrb.store.s3_session import S3Session

from tests.fakes.s3_proxy import FaultProxy
from tests.integration.s3_fixtures import LocalBucket
from tests.integration.store.conftest import OpenStore

pytestmark = pytest.mark.s3

IDENTITY = b'{"format":1}'
MOTO = EndpointFeatures(
    conditional_writes=True, checksum_rejected=False, checksum_stored=False, content_md5_checked=False
)


@pytest.fixture
def with_identity(bucket: LocalBucket, store: S3Store) -> LocalBucket:
    store.put("zrb.json", IDENTITY)
    return bucket


def test_the_local_server_is_what_it_is(with_identity: LocalBucket, store: S3Store) -> None:
    assert store.features() == MOTO


def test_a_server_that_checks_everything(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.check_sha256 = s3_proxy.check_md5 = True
    assert behind_proxy.features() == EndpointFeatures(True, True, True, True)


def test_a_server_that_ignores_everything(bucket: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
    s3_proxy.drop_request_headers = ("if-none-match", "x-amz-checksum-*", "x-amz-sdk-checksum-*", "content-md5")
    behind_proxy.put("zrb.json", IDENTITY)
    assert behind_proxy.features() == EndpointFeatures(False, False, False, False)


def test_a_server_that_refuses_the_headers(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.answer(501, "NotImplemented", method="POST", path="*?uploads", times=1)
    s3_proxy.answer(501, "NotImplemented", method="PUT", path="*/zrb.json")
    features = behind_proxy.features()
    assert (features.conditional_writes, features.checksum_rejected) == (False, False)


def test_a_server_that_returns_what_it_was_sent_keeps_no_checksum(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    """The local server returns the SHA-256 that came with the object, and so takes a wrong one."""
    head = behind_proxy.head("zrb.json")
    assert head is not None
    assert head.checksum.kind == "sha256"
    assert behind_proxy.features().checksum_stored is False


def test_an_abort_that_deletes_the_object_costs_no_identity(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    """As S3Mock does: what it deletes is what the trial was opened for."""
    behind_proxy.features()
    aborted = {request.path.partition("?")[0] for request in s3_proxy.requests if request.method == "DELETE"}
    assert aborted == {f"/{with_identity.name}/zfs-backups/zrb.trial"}
    opened = [request.path for request in s3_proxy.requests if request.method == "POST"]
    assert opened
    assert not any("zrb.json" in path for path in opened)


def test_learning_writes_nothing_new(with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
    client = with_identity.client()
    before = client.list_objects_v2(Bucket=with_identity.name)["Contents"]
    behind_proxy.features()
    assert client.list_objects_v2(Bucket=with_identity.name)["Contents"] == before
    assert "Uploads" not in client.list_multipart_uploads(Bucket=with_identity.name)
    assert {request.path.partition("?")[0] for request in s3_proxy.requests} == {
        f"/{with_identity.name}/zfs-backups/{name}" for name in ("zrb.json", "zrb.trial")
    }


def test_learning_where_the_condition_is_ignored_keeps_the_identity(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.check_sha256 = True
    s3_proxy.drop_request_headers = ("if-none-match",)
    assert behind_proxy.features().conditional_writes is False
    assert behind_proxy.get("zrb.json", limit=100) == IDENTITY
    assert behind_proxy.put("zrb.json", IDENTITY).kind == "sha256", "its checksum is still there, too"


def test_nothing_is_known_before_there_is_a_repository(behind_proxy: S3Store, s3_proxy: FaultProxy) -> None:
    assert behind_proxy.features() == EndpointFeatures()
    behind_proxy.put("zrb.json", IDENTITY)
    assert behind_proxy.features() == MOTO, "and it is learnt as soon as there is one"


def test_what_may_not_be_tried_stays_unknown_and_is_not_tried_again(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    s3_proxy.answer(403, "AccessDenied", method="P*")
    assert behind_proxy.features() == EndpointFeatures()
    requests = len(s3_proxy.requests)
    behind_proxy.features()
    assert len(s3_proxy.requests) == requests


def test_an_identity_that_may_not_be_read_leaves_all_unknown(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.answer(403, "AccessDenied", method="GET")
    assert behind_proxy.features() == EndpointFeatures()
    s3_proxy.heal()
    assert behind_proxy.features(fresh=True) == MOTO


def test_an_identity_that_is_none_leaves_all_unknown(bucket: LocalBucket, store: S3Store) -> None:
    bucket.client().put_object(Bucket=bucket.name, Key="zfs-backups/zrb.json", Body=bytes(70_000))
    assert store.features() == EndpointFeatures()


def test_an_endpoint_that_is_down_is_an_error_and_teaches_nothing(
    with_identity: LocalBucket, behind_proxy: S3Store, s3_proxy: FaultProxy
) -> None:
    s3_proxy.answer(503, "SlowDown", method="PUT")
    with pytest.raises(StoreUnavailable):
        behind_proxy.features()
    s3_proxy.heal()
    assert behind_proxy.features() == MOTO


class TestCache:
    def test_a_later_process_asks_nothing(
        self, with_identity: LocalBucket, open_s3: OpenStore, s3_proxy: FaultProxy, tmp_path: Path
    ) -> None:
        first = open_s3(endpoint=s3_proxy.endpoint, state_dir=tmp_path / "state")
        assert first.features() == MOTO
        s3_proxy.requests.clear()
        second = open_s3(endpoint=s3_proxy.endpoint, state_dir=tmp_path / "state")
        assert second.features() == MOTO
        assert s3_proxy.requests == []
        assert second.features(fresh=True) == MOTO
        assert s3_proxy.requests != []

    def test_each_endpoint_and_bucket_has_its_own(
        self, with_identity: LocalBucket, open_s3: OpenStore, s3_proxy: FaultProxy, tmp_path: Path
    ) -> None:
        open_s3(state_dir=tmp_path).features()
        open_s3(endpoint=s3_proxy.endpoint, state_dir=tmp_path).features()
        records = sorted(tmp_path.iterdir())
        assert len(records) == 2
        assert json.loads(records[0].read_bytes())["features"]["conditional_writes"] is True

    @pytest.mark.parametrize(
        "record",
        [
            b"",
            b"[]",
            b'{"time":"2026-01-01T00:00:00+00:00"}',
            b'{"time":"2026-01-01T00:00:00","features":{}}',
            b'{"time":"2026-01-01T00:00:00+00:00","features":{"conditional_writes":"yes","checksum_rejected":true,'
            b'"checksum_stored":true,"content_md5_checked":true}}',
        ],
    )
    def test_a_damaged_record_is_learnt_again(
        self, with_identity: LocalBucket, open_s3: OpenStore, tmp_path: Path, record: bytes
    ) -> None:
        open_s3(state_dir=tmp_path).features()
        path = next(tmp_path.iterdir())
        path.write_bytes(record)
        assert open_s3(state_dir=tmp_path).features() == MOTO
        assert path.read_bytes() != record

    @pytest.mark.parametrize(("days", "asked"), [(29, False), (31, True), (-1, True)])
    def test_an_old_record_and_one_from_the_future_are_learnt_again(
        self,
        with_identity: LocalBucket,
        s3_proxy: FaultProxy,
        open_s3: OpenStore,
        tmp_path: Path,
        days: int,
        asked: bool,
    ) -> None:
        now = datetime(2026, 1, 31, tzinfo=UTC)
        session: S3Session = open_s3(endpoint=s3_proxy.endpoint)._session
        EndpointProbe(session, state_dir=tmp_path, clock=lambda: now).features()
        s3_proxy.requests.clear()
        EndpointProbe(session, state_dir=tmp_path, clock=lambda: now + timedelta(days=days)).features()
        assert bool(s3_proxy.requests) is asked

    def test_a_state_directory_that_cannot_be_written_costs_only_the_cache(
        self, with_identity: LocalBucket, open_s3: OpenStore, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_bytes(b"")
        assert open_s3(state_dir=tmp_path / "file" / "state").features() == MOTO
