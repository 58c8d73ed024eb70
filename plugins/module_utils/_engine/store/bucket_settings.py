# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of a bucket: versioning, Object Lock, lifecycle rules; and the time of its endpoint.

S3 reads and writes lifecycle rules all at once. We do so in XML: botocore drops what it does not know, and we must not
change the rules of others. Credentials that may only write backups often cannot read any of these settings.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from xml.etree import ElementTree as ET

from ..errors import ObjectMissing
from .s3_errors import S3Refused
from .s3_session import S3Session

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """The default retention of new objects. ``mode`` is ``GOVERNANCE``, ``COMPLIANCE``, or empty if there is none;
    ``period`` is a text such as ``30 days``."""

    mode: str
    period: str


class BucketFacts:
    """Facts about the bucket of ``session.settings``. Every method raises what :meth:`.S3Session.call` raises."""

    def __init__(self, session: S3Session) -> None:
        self._session = session

    def versioning(self) -> bool:
        """Whether objects that are overwritten or deleted are kept as versions."""
        return self._session.call("get_bucket_versioning").get("Status") == "Enabled"

    def object_lock(self) -> ObjectLock | None:
        """The bucket's Object Lock; ``None`` if it has none."""
        try:
            reply = self._session.call("get_object_lock_configuration")
        except ObjectMissing:
            return None
        retention = reply.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
        unit = next((unit for unit in ("Days", "Years") if retention.get(unit)), "")
        return ObjectLock(str(retention.get("Mode", "")), f"{retention[unit]} {unit.lower()}" if unit else "")

    def server_time(self) -> datetime | None:
        """The time of the endpoint's clock; ``None`` if it does not say."""
        headers = self._session.call("head_bucket")["ResponseMetadata"].get("HTTPHeaders", {})
        try:
            return parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class LifecycleDocument:
    """All rules, each an element ``Rule`` without namespace. Rules move no object smaller than ``least_size``."""

    rules: tuple[str, ...] = ()
    least_size: str = ""


class BucketLifecycle:
    """Reads and writes the configuration of the bucket of ``session.settings``."""

    def __init__(self, session: S3Session) -> None:
        self._session = session

    def read(self) -> LifecycleDocument:
        """Return the configuration, which has no rules if the bucket has none."""
        bodies: list[bytes] = []

        def keep(response_dict: Any, **_: object) -> None:
            bodies.append(response_dict["body"])

        try:
            with self._hooked("before-parse.s3.GetBucketLifecycleConfiguration", keep):
                reply = self._session.call("get_bucket_lifecycle_configuration")
        except S3Refused as error:
            if error.code == "NoSuchLifecycleConfiguration":
                return LifecycleDocument()
            raise
        root = ET.fromstring(bodies[-1])  # noqa: S314 - botocore has just parsed it, too
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return LifecycleDocument(
            rules=tuple(ET.tostring(rule, encoding="unicode") for rule in root.findall("Rule")),
            least_size=str(reply.get("TransitionDefaultMinimumObjectSize") or ""),
        )

    def write(self, rules: Sequence[str], *, least_size: str = "") -> None:
        """Replace the whole configuration, or delete it if ``rules`` is empty."""
        if not rules:
            self._session.call("delete_bucket_lifecycle")
            return
        body = f'<LifecycleConfiguration xmlns="{_NAMESPACE}">{"".join(rules)}</LifecycleConfiguration>'.encode()

        def put(params: dict[str, Any], **_: object) -> None:
            params["body"] = body
            # botocore sends a CRC32, but several endpoints accept only the MD5 that S3 once demanded.
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            params["headers"]["Content-MD5"] = b64encode(digest).decode()

        # botocore validates these parameters; the hook replaces the body that it makes of them.
        parameters: dict[str, Any] = {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled"}]}}
        if least_size:
            parameters["TransitionDefaultMinimumObjectSize"] = least_size
        with self._hooked("before-call.s3.PutBucketLifecycleConfiguration", put):
            self._session.call("put_bucket_lifecycle_configuration", **parameters)

    @contextmanager
    def _hooked(self, event: str, handler: Any) -> Iterator[None]:
        events = self._session.client.meta.events
        events.register(event, handler)
        try:
            yield
        finally:
            events.unregister(event, handler)
