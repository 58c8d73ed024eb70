# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading from endpoints that do not say how long their replies are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from zrb.errors import PartDamaged, StoreUnavailable
from zrb.store.protocol import free_flow
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
