# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Learns by trying what an S3 endpoint can do.

The probe creates no object. It sends chunks of an upload under a key of its own, which it aborts, and a conditional
write of the repository's identity over itself, with the same bytes. So it needs an identity.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import EngineError, ObjectMissing, StoreDenied
from ..values.repository_names import IDENTITY_KEY
from .s3_endpoint_features import EndpointFeatures, write_guards
from .s3_errors import PreconditionRefused, S3Refused
from .s3_read import read_object
from .s3_request_body import MemoryBody
from .s3_session import S3Session
from .s3_upload import abort_multipart, digest_headers

_TRIAL_KEY = "zrb.trial"
"""No object has this key: some endpoints delete the object of a key when an upload to it is aborted."""
_IDENTITY_LIMIT = 64 * 1024
_VALID_FOR = timedelta(days=30)
_WRONG = b"not what is sent"


class EndpointProbe:
    """The features of the endpoint and bucket of ``session``. They are learnt at most once per process, and cached in
    ``state_dir`` (if given) for 30 days."""

    def __init__(
        self,
        session: S3Session,
        *,
        state_dir: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._features: EndpointFeatures | None = None
        self._cache = state_dir / f"endpoint-{_identity_of(session)}.json" if state_dir else None

    def features(self, *, fresh: bool = False) -> EndpointFeatures:
        """Return the features; learn them if they are not known, or if ``fresh`` is set."""
        with self._lock:
            if self._features is None and not fresh:
                self._features = self._read_cache()
            if self._features is None or fresh:
                self._features = learn_features(self._session)
                if self._features is None:
                    return EndpointFeatures()
                if self._features.known:
                    self._write_cache(self._features)
            return self._features

    def _read_cache(self) -> EndpointFeatures | None:
        if self._cache is None:
            return None
        try:
            record = json.loads(self._cache.read_bytes())
            age = self._clock() - datetime.fromisoformat(record["time"])
            values = {field.name: record["features"][field.name] for field in fields(EndpointFeatures)}
        except (OSError, ValueError, TypeError, KeyError):
            return None  # learning again is always right
        if not timedelta(0) <= age < _VALID_FOR or not all(isinstance(value, bool) for value in values.values()):
            return None
        return EndpointFeatures(**values)

    def _write_cache(self, found: EndpointFeatures) -> None:
        if self._cache is None:
            return
        record = {"time": self._clock().isoformat(), "features": asdict(found)}
        # Without the cache, the next run has to probe again. That must not fail this run.
        with suppress(OSError):
            self._cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._cache.parent, delete=False) as file:
                json.dump(record, file)
            Path(file.name).replace(self._cache)


def _identity_of(session: S3Session) -> str:
    settings = session.settings
    text = "\n".join((settings.endpoint or f"aws:{settings.region}", settings.bucket))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def learn_features(session: S3Session) -> EndpointFeatures | None:
    """Try the endpoint. Features that the credentials may not try stay unknown. ``None`` if the repository has no
    identity yet."""
    try:
        identity = read_object(session, IDENTITY_KEY, limit=_IDENTITY_LIMIT)
    except ObjectMissing:
        return None
    except StoreDenied:
        return EndpointFeatures()
    if identity is None:
        return EndpointFeatures()
    sha256_rejected, md5_checked = _try_digests(session, identity)
    features = EndpointFeatures(
        checksum_rejected=sha256_rejected,
        # An endpoint that accepts a wrong checksum only repeats what it was sent: that proves nothing about the bytes.
        checksum_stored=_is_stored(session) if sha256_rejected else sha256_rejected,
        content_md5_checked=md5_checked,
    )
    return EndpointFeatures(
        conditional_writes=_try_condition(session, identity, features),
        checksum_rejected=features.checksum_rejected,
        checksum_stored=features.checksum_stored,
        content_md5_checked=features.content_md5_checked,
    )


def _is_stored(session: S3Session) -> bool:
    # The identity was written with its SHA-256, unless checksums are off or the endpoint refused it.
    return bool(session.call("head_object", key=IDENTITY_KEY, ChecksumMode="ENABLED").get("ChecksumSHA256"))


def _try_digests(session: S3Session, content: bytes) -> tuple[bool | None, bool | None]:
    """Whether a wrong SHA-256 and a wrong Content-MD5 are refused, tried in an upload that is aborted."""
    wrong_sha256 = {
        "ChecksumAlgorithm": "SHA256",
        "ChecksumSHA256": b64encode(hashlib.sha256(_WRONG).digest()).decode(),
    }
    right_sha256 = {
        "ChecksumAlgorithm": "SHA256",
        "ChecksumSHA256": b64encode(hashlib.sha256(content).digest()).decode(),
    }
    wrong_md5 = {"ContentMD5": b64encode(hashlib.md5(_WRONG, usedforsecurity=False).digest()).decode()}
    try:
        with_sha256 = _accepted_in_upload(session, content, [right_sha256, wrong_sha256], ChecksumAlgorithm="SHA256")
        with_md5 = _accepted_in_upload(session, content, [wrong_md5])
    except StoreDenied:
        return None, None
    return with_sha256 == [True, False], with_md5 == [False]


def _accepted_in_upload(
    session: S3Session, content: bytes, tries: list[dict[str, str]], **parameters: Any
) -> list[bool]:
    """Which of the ``tries`` an upload begun with ``parameters`` accepts; none if it cannot begin."""
    try:
        upload_id = str(session.call("create_multipart_upload", key=_TRIAL_KEY, **parameters)["UploadId"])
    except S3Refused:
        return []
    try:
        return [_accepts_chunk(session, upload_id, content, digest) for digest in tries]
    finally:
        with suppress(EngineError):
            abort_multipart(session, _TRIAL_KEY, upload_id)


def _accepts_chunk(session: S3Session, upload_id: str, content: bytes, digest: dict[str, str]) -> bool:
    try:
        session.call(
            "upload_part",
            key=_TRIAL_KEY,
            UploadId=upload_id,
            PartNumber=1,
            Body=MemoryBody(memoryview(content), sha256=hashlib.sha256(content).digest()),
            **digest,
        )
    except S3Refused:
        return False
    return True


def _try_condition(session: S3Session, identity: bytes, features: EndpointFeatures) -> bool | None:
    """Whether a conditional write over the identity is refused. If it is not, it wrote the same bytes again."""
    view, digest = memoryview(identity), hashlib.sha256(identity).digest()
    guards = write_guards(features, session.settings.checksums)
    try:
        session.call(
            "put_object",
            key=IDENTITY_KEY,
            Body=MemoryBody(view, sha256=digest),
            IfNoneMatch="*",
            **digest_headers(view, digest, guards),
        )
    except PreconditionRefused:
        return True
    except StoreDenied:
        return None
    except S3Refused:
        return False  # the endpoint says that it does not know the header
    return False
