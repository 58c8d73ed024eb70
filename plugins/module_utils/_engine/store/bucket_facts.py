# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a bucket is set to, and what time its endpoint has. Read only; a writer's credentials may well not suffice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from ..errors import ObjectMissing
from .s3_session import S3Session


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """The retention that new objects get: ``mode`` is ``GOVERNANCE``, ``COMPLIANCE``, or empty if objects get none
    by themselves; ``period`` is a text such as ``30 days``."""

    mode: str
    period: str


class BucketFacts:
    """Facts about the bucket of ``session.settings``. Every question raises what :meth:`.S3Session.call` raises."""

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
        """What time the endpoint has; ``None`` if it does not say."""
        headers = self._session.call("head_bucket")["ResponseMetadata"].get("HTTPHeaders", {})
        try:
            return parsedate_to_datetime(headers.get("date", ""))
        except ValueError:
            return None
