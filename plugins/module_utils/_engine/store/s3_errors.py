# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an S3 endpoint, or the way to it, says: as typed errors.

Every message has the operation, the key, the endpoint's own code and words, and a next step. Secrets are cut out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import (
    ClockSkewed,
    EngineError,
    NoSuchRepository,
    ObjectArchived,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    WrongRegion,
)
from ..values.config import S3Settings

PERMISSIONS: Mapping[str, str] = {
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_parts": "s3:ListMultipartUploadParts",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "head_bucket": "s3:ListBucket",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "put_bucket_lifecycle_configuration": "s3:PutLifecycleConfiguration",
    "delete_bucket_lifecycle": "s3:PutLifecycleConfiguration",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
}


class S3Refused(StoreError):
    """The endpoint refused a request; ``code`` is the S3 error code."""

    def __init__(self, problem: str, *, code: str, next_step: str, subject: str = "", answer: str = "") -> None:
        super().__init__(problem, next_step=next_step, subject=subject, answer=answer)
        self.code = code


class PreconditionRefused(S3Refused):
    """The key exists, or another write of it is under way (412, 409)."""


class NotImplementedThere(S3Refused):
    """The endpoint does not know a header or an operation (501)."""


class DigestRefused(S3Refused):
    """The endpoint found the bytes to differ from the checksum sent with them."""


class UploadGone(S3Refused):
    """The multipart upload does not exist: completed, aborted or never made."""


class RangeBeyondEnd(S3Refused):
    """The object has no byte in the range that was asked for."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One request: which operation, on which key, with which settings."""

    operation: str
    key: str
    settings: S3Settings

    @property
    def problem(self) -> str:
        """ "PutObject of zrb.json in s3://bucket/prefix/ failed"."""
        name = "".join(word.capitalize() for word in self.operation.split("_"))
        return f"{name} of {self.key} in {where(self.settings)} failed" if self.key else self._of_bucket(name)

    def _of_bucket(self, name: str) -> str:
        return f"{name} of bucket {self.settings.bucket} at {endpoint_name(self.settings)} failed"


def where(settings: S3Settings) -> str:
    """``s3://bucket/prefix/``, with the endpoint where it is not AWS."""
    at = f" at {settings.endpoint}" if settings.endpoint else ""
    return f"s3://{settings.bucket}/{settings.prefix}{at}"


def endpoint_name(settings: S3Settings) -> str:
    """The endpoint for people."""
    return settings.endpoint or f"AWS region {settings.region}"


def error_of_reply(response: Mapping[str, Any], tried: Tried) -> EngineError:
    """The error for an endpoint's error reply, as botocore parsed it."""
    error = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0) or 0)
    code = str(error.get("Code", status))
    message = str(error.get("Message", "")).strip()
    reply = _Reply(
        tried=tried,
        code=code,
        status=status,
        answer=redacted(f"{code}: {message}" if message else code, tried.settings),
        region=str(error.get("Region") or metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region") or ""),
        attempts=int(metadata.get("RetryAttempts", 0)) + 1,
    )
    make = _BY_CODE.get(code) or _BY_STATUS.get(status) or (_unavailable if status >= 500 else _refused)
    return make(reply)


def redacted(text: str, settings: S3Settings) -> str:
    """``text`` without the secrets of ``settings``."""
    if settings.credentials:
        for secret in (settings.credentials.secret_key, settings.credentials.session_token):
            if secret:
                text = text.replace(secret, "********")
    return text


@dataclass(frozen=True, slots=True)
class _Reply:
    tried: Tried
    code: str
    status: int
    answer: str
    region: str
    attempts: int


class _Plain(Protocol):
    def __call__(self, problem: str, *, next_step: str, subject: str = "", answer: str = "") -> EngineError:
        """The error."""


_Maker = Callable[[_Reply], EngineError]


def _says(kind: _Plain, next_step: str) -> _Maker:
    """A maker of plain errors; ``next_step`` may name the fields of the settings."""

    def make(reply: _Reply) -> EngineError:
        settings = reply.tried.settings
        return kind(
            reply.tried.problem,
            subject=reply.tried.key or settings.bucket,
            answer=reply.answer,
            next_step=next_step.format(bucket=settings.bucket, region=settings.region, at=endpoint_name(settings)),
        )

    return make


def _coded(kind: type[S3Refused], next_step: str) -> _Maker:
    def make(reply: _Reply) -> EngineError:
        return kind(
            reply.tried.problem,
            code=reply.code,
            subject=reply.tried.key or reply.tried.settings.bucket,
            answer=reply.answer,
            next_step=next_step,
        )

    return make


def _denied(reply: _Reply) -> EngineError:
    settings = reply.tried.settings
    permission = PERMISSIONS.get(reply.tried.operation, "this operation")
    owner = (
        f" expected_bucket_owner is {settings.expected_bucket_owner}: check that the bucket belongs to that account."
        if settings.expected_bucket_owner
        else ""
    )
    missing = (
        " Without s3:ListBucket a key that does not exist looks denied, too."
        if permission == "s3:GetObject" and reply.tried.key
        else ""
    )
    return StoreDenied(
        reply.tried.problem,
        subject=reply.tried.key or settings.bucket,
        answer=reply.answer,
        next_step=f"Allow {permission} on {where(settings)}* to these credentials.{missing}{owner}",
    )


def _wrong_region(reply: _Reply) -> EngineError:
    settings = reply.tried.settings
    step = (
        f"Set region to {reply.region}"
        if reply.region
        else "Find the bucket's region (`aws s3api get-bucket-location`) and set it"
    )
    return WrongRegion(
        f"The bucket {settings.bucket} is not in region {settings.region}",
        subject=settings.bucket,
        answer=reply.answer,
        next_step=step,
    )


def _malformed_authorization(reply: _Reply) -> EngineError:
    return _wrong_region(reply) if reply.region or "region" in reply.answer else _bad_credentials(reply)


def _maybe_lacking(reply: _Reply) -> EngineError:
    # Backblaze B2, for one, answers 400 to a header it does not know, where others answer 501.
    return (_lacks if "header" in reply.answer.lower() else _refused)(reply)


def _unavailable(reply: _Reply) -> EngineError:
    times = f" after {reply.attempts} attempts" if reply.attempts > 1 else ""
    return StoreUnavailable(
        f"{reply.tried.problem}{times}",
        subject=reply.tried.key or reply.tried.settings.bucket,
        answer=reply.answer,
        next_step=f"{endpoint_name(reply.tried.settings)} is overloaded or broken: run the same again later, with "
        "fewer workers or a higher retry.max_attempts where it happens often",
    )


_refused = _coded(S3Refused, "Read what the endpoint says; if it is not clear, ask who runs it")
_bad_credentials = _says(
    StoreDenied, "Check the access key and the secret key, or get new ones where they have expired ({at})"
)
_no_bucket = _says(
    NoSuchRepository,
    "Create the bucket {bucket}, or correct bucket, region ({region}) and endpoint in the settings",
)
_missing = _says(ObjectMissing, "`zrb verify --depth exists` lists everything that is missing")
_archived = _says(ObjectArchived, "Thaw the object first: `zrb restore --dry-run` says what that takes")
_full = _says(StoreFull, "Make room in bucket {bucket}, or have its quota raised, then run the same again")
_skewed = _says(ClockSkewed, "Set this machine's clock (is a time service running? `timedatectl`), then run it again")
_exists = _coded(PreconditionRefused, "Keys are written once: find out what wrote it")
_conflict = _coded(PreconditionRefused, "Another write of the same key was under way: run the same again")
_lacks = _coded(NotImplementedThere, "This endpoint lacks something that zrb asked for: try `checksums: off`")
_digest = _coded(DigestRefused, "The bytes were damaged on the way: run it again, and suspect the network or memory")
_upload_gone = _coded(UploadGone, "The unfinished upload was removed (by a lifecycle rule?): run the same again")
_beyond = _coded(RangeBeyondEnd, "The object is shorter than its manifest says: run `zrb verify`")
_class = _coded(S3Refused, "Correct storage_class in the configuration: this endpoint does not have that class")
_too_small = _coded(S3Refused, "Set chunk_size to at least 5MiB: S3 wants that of every chunk but the last")

_BY_CODE: dict[str, _Maker] = {
    **dict.fromkeys(("NoSuchBucket",), _no_bucket),
    **dict.fromkeys(("NoSuchKey",), _missing),
    **dict.fromkeys(("NoSuchUpload",), _upload_gone),
    **dict.fromkeys(("NoSuchLifecycleConfiguration",), _refused),
    **dict.fromkeys(("InvalidObjectState",), _archived),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden"), _denied),
    **dict.fromkeys(
        (
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidToken",
            "InvalidClientTokenId",
            "TokenRefreshRequired",
            "RequestExpired",
            "NotSignedUp",
        ),
        _bad_credentials,
    ),
    **dict.fromkeys(
        ("PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException", "301"), _wrong_region
    ),
    **dict.fromkeys(("AuthorizationHeaderMalformed",), _malformed_authorization),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestInTheFuture"), _skewed),
    **dict.fromkeys(
        ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException"),
        _unavailable,
    ),
    **dict.fromkeys(
        (
            "QuotaExceeded",
            "ServiceQuotaExceeded",
            "XMinioStorageFull",
            "XMinioAdminBucketQuotaExceeded",
            "InsufficientStorage",
            "InsufficientCapacity",
            "StorageFull",
        ),
        _full,
    ),
    **dict.fromkeys(("PreconditionFailed",), _exists),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted"), _conflict),
    **dict.fromkeys(("NotImplemented", "XNotImplemented", "UnsupportedArgument"), _lacks),
    **dict.fromkeys(("InvalidArgument", "InvalidRequest"), _maybe_lacking),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "ChecksumMismatch"),
        _digest,
    ),
    **dict.fromkeys(("InvalidRange",), _beyond),
    **dict.fromkeys(("InvalidStorageClass",), _class),
    **dict.fromkeys(("EntityTooSmall",), _too_small),
}

_BY_STATUS: dict[int, _Maker] = {
    301: _wrong_region,
    401: _bad_credentials,
    403: _denied,
    404: _missing,
    409: _conflict,
    412: _exists,
    416: _beyond,
    429: _unavailable,
    501: _lacks,
    507: _full,
}
