# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What MinIO has and the other servers lack: policies, versions, Object Lock. And what may happen to any server: its
disk is full, it is killed, it has a certificate of its own CA."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from zrb.errors import PartMissing, StoreDenied, StoreFull, StoreUnavailable, TlsFailure
from zrb.run.backup import back_up
from zrb.run.cleanup import clean_up
from zrb.run.snapshot import take_snapshot
from zrb.run.validate.repository import repository_checks
from zrb.run.verify import DEPTHS
from zrb.stream.patience import Patience
from zrb.values.clock import utc_now
from zrb.values.config import MIB, S3Credentials, S3Settings
from zrb.values.retention import Retention

from tests.conftest import ROOT
from tests.fakes.fleet import DATASET
from tests.fakes.kill import at_store_call, dies_by_kill
from tests.fakes.tls import self_signed
from tests.integration.nas_fixtures import Nas
from tests.servers.programs import MINIO, PREFIX, Server, running
from tests.servers.served_fleet import ServedFleet

BUCKET = "my-backup-bucket"
"""Of the policies in docs/policies, which are used as they are."""
RECORD = "manifests/nas1/tank/data/retired-0001-0123456789abcdef.record"


@pytest.fixture
def own_minio() -> Iterator[Server]:
    """A MinIO of the test's own."""
    if not MINIO.program.exists():
        pytest.skip("minio cannot be had here")
    with running(MINIO) as server:
        yield server


# --- policies ---


@pytest.fixture
def versioned(own_minio: Server) -> Server:
    """A MinIO with the bucket that the policies name. It keeps versions."""
    client = own_minio.client()
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return own_minio


def limited_to(policy: str, server: Server) -> S3Credentials:
    """Credentials that have the rights which a file in docs/policies gives, and no other."""
    document = (ROOT / "docs" / "policies" / f"{policy}.json").read_text(encoding="utf-8")
    arn = "arn:aws:iam::123456789012:role/zrbtest"
    reply = server.client("sts").assume_role(RoleArn=arn, RoleSessionName="zrbtest", Policy=document)
    given = reply["Credentials"]
    return S3Credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


def with_policy(server: Server, policy: str) -> S3Settings:
    """The bucket, with the rights of ``policy``."""
    return replace(server.settings(BUCKET), credentials=limited_to(policy, server))


def _begin_upload(client: Any) -> None:
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="nas/data/new")
    client.abort_multipart_upload(Bucket=BUCKET, Key="nas/data/new", UploadId=upload["UploadId"])


def _delete_version(client: Any, version: str) -> None:
    client.delete_object(Bucket=BUCKET, Key="nas/data/old", VersionId=version)


def _archive(client: Any) -> None:
    rule = {"ID": "all", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})


ACTIONS: dict[str, Callable[[Any, str], object]] = {
    "list": lambda client, _: client.list_objects_v2(Bucket=BUCKET, Prefix="nas/data/"),
    "list elsewhere": lambda client, _: client.list_objects_v2(Bucket=BUCKET),
    "read": lambda client, _: client.get_object(Bucket=BUCKET, Key="nas/data/old"),
    "read elsewhere": lambda client, _: client.get_object(Bucket=BUCKET, Key="other/data/old"),
    "write": lambda client, _: client.put_object(Bucket=BUCKET, Key="nas/data/new", Body=b"new"),
    "write a record": lambda client, _: client.put_object(Bucket=BUCKET, Key=f"{PREFIX}{RECORD}", Body=b"new"),
    "write elsewhere": lambda client, _: client.put_object(Bucket=BUCKET, Key="other/data/new", Body=b"new"),
    "upload and abort": lambda client, _: _begin_upload(client),
    "list uploads": lambda client, _: client.list_multipart_uploads(Bucket=BUCKET, Prefix="nas/data/"),
    "delete": lambda client, _: client.delete_object(Bucket=BUCKET, Key="nas/data/old"),
    "delete the identity": lambda client, _: client.delete_object(Bucket=BUCKET, Key="nas/zrb.json"),
    "delete elsewhere": lambda client, _: client.delete_object(Bucket=BUCKET, Key="other/data/old"),
    "delete a version": _delete_version,
    "delete the bucket": lambda client, _: client.delete_bucket(Bucket=BUCKET),
    "set lifecycle rules": lambda client, _: _archive(client),
    "switch versioning off": lambda client, _: client.put_bucket_versioning(
        Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "set a policy": lambda client, _: client.put_bucket_policy(Bucket=BUCKET, Policy='{"Version": "2012-10-17"}'),
}
ALLOWED = {
    "writer": {"list", "read", "write", "upload and abort"},
    "reader": {"list", "read"},
    "cleaner": {"list", "read", "write a record", "list uploads", "delete"},
}


@pytest.mark.parametrize("policy", ALLOWED)
def test_a_policy_allows_what_it_is_for_and_nothing_else(versioned: Server, policy: str) -> None:
    owner = versioned.client()
    keys = ("nas/data/old", "other/data/old", "nas/zrb.json")
    versions = {key: owner.put_object(Bucket=BUCKET, Key=key, Body=b"old")["VersionId"] for key in keys}
    client = versioned.client(credentials=limited_to(policy, versioned))
    found = set()
    for name, act in ACTIONS.items():
        try:
            act(client, versions["nas/data/old"])
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", f"{name}: {error}"
        else:
            found.add(name)
    assert found == ALLOWED[policy]
    for key, version in versions.items():
        assert owner.get_object(Bucket=BUCKET, Key=key, VersionId=version)["Body"].read() == b"old", "a version stays"


def test_the_writer_backs_up_and_resumes(versioned: Server, tmp_path: Path) -> None:
    fleet = ServedFleet(tmp_path, settings=with_policy(versioned, "writer"))
    fleet.back_up(0)
    assert [check for check in repository_checks(fleet.context(clock=utc_now)) if check.status == "error"] == []
    fleet.write_more()
    fleet.task = replace(fleet.task, take_snapshot=False)
    take_snapshot(fleet.context(), task=fleet.task, level=1)
    dying = at_store_call(fleet.context(), "put_chunk", when="after", key_part="level1")
    assert dies_by_kill(lambda: back_up(dying, task=fleet.task, level=1))
    fleet.back_up(1)
    fleet.verify("decrypt")
    assert fleet.progress.warnings == []
    assert "Uploads" not in versioned.client().list_multipart_uploads(Bucket=BUCKET)


def test_the_writer_cannot_make_a_backup_vanish(versioned: Server, tmp_path: Path) -> None:
    """It can write over an object, as S3 has no right to create alone: the version before stays."""
    fleet = ServedFleet(tmp_path, settings=with_policy(versioned, "writer"))
    part = fleet.parts(fleet.back_up(0).manifest)[0]
    writer = versioned.client(credentials=fleet.settings.credentials)
    writer.put_object(Bucket=BUCKET, Key=PREFIX + part.key, Body=b"encrypted by somebody else")
    fleet.verify("exists", exit_code=5)
    owner = versioned.client()
    versions = owner.list_object_versions(Bucket=BUCKET, Prefix=PREFIX + part.key)["Versions"]
    (newest,) = (version["VersionId"] for version in versions if version["IsLatest"])
    owner.delete_object(Bucket=BUCKET, Key=PREFIX + part.key, VersionId=newest)
    fleet.verify("decrypt")


@pytest.mark.parametrize("policy", ["reader", "cleaner"])
def test_who_may_not_write_verifies_and_restores(versioned: Server, tmp_path: Path, policy: str) -> None:
    fleet = ServedFleet(tmp_path, settings=versioned.settings(BUCKET))
    manifest = fleet.back_up(0).manifest
    before = [entry.key for entry in fleet.store.list("")]
    fleet.use(with_policy(versioned, policy))
    for depth in DEPTHS:
        fleet.verify(depth)
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
    error = fleet.fail(0)
    assert isinstance(error, StoreDenied)
    assert "s3:PutObject" in error.next_step
    fleet.use(versioned.settings(BUCKET))
    assert [entry.key for entry in fleet.store.list("")] == before
    assert [found.backup_id for found in fleet.manifests()] == [manifest.backup_id]


def test_the_cleaner_cleans_up_and_the_writer_cannot(versioned: Server, tmp_path: Path) -> None:
    fleet = ServedFleet(tmp_path, settings=with_policy(versioned, "writer"))
    fleet.change_config(tasks=(fleet.task,), retention=Retention(keep_last=1))
    old = fleet.back_up(0).manifest
    fleet.write_more()
    new = fleet.back_up(0).manifest
    refused = clean_up(fleet.context(clock=utc_now))
    assert [type(error) for _series, error in refused.failures] == [StoreDenied]
    assert "s3:PutObject" in refused.failures[0][1].next_step, "it cannot even retire one"
    assert old in fleet.manifests()
    assert any(old.backup_id in entry.key for entry in fleet.store.list(""))
    fleet.use(with_policy(versioned, "cleaner"))
    done = clean_up(fleet.context(clock=utc_now))
    assert (done.failures, done.plan.refused, done.exit_code) == ((), (), 4)
    assert "older versions" in done.warnings[0]
    assert not any(old.backup_id in entry.key for entry in fleet.store.list(""))
    fleet.use(versioned.settings(BUCKET))
    assert [found.backup_id for found in fleet.manifests()] == [new.backup_id]
    fleet.verify("decrypt")


# --- versions that nobody can delete ---


def locked_bucket(server: Server) -> S3Settings:
    """A bucket in which nobody can delete a version before it is a day old."""
    settings = server.new_bucket(ObjectLockEnabledForBucket=True)
    server.client().put_object_lock_configuration(
        Bucket=settings.bucket,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}},
        },
    )
    return settings


def test_a_cleanup_sees_until_when_a_backup_is_locked(own_minio: Server, tmp_path: Path) -> None:
    fleet = ServedFleet(tmp_path, settings=locked_bucket(own_minio))
    fleet.change_config(tasks=(fleet.task,), retention=Retention(keep_last=1))
    begun = utc_now()
    for _ in range(2):
        fleet.back_up(0)
    outcome = clean_up(fleet.context(clock=utc_now))
    old, _new = outcome.plan.series[0].backups
    assert (outcome.removed, old.fate, old.obstacle) == ((), "later", "object_lock")
    assert old.until
    assert begun + timedelta(days=1) <= old.until <= utc_now() + timedelta(days=1, minutes=1)


def test_what_is_locked_stays_whatever_the_owner_does(own_minio: Server, tmp_path: Path) -> None:
    client = own_minio.client()
    settings = locked_bucket(own_minio)
    fleet = ServedFleet(tmp_path, settings=settings)
    fleet.back_up(0)
    checks = {check.name: check for check in repository_checks(fleet.context(clock=utc_now))}
    assert checks["versioning"].status == checks["object_lock"].status == "ok"
    assert "COMPLIANCE, 1 days" in checks["object_lock"].message
    markers = []
    for entry in list(fleet.store.list("")):
        place = {"Bucket": settings.bucket, "Key": PREFIX + entry.key}
        version = client.head_object(**place)["VersionId"]
        with pytest.raises(ClientError, match=r"(?i)protected"):
            client.delete_object(**place, VersionId=version)
        if "snapshot.part" in entry.key:
            markers.append(place | {"VersionId": client.delete_object(**place)["VersionId"]})
    report = fleet.verify("exists", exit_code=5)
    assert {type(problem.error) for problem in report.problems} == {PartMissing}
    for marker in markers:
        client.delete_object(**marker)
    fleet.write_more()
    fleet.back_up(1)
    fleet.verify("decrypt")
    fleet.restore()


# --- accidents ---


def test_a_server_that_is_killed_and_comes_back_is_waited_for(own_minio: Server, tmp_path: Path) -> None:
    fleet = ServedFleet(tmp_path, settings=own_minio.new_bucket())
    away, back = threading.Event(), threading.Event()

    def tell(message: str) -> None:
        (back if "again" in message and "is away" not in message else away).set()

    def wait_a_little(_pause_s: float, end: Any) -> bool:
        return bool(end.wait(0.2))

    killing = _before_each_chunk(fleet, killed_before_chunk(own_minio, 3))
    with ThreadPoolExecutor(1) as pool:
        running_backup = pool.submit(
            fleet.back_up, 0, patience=Patience(120, tell=tell, pause=wait_a_little), open_store=killing
        )
        while not away.wait(0.1):
            assert not running_backup.done(), running_backup.result()
        own_minio.start()
        result = running_backup.result()
    assert back.is_set()
    assert result.parts_resumed == 0
    fleet.verify("decrypt")
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
    assert "Uploads" not in own_minio.client().list_multipart_uploads(Bucket=fleet.settings.bucket)


def test_a_server_that_does_not_come_back_is_told_and_the_next_run_resumes(own_minio: Server, tmp_path: Path) -> None:
    fleet = ServedFleet(tmp_path, settings=own_minio.new_bucket())
    fleet.change_limits(workers=1)
    error = fleet.fail(0, open_store=_before_each_chunk(fleet, killed_before_chunk(own_minio, 3)))
    assert isinstance(error, StoreUnavailable)
    assert own_minio.endpoint in error.explain()
    own_minio.start()
    assert fleet.back_up(0).parts_resumed == 1
    fleet.verify("decrypt")


def killed_before_chunk(server: Server, number: int) -> Callable[[], None]:
    """Counts chunks, and kills ``server`` at that one."""
    numbers = count()

    def act() -> None:
        if next(numbers) == number:
            server.kill()

    return act


def _before_each_chunk(fleet: ServedFleet, act: Callable[[], object]) -> Callable[[], Any]:
    """Opens the store of ``fleet`` so that ``act`` is called before each chunk is uploaded."""
    lock = threading.Lock()

    def open_store() -> Any:
        store = fleet.context().open_store()
        open_upload = store.open_upload

        def opened(*arguments: Any, **options: Any) -> Any:
            upload = open_upload(*arguments, **options)
            put_chunk = upload.put_chunk

            def put(*chunk: Any, **more: Any) -> None:
                with lock:
                    act()
                put_chunk(*chunk, **more)

            upload.put_chunk = put
            return upload

        store.open_upload = opened  # type: ignore[method-assign]
        return store

    return open_store


@contextmanager
def small_disk(place: Path, size_bytes: int) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "zrbtest", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_said_to_be_and_the_next_run_resumes(tmp_path: Path) -> None:
    if not MINIO.program.exists():
        pytest.skip("minio cannot be had here")
    with small_disk(tmp_path / "disk", 160 * MIB) as disk, running(MINIO, data=disk) as server:
        fleet = ServedFleet(tmp_path, settings=server.new_bucket())
        filler = disk / "filler"
        filler.write_bytes(bytes(145 * MIB))
        error = fleet.fail(0)
        assert isinstance(error, StoreFull), error.explain()
        assert "space" in error.next_step
        assert fleet.manifests() == []
        filler.unlink()
        server.kill()  # it remembers for a while how much room there was
        server.start()
        fleet.back_up(0)
        fleet.verify("decrypt")


def test_a_certificate_of_our_own_ca(tmp_path: Path) -> None:
    if not MINIO.program.exists():
        pytest.skip("minio cannot be had here")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    certificate, key = self_signed(ours)
    other, _ = self_signed(theirs)
    (ours / "public.crt").write_bytes(certificate.read_bytes())
    (ours / "private.key").write_bytes(key.read_bytes())
    with running(MINIO, scheme="https", more=["--certs-dir", str(ours)], ca_bundle=str(certificate)) as server:
        right = server.new_bucket()
        fleet = ServedFleet(tmp_path, settings=right)
        fleet.back_up(0)
        fleet.verify("decrypt")
        fleet.restore()
        for bundle, words in (("", "Set ca_bundle"), (str(other), f"Check that {other}")):
            fleet.use(replace(right, ca_bundle=bundle))
            with pytest.raises(TlsFailure, match=words):
                fleet.run(1)
        fleet.use(replace(right, endpoint=right.endpoint.replace("https:", "http:")))
        with pytest.raises(StoreUnavailable, match="https://"):
            fleet.run(1)


# --- with a real ZFS ---


@pytest.mark.zfs
def test_files_go_out_and_come_back(make_nas: Callable[..., Nas], minio: Server) -> None:
    from tests.fixtures.file_tree import change_tree, describe_tree, make_tree

    nas = make_nas({"s3": minio.new_bucket()})
    make_tree(nas.dataset.mountpoint, seed=1, files=40, big_bytes=13 * MIB)
    nas.back_up(0)
    change_tree(nas.dataset.mountpoint, 1)
    nas.back_up(1)
    expected = describe_tree(nas.dataset.mountpoint)
    nas.restore()
    nas.assert_restored(nas.target(), expected)
