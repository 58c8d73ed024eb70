# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replies of endpoints that do not say how long they are, come in several pages, or say that there are none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from zrb.errors import PartDamaged, StoreUnavailable
from zrb.store.protocol import free_flow
from zrb.store.s3 import S3Store
from zrb.store.s3_errors import NotImplementedThere
from zrb.store.s3_read import read_object, read_range
from zrb.values.config import S3Settings


class Session:
    """Replies with ``body`` and without a Content-Length."""

    settings = S3Settings(bucket="b", max_attempts=2)
    flow = staticmethod(free_flow)

    def __init__(self, body: io.RawIOBase | io.BytesIO) -> None:
        self._body = body

    def call(self, operation: str, *, key: str = "", **parameters: Any) -> dict[str, Any]:
        return {"Body": self._body}

    @contextmanager
    def explained(self, operation: str, key: str = "") -> Iterator[None]:
        yield


class Broken(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise StoreUnavailable("it broke", next_step="again")


def test_a_small_object_of_unknown_length() -> None:
    assert read_object(Session(io.BytesIO(b"content")), "data/x", limit=7) == b"content"  # type: ignore[arg-type]
    assert read_object(Session(io.BytesIO(b"content")), "data/x", limit=6) is None  # type: ignore[arg-type]


def test_one_that_breaks_cannot_be_continued() -> None:
    with pytest.raises(StoreUnavailable, match="it broke"):
        read_object(Session(Broken()), "data/x", limit=7)  # type: ignore[arg-type]


def test_a_range_of_unknown_length() -> None:
    buffer = bytearray(7)
    read_range(Session(io.BytesIO(b"content")), "data/x", 0, memoryview(buffer))  # type: ignore[arg-type]
    assert buffer == b"content"
    with pytest.raises(PartDamaged, match="3 bytes"):
        read_range(Session(io.BytesIO(b"con")), "data/x", 0, memoryview(buffer))  # type: ignore[arg-type]


class Pages:
    """Lists three unfinished uploads, one in each page, or knows no such listing."""

    settings = S3Settings(bucket="b", prefix="nas/")

    def __init__(self, *, able: bool = True) -> None:
        self._able = able

    def call(self, operation: str, *, Prefix: str, **marker: str) -> dict[str, Any]:
        assert (operation, Prefix) == ("list_multipart_uploads", "nas/data/")
        if not self._able:
            raise NotImplementedThere("it cannot", next_step="nothing")
        number = int(marker.get("UploadIdMarker", "0")) + 1
        entry = {"Key": "nas/data/x", "UploadId": str(number), "Initiated": datetime(2026, 1, number, tzinfo=UTC)}
        following = {"NextKeyMarker": "nas/data/x", "NextUploadIdMarker": str(number)}
        return {"Uploads": [entry], "IsTruncated": number < 3, **following}


@pytest.mark.parametrize("able", [True, False])
def test_unfinished_uploads_come_in_pages_or_not_at_all(able: bool) -> None:
    store = S3Store(Pages(able=able), None)  # type: ignore[arg-type]
    found = [(one.key, one.upload_id, one.started.day) for one in store.uploads("data/")]
    assert found == ([("data/x", str(number), number) for number in (1, 2, 3)] if able else [])
