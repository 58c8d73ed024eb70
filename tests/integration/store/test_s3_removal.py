# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Deleting objects of a bucket: in batches, with what the endpoint says of each key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from zrb.errors import ForeignReply, NoSuchRepository, StoreDenied, StoreUnavailable
from zrb.store.protocol import Removed
from zrb.store.s3 import MOST_KEYS, S3Remover, S3Store
from zrb.store.s3_session import S3Session

from tests.integration.s3_fixtures import LocalBucket

pytestmark = pytest.mark.s3

Answer = Callable[[dict[str, Any]], None]


@pytest.fixture
def session(bucket: LocalBucket) -> S3Session:
    return S3Session(replace(bucket.settings, max_attempts=1))


@pytest.fixture
def remover(session: S3Session) -> Iterator[S3Remover]:
    remover = S3Remover(session)
    yield remover
    remover.close()


def answering(session: S3Session, body: str) -> list[int]:
    """Let the endpoint's answers to deletions be ``body``; how many keys each request named."""
    asked: list[int] = []

    def before(params: dict[str, Any], **_: object) -> None:
        asked.append(params["body"].count(b"<Key>"))

    def after(response_dict: dict[str, Any], **_: object) -> None:
        response_dict["body"] = body.encode()

    session.client.meta.events.register("before-call.s3.DeleteObjects", before)
    if body:
        session.client.meta.events.register_first("before-parse.s3.DeleteObjects", after)
    return asked


def test_objects_are_deleted_and_what_is_gone_is_no_error(remover: S3Remover, store: S3Store) -> None:
    for key in ("data/a", "data/b%20", "manifests/c"):
        store.put(key, b"x")
    assert remover.remove(["data/a", "data/b%20", "data/never"]) == Removed()
    assert [item.key for item in store.list("")] == ["manifests/c"]
    assert remover.remove([]) == Removed()


def test_a_thousand_keys_go_in_one_request(remover: S3Remover, session: S3Session) -> None:
    asked = answering(session, "")
    remover.remove([f"data/{number}" for number in range(MOST_KEYS + 1)])
    assert asked == [1000, 1]


def test_what_is_refused_is_told_key_by_key(remover: S3Remover, session: S3Session, store: S3Store) -> None:
    prefix = session.settings.prefix
    said = [("a", "AccessDenied"), ("b", "InternalError"), ("c", "NoSuchKey")]
    errors = "".join(f"<Error><Key>{prefix}data/{name}</Key><Code>{code}</Code></Error>" for name, code in said)
    deleted = f"<Deleted><Key>{prefix}data/d</Key><DeleteMarker>true</DeleteMarker></Deleted>"
    answering(session, f"<DeleteResult>{errors}{deleted}</DeleteResult>")
    removed = remover.remove([f"data/{name}" for name in "abcd"])
    assert [(type(failure), failure.subject) for failure in removed.failures] == [
        (StoreDenied, "data/a"),
        (StoreUnavailable, "data/b"),
    ]
    assert "s3:DeleteObject" in removed.failures[0].next_step
    assert removed.hidden == 1


@pytest.mark.parametrize("body", ["<html>Please log in</html>", "<DeleteResult></DeleteResult>"])
def test_silence_is_no_deletion(remover: S3Remover, session: S3Session, body: str) -> None:
    answering(session, body)
    with pytest.raises(ForeignReply):
        remover.remove(["data/a"])


def test_a_bucket_that_is_not_there_is_named(bucket: LocalBucket) -> None:
    remover = S3Remover(S3Session(replace(bucket.settings, bucket="no-such-bucket", max_attempts=1)))
    with pytest.raises(NoSuchRepository):
        remover.remove(["data/a"])
