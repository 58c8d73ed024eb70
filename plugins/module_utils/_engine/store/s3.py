# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository in an S3 bucket."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from ..errors import EngineError, IntegrityError, ObjectMissing, StoreUnavailable
from ..values.config import S3Settings
from ..values.manifest import Checksum
from ..values.repository_names import IDENTITY_KEY
from ..values.storage_classes import ARCHIVE_CLASSES
from .object_keys import check_key, check_prefix
from .protocol import Buffer, Ending, Flow, Removed, StoredObject, UnfinishedUpload
from .s3_comparison import ExpectedContent, checksum_of, same_content
from .s3_endpoint_features import UNGUARDED, EndpointFeatures, WriteGuards, write_guards
from .s3_errors import NotImplementedThere, PreconditionRefused, Tried, error_of_reply, where
from .s3_probe import EndpointProbe
from .s3_read import read_object, read_range
from .s3_request_body import MemoryBody
from .s3_session import S3Session
from .s3_upload import CONFLICT_PAUSES_S, S3Upload, abort_multipart, checked_reply, digest_headers

MOST_KEYS: Final = 1000
"""In one deletion (docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html)."""


class S3Store:
    """Implements :class:`.protocol.Store` for the bucket and prefix of ``session.settings``."""

    def __init__(self, session: S3Session, probe: EndpointProbe) -> None:
        self._session = session
        self._settings: S3Settings = session.settings
        self._probe = probe

    @property
    def kind(self) -> Literal["s3"]:
        """See :class:`.protocol.Store`."""
        return "s3"

    @property
    def location(self) -> str:
        """``s3://bucket/prefix/``."""
        return f"s3://{self._settings.bucket}/{self._settings.prefix}"

    def features(self, *, fresh: bool = False) -> EndpointFeatures:
        """What the endpoint can do: cached, or learnt now. ``fresh`` ignores the cache."""
        return self._probe.features(fresh=fresh)

    def until(self, end: Ending) -> S3Store:  # noqa: ARG002 - it never waits
        """See :class:`.protocol.Store`."""
        return self

    def regulate(self, flow: Flow) -> None:
        """See :class:`.protocol.Store`."""
        self._session.flow = flow

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """See :class:`.protocol.Store`."""
        view = memoryview(data).cast("B")
        digest = sha256 or hashlib.sha256(view).digest()
        expected = ExpectedContent(
            chunks=((len(view), digest),), etag=lambda: hashlib.md5(view, usedforsecurity=False).hexdigest()
        )
        guards, proven = self._guards(check_key(key))
        pauses_s = iter(CONFLICT_PAUSES_S)
        while True:
            if not proven and (found := same_content(self._session, key, expected)):
                return found
            try:
                return self._put_once(key, view, digest, guards, storage_class)
            except NotImplementedThere:
                if guards == UNGUARDED or self._settings.checksums == "required":
                    raise
                guards, proven = UNGUARDED, False
            except (PreconditionRefused, StoreUnavailable) as error:
                # A retry by botocore can fail although the first request worked, so look at what is there now.
                if found := same_content(self._session, key, expected):
                    return found
                if isinstance(error, StoreUnavailable):
                    raise
                self._session.wait_out(error, next(pauses_s, None))

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> S3Upload:
        """See :class:`.protocol.Store`."""
        guards, proven = self._guards(check_key(key))
        parameters = _class_parameter(storage_class)
        if guards.sha256:
            parameters["ChecksumAlgorithm"] = "SHA256"
        reply = self._session.call("create_multipart_upload", key=key, **parameters)
        return S3Upload(
            self._session,
            key,
            upload_id=str(reply["UploadId"]),
            guards=guards,
            proven=proven,
            total_chunks=total_chunks,
        )

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See :class:`.protocol.Store`."""
        abort_multipart(self._session, check_key(key), upload_id)

    def uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """See :class:`.protocol.Store`. None at an endpoint that cannot list them; MinIO ends them by itself."""
        full = self._settings.prefix + check_prefix(prefix)
        marker: dict[str, str] = {}
        while True:
            try:
                page = self._session.call("list_multipart_uploads", Prefix=full, **marker)
            except NotImplementedThere:
                return
            for entry in page.get("Uploads", ()):
                name, started = str(entry.get("Key", "")), _time(entry, "Initiated")
                if not name.startswith(full):
                    raise self._session.foreign(
                        "list_multipart_uploads", "", f"a listing of {full!r} that has {name!r}"
                    )
                if started is not None:
                    key = name.removeprefix(self._settings.prefix)
                    yield UnfinishedUpload(key, str(entry.get("UploadId", "")), started)
            if not page.get("IsTruncated"):
                return
            following = {
                "KeyMarker": str(page.get("NextKeyMarker", "")),
                "UploadIdMarker": str(page.get("NextUploadIdMarker", "")),
            }
            if following == marker or not following["KeyMarker"]:
                raise self._session.foreign("list_multipart_uploads", "", "a listing that goes on nowhere")
            marker = following

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:
        """See :class:`.protocol.Store`."""
        content = ExpectedContent(
            chunks=((size, bytes.fromhex(sha256)),),
            etag=lambda: expected.etag,
            composite=expected.value if expected.kind == "sha256-composite" else "",
        )
        return same_content(self._session, check_key(key), content)

    def head(self, key: str) -> StoredObject | None:
        """See :class:`.protocol.Store`."""
        try:
            reply = self._session.call("head_object", key=check_key(key), ChecksumMode="ENABLED")
        except ObjectMissing:
            return None
        storage_class = str(reply.get("StorageClass") or "STANDARD")
        thawing, thawed = _restore_state(str(reply.get("Restore") or ""))
        archived = storage_class in ARCHIVE_CLASSES or bool(reply.get("ArchiveStatus"))
        return StoredObject(
            key=key,
            bytes=int(reply["ContentLength"]),
            storage_class=storage_class,
            checksum=checksum_of(reply),
            modified=_time(reply, "LastModified"),
            readable=thawed or not archived,
            thawing=thawing,
            locked_until=_time(reply, "ObjectLockRetainUntilDate"),
            legal_hold=reply.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def get(self, key: str, *, limit: int) -> bytes:
        """See :class:`.protocol.Store`."""
        content = read_object(self._session, check_key(key), limit=limit)
        if content is None:
            raise IntegrityError(
                f"{key} in {where(self._settings)} is longer than {limit} bytes, the limit for such an object",
                subject=key,
                next_step="zrb did not write this: find out what replaced the object",
            )
        return content

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See :class:`.protocol.Store`."""
        read_range(self._session, check_key(key), offset, buffer.cast("B"))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See :class:`.protocol.Store`. ``readable`` is what the listing knows: an object that was thawed may still
        look unreadable here. :meth:`head` is exact."""
        full = self._settings.prefix + check_prefix(prefix)
        token: dict[str, str] = {}
        while True:
            page = self._session.call(
                "list_objects_v2", Prefix=full, OptionalObjectAttributes=["RestoreStatus"], **token
            )
            for entry in page.get("Contents", ()):
                name = str(entry.get("Key", ""))
                if not name.startswith(full) or "Size" not in entry:
                    raise self._session.foreign("list_objects_v2", "", f"a listing of {full!r} that has {name!r}")
                key = name[len(self._settings.prefix) :]
                if key and not key.endswith("/"):  # consoles create such empty objects as folders
                    yield _listed(key, entry)
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": str(page.get("NextContinuationToken", ""))}
            if following in (token, {"ContinuationToken": ""}):
                raise self._session.foreign("list_objects_v2", "", "a listing that goes on nowhere")
            token = following

    def close(self) -> None:
        """See :class:`.protocol.Store`."""
        self._session.close()

    def _guards(self, key: str) -> tuple[WriteGuards, bool]:
        """How to write ``key``, and whether the endpoint is known to refuse overwriting. The identity is written with
        unknown features, since the probe needs it to learn them."""
        features = EndpointFeatures() if key == IDENTITY_KEY else self._probe.features()
        return write_guards(features, self._settings.checksums), features.conditional_writes is True

    def _put_once(self, key: str, view: memoryview, digest: bytes, guards: WriteGuards, storage_class: str) -> Checksum:
        parameters: dict[str, Any] = _class_parameter(storage_class) | digest_headers(view, digest, guards)
        if guards.conditional:
            parameters["IfNoneMatch"] = "*"
        reply = self._session.call(
            "put_object", key=key, Body=MemoryBody(view, sha256=digest, flow=self._session.flow), **parameters
        )
        if not checked_reply(reply, digest, key) and guards.returned:
            raise self._session.foreign("put_object", key, "no checksum, although this endpoint returns them")
        return checksum_of(reply)


class S3Remover:
    """Implements :class:`.protocol.Remover` for the bucket and prefix of ``session.settings``."""

    def __init__(self, session: S3Session) -> None:
        self._session = session

    def remove(self, keys: Sequence[str]) -> Removed:
        """See :class:`.protocol.Remover`."""
        self._session.client.meta.events.register("before-call.s3.DeleteObjects", _add_md5, unique_id="zrb-md5")
        failures: list[EngineError] = []
        hidden = 0
        for begin in range(0, len(keys), MOST_KEYS):
            refused, markers = self._remove_some(keys[begin : begin + MOST_KEYS])
            failures += refused
            hidden += markers
        return Removed(tuple(failures), hidden)

    def close(self) -> None:
        """See :class:`.protocol.Remover`."""
        self._session.close()

    def _remove_some(self, keys: Sequence[str]) -> tuple[list[EngineError], int]:
        prefix = self._session.settings.prefix
        wanted = {prefix + check_key(key): key for key in keys}
        reply = self._session.call("delete_objects", Delete={"Objects": [{"Key": name} for name in wanted]})
        failures: list[EngineError] = []
        told = set()
        for entry in reply.get("Errors", ()):
            told.add(str(entry.get("Key", "")))
            if entry.get("Code") != "NoSuchKey":
                tried = Tried("delete_objects", wanted.get(str(entry.get("Key", "")), ""), self._session.settings)
                failures.append(error_of_reply({"Error": entry}, tried))
        deleted = reply.get("Deleted", ())
        told.update(str(entry.get("Key", "")) for entry in deleted)
        for name in wanted.keys() - told:
            raise self._session.foreign("delete_objects", wanted[name], "no word about this key")
        return failures, sum(bool(entry.get("DeleteMarker")) for entry in deleted)


def _add_md5(params: dict[str, Any], **_: object) -> None:
    # botocore sends a CRC32, but several endpoints accept only the MD5 that S3 once demanded.
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


def _class_parameter(storage_class: str) -> dict[str, Any]:
    # Leave out the default: some endpoints do not know storage classes.
    return {} if storage_class == "STANDARD" else {"StorageClass": storage_class}


def _restore_state(header: str) -> tuple[bool, bool]:
    """Whether a thaw is under way, and whether a thawed copy is there (``x-amz-restore``)."""
    return 'ongoing-request="true"' in header, 'ongoing-request="false"' in header


def _time(reply: Mapping[str, Any], name: str) -> datetime | None:
    moment = reply.get(name)
    return moment if isinstance(moment, datetime) else None


def _listed(key: str, entry: Mapping[str, Any]) -> StoredObject:
    storage_class = str(entry.get("StorageClass") or "STANDARD")
    restore: Mapping[str, Any] = entry.get("RestoreStatus") or {}
    thawing = bool(restore.get("IsRestoreInProgress"))
    thawed = bool(restore) and not thawing
    return StoredObject(
        key=key,
        bytes=int(entry["Size"]),
        storage_class=storage_class,
        checksum=checksum_of({"ETag": entry.get("ETag", "")}),
        modified=_time(entry, "LastModified"),
        readable=thawed or storage_class not in ARCHIVE_CLASSES,
        thawing=thawing,
        version=str(entry.get("ETag", "")),
    )
