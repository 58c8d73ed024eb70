# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads objects from S3, and continues after a broken reply: botocore retries requests, not bodies."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from ..errors import PartDamaged, StoreError, StoreUnavailable
from .s3_errors import RangeBeyondEnd, where
from .s3_session import S3Session

_READ_BYTES = 1 << 20


def read_range(session: S3Session, key: str, offset: int, view: memoryview) -> None:
    """Fill ``view`` with the bytes of ``key`` from ``offset``. Raises ``PartDamaged`` if the object is too short."""
    filled = 0
    failures = 0
    while filled < len(view):
        first, last = offset + filled, offset + len(view) - 1
        try:
            reply = session.call("get_object", key=key, Range=f"bytes={first}-{last}")
        except RangeBeyondEnd as error:
            raise _too_short(session, key, first, last) from error
        with closing(reply["Body"]):
            _check_range(session, key, reply, first, last)
            try:
                with session.explained("get_object", key):
                    while filled < len(view):
                        count = reply["Body"].readinto(view[filled : filled + _READ_BYTES])
                        if not count:
                            raise _too_short(session, key, offset + filled, last)
                        session.flow(count)
                        filled += count
            except StoreUnavailable:
                failures += 1
                if failures >= session.settings.max_attempts:
                    raise


def read_object(session: S3Session, key: str, *, limit: int) -> bytes | None:
    """Read a small object whole, or return ``None`` if it is longer than ``limit``."""
    reply = session.call("get_object", key=key)
    length = reply.get("ContentLength")  # a proxy that sends chunks leaves it out
    with closing(reply["Body"]) as body:
        try:
            with session.explained("get_object", key):
                if length is None:
                    content = bytes(body.read(limit + 1))
                elif length > limit:
                    return None
                else:
                    content = bytes(body.read())  # all at once, or botocore does not notice a broken reply
        except StoreUnavailable:
            if length is None:
                raise
            buffer = bytearray(length)
            read_range(session, key, 0, memoryview(buffer))
            content = bytes(buffer)
    return content if len(content) <= limit else None


def _check_range(session: S3Session, key: str, reply: Mapping[str, Any], first: int, last: int) -> None:
    given = str(reply.get("ContentRange") or "")
    length = reply.get("ContentLength")
    if given and not given.startswith(f"bytes {first}-"):
        raise _ignored_range(session, key, given)
    if not given and first:
        raise _ignored_range(session, key, "no Content-Range")
    if length is not None and length < last - first + 1:
        raise _too_short(session, key, first + length, last)


def _too_short(session: S3Session, key: str, end: int, last: int) -> PartDamaged:
    return PartDamaged(
        f"{key} in {where(session.settings)} has at most {end} bytes, but {last + 1} are needed",
        subject=key,
        next_step="The object was cut short: run `zrb verify` for all backups",
    )


def _ignored_range(session: S3Session, key: str, answer: str) -> StoreError:
    return StoreError(
        f"The endpoint returned a range of {key} in {where(session.settings)} that was not requested",
        subject=key,
        answer=answer,
        next_step="Use an endpoint or proxy that honours Range requests: no other can serve a repository",
    )
