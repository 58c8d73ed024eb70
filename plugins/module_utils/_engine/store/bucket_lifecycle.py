# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lifecycle configuration of a bucket, as S3 reads and writes it: always as a whole."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .s3_errors import S3Refused
from .s3_session import S3Session

_OPERATION = "PutBucketLifecycleConfiguration"


@dataclass(frozen=True, slots=True)
class LifecycleDocument:
    """All rules in the form of the S3 API, and the bucket's least size of objects that are moved."""

    rules: tuple[dict[str, Any], ...] = ()
    least_size: str = ""


class BucketLifecycle:
    """Reads and writes the configuration of the bucket of ``session.settings``."""

    def __init__(self, session: S3Session) -> None:
        self._session = session

    def read(self) -> LifecycleDocument:
        """The configuration; without rules where there is none."""
        try:
            reply = self._session.call("get_bucket_lifecycle_configuration")
        except S3Refused as error:
            if error.code == "NoSuchLifecycleConfiguration":
                return LifecycleDocument()
            raise
        return LifecycleDocument(
            rules=tuple(reply.get("Rules") or ()), least_size=str(reply.get("TransitionDefaultMinimumObjectSize") or "")
        )

    def write(self, rules: Sequence[dict[str, Any]], *, least_size: str = "") -> None:
        """Replace the whole configuration; without rules, delete it."""
        if not rules:
            self._session.call("delete_bucket_lifecycle")
            return
        # botocore sends a CRC32, and several endpoints take nothing but the MD5 that S3 once demanded.
        events = self._session.client.meta.events
        events.register(f"before-call.s3.{_OPERATION}", _add_content_md5, unique_id="zrb-content-md5")
        parameters: dict[str, Any] = {"LifecycleConfiguration": {"Rules": list(rules)}}
        if least_size:
            parameters["TransitionDefaultMinimumObjectSize"] = least_size
        self._session.call("put_bucket_lifecycle_configuration", **parameters)


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    body = params["body"]
    content = body if isinstance(body, bytes) else bytes(body.read())
    params["headers"]["Content-MD5"] = b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
