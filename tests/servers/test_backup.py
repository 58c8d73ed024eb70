# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs on servers of others: backup, kill, resume, verify, restore."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from zrb.errors import EngineError, StoreDenied, WrongRegion
from zrb.run.backup import back_up
from zrb.run.snapshot import take_snapshot
from zrb.run.validate.repository import repository_checks
from zrb.run.verify import DEPTHS
from zrb.values.clock import utc_now
from zrb.values.config import S3Settings

from tests.fakes.fleet import DATASET
from tests.fakes.kill import at_store_call, dies_by_kill
from tests.servers.programs import S3RVER, Server
from tests.servers.served_fleet import ServedFleet


@pytest.fixture
def fleet(tmp_path: Path, bucket: S3Settings) -> ServedFleet:
    """A NAS that backs up to each server."""
    return ServedFleet(tmp_path, settings=bucket)


def unfinished_uploads(server: Server, bucket: S3Settings) -> list[str]:
    """Keys of uploads that were neither completed nor aborted; none if the server cannot list them."""
    try:
        reply = server.client().list_multipart_uploads(Bucket=bucket.bucket)
    except ClientError as error:
        assert server.kind is S3RVER, error
        return []
    return [upload["Key"] for upload in reply.get("Uploads", ())]


def test_levels_go_out_and_come_back(fleet: ServedFleet, server: Server, bucket: S3Settings) -> None:
    first = fleet.zfs.content(DATASET)
    fleet.back_up(0)
    last = fleet.write_more()
    fleet.back_up(1)
    for depth in DEPTHS:
        fleet.verify(depth)
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == last
    fleet.restore("tank/restore/first", level=0)
    assert fleet.zfs.content("tank/restore/first") == first
    assert unfinished_uploads(server, bucket) == []


@pytest.mark.parametrize(
    ("call", "when"), [("put_chunk", "before"), ("put_chunk", "after"), ("complete", "before"), ("complete", "after")]
)
def test_killed_in_the_middle_of_an_upload(
    fleet: ServedFleet, server: Server, bucket: S3Settings, call: str, when: Any
) -> None:
    # One worker: what another has just opened, and has not noted yet when it is killed, nobody can abort by its name.
    fleet.change_limits(workers=1)
    # The process that dies takes its fake ZFS with it, so the snapshot is one that was there before.
    fleet.task = replace(fleet.task, take_snapshot=False)
    take_snapshot(fleet.context(), task=fleet.task, level=0)
    dying = at_store_call(fleet.context(), call, when=when, key_part="part-000002")
    assert dies_by_kill(lambda: back_up(dying, task=fleet.task, level=0))
    result = fleet.back_up(0)
    assert result.parts_resumed == (3 if (call, when) == ("complete", "after") else 2)
    assert fleet.journals() == []
    fleet.verify("decrypt")
    fleet.restore()
    assert fleet.zfs.content("tank/restore/copy") == fleet.zfs.content(DATASET)
    assert unfinished_uploads(server, bucket) == []


def test_a_part_that_was_exchanged_is_found(fleet: ServedFleet, server: Server, bucket: S3Settings) -> None:
    manifest = fleet.back_up(0).manifest
    part = fleet.parts(manifest)[1]
    place = {"Bucket": bucket.bucket, "Key": bucket.prefix + part.key}
    content = bytearray(server.client().get_object(**place)["Body"].read())
    content[len(content) // 2] ^= 1
    server.client().put_object(**place, Body=bytes(content))
    fleet.verify("exists", exit_code=None)  # whether the listing shows it depends on the server
    fleet.verify("checksum", exit_code=5)
    fleet.verify("decrypt", exit_code=5)
    with pytest.raises(EngineError, match=part.key):
        fleet.restore()
    assert not fleet.zfs.exists("tank/restore/copy")


def test_validation_finds_no_error(fleet: ServedFleet) -> None:
    for _ in range(2):
        checks = repository_checks(fleet.context(clock=utc_now))
        assert [check for check in checks if check.status == "error"] == []
        fleet.back_up(0)


WRONG: dict[str, tuple[dict[str, str], type[EngineError], str]] = {
    "access key": ({"access_key": "zrbtest-nobody"}, StoreDenied, "Check the access key"),
    "secret key": ({"secret_key": "zrbtest-no-secret"}, StoreDenied, "secret key"),
    "region": ({"region": "eu-north-7"}, WrongRegion, "Set region to us-east-1"),
}
IGNORED = {("rclone", "region"), ("s3rver", "region"), ("s3rver", "secret key")}
"""What a server does not look at."""


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_named(fleet: ServedFleet, server: Server, wrong: str) -> None:
    changes, kind, words = WRONG[wrong]
    right = fleet.settings
    if wrong == "region":
        fleet.use(replace(right, **changes))
    else:
        fleet.use(replace(right, credentials=replace(server.credentials, **changes)))
    if (server.kind.name, wrong) in IGNORED:
        fleet.back_up(0)
        return
    with pytest.raises(kind, match=words):
        fleet.run(0)
    assert fleet.journals() == []
    fleet.use(right)
    assert list(fleet.store.list("")) == []
