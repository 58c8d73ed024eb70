# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turns replies of an S3 endpoint, and failures on the way to it, into typed errors, by one table.

Every message has the operation, the key, the endpoint's own code and words, and a next step. Secrets are removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import (
    ClockSkewed,
    ConfigError,
    CredentialsMissing,
    EngineError,
    ForeignReply,
    NoSuchRepository,
    ObjectArchived,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TlsFailure,
    WrongRegion,
)
from ..values.config import S3Settings

DEFAULT_CREDENTIALS_FILE = "/etc/zrb/credentials"

PERMISSIONS: Mapping[str, str] = {
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "list_multipart_uploads": "s3:ListBucketMultipartUploads",
    "list_parts": "s3:ListMultipartUploadParts",
    "head_object": "s3:GetObject",
    "get_object": "s3:GetObject",
    "list_objects_v2": "s3:ListBucket",
    "delete_objects": "s3:DeleteObject",
    "head_bucket": "s3:ListBucket",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "put_bucket_lifecycle_configuration": "s3:PutLifecycleConfiguration",
    "delete_bucket_lifecycle": "s3:PutLifecycleConfiguration",
    "get_bucket_versioning": "s3:GetBucketVersioning",
    "get_object_lock_configuration": "s3:GetBucketObjectLockConfiguration",
}


class S3Refused(StoreError):
    """The endpoint refused a request; ``code`` is the S3 error code."""

    def __init__(self, problem: str, *, next_step: str, code: str = "", subject: str = "", answer: str = "") -> None:
        super().__init__(problem, next_step=next_step, subject=subject, answer=answer)
        self.code = code


class CredentialsRefused(StoreDenied):
    """The credentials themselves are wrong or have expired."""


class PreconditionRefused(S3Refused):
    """The key exists (412)."""


class WriteConflict(PreconditionRefused):
    """Another write of the key was under way (409); it may succeed soon."""


class NotImplementedThere(S3Refused):
    """The endpoint does not know a header or an operation."""


class DigestRefused(S3Refused):
    """The endpoint found that the bytes do not match the checksum sent with them."""


class UploadGone(S3Refused):
    """The multipart upload does not exist: it was completed, aborted or never begun."""


class RangeBeyondEnd(S3Refused):
    """The object has no byte in the requested range."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One request: its operation, its key, its settings."""

    operation: str
    key: str
    settings: S3Settings

    def __str__(self) -> str:
        """ "PutObject of zrb.json in s3://bucket/prefix/"."""
        name = "".join(word.capitalize() for word in self.operation.split("_"))
        if self.key:
            return f"{name} of {self.key} in {where(self.settings)}"
        return f"{name} of bucket {self.settings.bucket} at {_endpoint(self.settings)}"


def where(settings: S3Settings) -> str:
    """``s3://bucket/prefix/``, with the endpoint if it is not AWS."""
    at = f" at {settings.endpoint}" if settings.endpoint else ""
    return f"s3://{settings.bucket}/{settings.prefix}{at}"


def _endpoint(settings: S3Settings) -> str:
    return settings.endpoint or f"AWS region {settings.region}"


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the table. A failure fits if it has one of ``names`` (codes of S3, HTTP statuses, classes of
    exceptions), if ``says`` is found in the other side's answer, and ``of`` in the operation."""

    error: type[EngineError]
    names: str
    next_step: str
    says: str = ""
    of: str = ""
    problem: str = "{request} failed{attempts}"

    def fits(self, names: set[str], answer: str, operation: str) -> bool:
        return (
            not names.isdisjoint(self.names.split())
            and re.search(self.says, answer, re.IGNORECASE) is not None
            and re.search(self.of, operation) is not None
        )


_AGAIN = "run the same again"
_CREATE = "Create the bucket {bucket}, or correct bucket, region ({region}) and endpoint in the settings"
_OTHER_REGION = "The bucket {bucket} is not in region {region}"
_MISSING = "`zrb verify --depth exists` lists everything that is missing"
_LACKS = "This endpoint does not support what zrb asked for: try `checksums: off`"
_NO_RULES = "This endpoint has no lifecycle rules: remove unfinished uploads in another way"
_FOREIGN = "{request} was not answered by S3"
_PORTAL = (
    "A captive portal, a proxy or a gateway answers instead of {endpoint}, or {endpoint} is not S3{if_https}: "
    "find out which, then " + _AGAIN
)

# The first row that fits counts. Codes of S3 (AWS, MinIO, Ceph and others) come before statuses. There is only a status
# if the reply has no body (HEAD), or one that S3 does not write ("without-words").
_ROWS = (
    # on the way, before anything answers
    _Row(
        CredentialsMissing,
        "NoCredentialsError PartialCredentialsError CredentialRetrievalError ProfileNotFound TokenRetrievalError "
        "SSOError ConfigNotFound ConfigParseError",
        "Put them into {credentials_file} (mode 0600): [{profile}], aws_access_key_id = ..., "
        "aws_secret_access_key = ...",
        problem="No usable credentials for bucket {bucket}{with_profile} in {credential_sources}",
    ),
    _Row(
        TlsFailure,
        "SSLError",
        "Use http://, or the port that speaks TLS",
        says="WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE",
        problem="{endpoint} does not speak TLS",
    ),
    _Row(TlsFailure, "SSLError", "{trust}", problem="The TLS connection to {endpoint} cannot be trusted"),
    _Row(
        StoreUnavailable,
        "ConnectionError HTTPClientError IncompleteReadError HTTPError",
        "Check that this machine can reach {endpoint} (name, port, proxy, firewall{if_https}), then " + _AGAIN,
    ),
    _Row(
        ConfigError,
        "ParamValidationError ValidationError ValueError",
        "Correct them: a bucket name has 3 to 63 characters a-z 0-9 . -, an endpoint begins with https:// or http://",
        problem="The S3 settings (bucket {bucket}, region {region}, endpoint {endpoint}) cannot be used",
    ),
    _Row(NotImplementedThere, "QuestionIgnored", _NO_RULES, of="lifecycle"),
    _Row(NotImplementedThere, "QuestionIgnored", "Ask who runs it: this endpoint does not know the question"),
    _Row(ForeignReply, "NotS3 ResponseParserError", _PORTAL, problem=_FOREIGN),
    _Row(
        StoreError,
        "Exception",
        "Read that message; if it is not clear, run the same with `-v`",
        problem="{request} failed with {exception}",
    ),
    # the bucket and the credentials
    _Row(
        WrongRegion,
        "another-region PermanentRedirect TemporaryRedirect IllegalLocationConstraintException",
        "{set_region}",
        problem=_OTHER_REGION,
    ),
    _Row(WrongRegion, "AuthorizationHeaderMalformed", "{set_region}", says="region", problem=_OTHER_REGION),
    _Row(NoSuchRepository, "NoSuchBucket", _CREATE),
    _Row(NoSuchRepository, "404", _CREATE, of="head_bucket"),
    _Row(
        CredentialsRefused,
        "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken ExpiredTokenException InvalidToken "
        "InvalidClientTokenId TokenRefreshRequired RequestExpired NotSignedUp AuthorizationHeaderMalformed "
        "XAdminUserNotFound XMinioAdminNoSuchUser NoSuchUser 401",
        "Check the access key and the secret key for {endpoint}, or get new ones if they have expired",
    ),
    _Row(
        ClockSkewed,
        "RequestTimeTooSkewed RequestInTheFuture",
        "Set this machine's clock (`timedatectl` shows whether a time service runs), then " + _AGAIN,
    ),
    # the object
    _Row(ObjectArchived, "InvalidObjectState", "Thaw the object first: `zrb restore --dry-run` says what that takes"),
    _Row(ObjectMissing, "NoSuchKey ObjectLockConfigurationNotFoundError NoSuchObjectLockConfiguration", _MISSING),
    _Row(ObjectMissing, "404", _MISSING, of="head_object"),
    _Row(UploadGone, "NoSuchUpload", "Something removed the unfinished upload (a lifecycle rule?): " + _AGAIN),
    _Row(RangeBeyondEnd, "InvalidRange 416", "The object is shorter than its manifest says: run `zrb verify`"),
    _Row(PreconditionRefused, "PreconditionFailed 412", "zrb never overwrites an object: find out what wrote this one"),
    _Row(WriteConflict, "OperationAborted ConditionalRequestConflict", "Another such write was under way: " + _AGAIN),
    _Row(
        S3Refused,
        "MalformedXML InvalidRequest InvalidArgument",
        "Correct the rules, or leave out what this endpoint does not know; nothing was changed",
        of="put_bucket_lifecycle",
    ),
    # what the endpoint cannot do, or not now
    _Row(
        NotImplementedThere,
        "NotImplemented MethodNotAllowed 405 409 501",
        _NO_RULES,
        of="lifecycle",
    ),
    _Row(
        NotImplementedThere,
        "NotImplemented MethodNotAllowed 405 501",
        "This endpoint cannot abort uploads: remove what stays of them in another way",
        of="abort",
    ),
    _Row(NotImplementedThere, "NotImplemented XNotImplemented UnsupportedArgument 405 501", _LACKS),
    _Row(NotImplementedThere, "InvalidArgument InvalidRequest", _LACKS, says="header"),  # Backblaze B2
    _Row(WriteConflict, "409", "Another such write was under way: " + _AGAIN),
    _Row(
        StoreFull,
        "QuotaExceeded ServiceQuotaExceeded XMinioStorageFull XMinioAdminBucketQuotaExceeded InsufficientStorage "
        "InsufficientCapacity StorageFull 507",
        "Free space in bucket {bucket}, or have its quota raised, then " + _AGAIN,
    ),
    _Row(
        StoreFull,
        "InternalError 500",
        "Free space on the disks behind {endpoint}, then " + _AGAIN,
        says=r"no space|not enough space|(disk|storage|device|volume) (is |was )?full|ENOSPC",
    ),
    _Row(
        DigestRefused,
        "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch ChecksumMismatch",
        "The bytes were damaged on the way: check the network and this machine's memory, then " + _AGAIN,
    ),
    _Row(S3Refused, "InvalidStorageClass", "Correct storage_class: this endpoint does not have that class"),
    _Row(S3Refused, "EntityTooSmall", "Set chunk_size to at least 5MiB: S3 refuses smaller chunks, except the last"),
    _Row(
        StoreDenied,
        "AccessDenied AllAccessDisabled AccountProblem Forbidden 403",
        "Allow these credentials {permission} on {place}*, or use others.{hidden}{owner}",
    ),
    # botocore turns a 200 that is not XML into a 500
    _Row(ForeignReply, "without-words", _PORTAL, says="^500", problem=_FOREIGN),
    _Row(
        StoreUnavailable,
        "SlowDown InternalError RequestTimeout Throttling ThrottlingException 429 5xx",
        "{endpoint} is overloaded or broken: run the same again later, with fewer workers or a higher "
        "retry.max_attempts if it happens often",
    ),
    _Row(
        ForeignReply,
        "413",
        "Let the proxy or gateway before {endpoint} pass bodies of chunk_size, or reduce chunk_size",
        problem=_FOREIGN,
    ),
    _Row(ForeignReply, "without-words", _PORTAL, problem=_FOREIGN),
    _Row(
        S3Refused,
        "404",
        "The object is not what is missing: check access key, bucket ({bucket}) and region ({region})",
    ),
    _Row(S3Refused, "reply", "Read the endpoint's answer; if it is not clear, ask its operator"),
)


def error_of_reply(response: Mapping[str, Any], tried: Tried) -> EngineError:
    """The error for an endpoint's error reply, as botocore parsed it."""
    error = response.get("Error", {})
    metadata = response.get("ResponseMetadata", {})
    headers = metadata.get("HTTPHeaders", {})
    status = str(metadata.get("HTTPStatusCode") or 0)
    code = str(error.get("Code", status))
    message = str(error.get("Message", "")).strip()
    region = str(error.get("Region") or headers.get("x-amz-bucket-region") or "")
    names = {"reply", code, status, f"{status[0]}xx"}
    if region not in ("", tried.settings.region) and status in ("301", "302", "307", "400"):
        names.add("another-region")
    if code == status and not tried.operation.startswith("head_"):
        names.add("without-words")
        message = message or str(headers.get("location", ""))
    return _error(
        names,
        f"{code}: {message}" if message else code,
        tried,
        code=code,
        region=region,
        attempts=int(metadata.get("RetryAttempts", 0)) + 1,
    )


def error_on_the_way(error: BaseException, tried: Tried) -> EngineError:
    """The error for an exception that is not a reply of the endpoint."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return _error(names, str(error), tried, exception=type(error).__name__)


def _error(
    names: set[str],
    answer: str,
    tried: Tried,
    *,
    code: str = "",
    region: str = "",
    attempts: int = 1,
    exception: str = "",
) -> EngineError:
    row = next(row for row in _ROWS if row.fits(names, answer, tried.operation))
    facts = _facts(tried, region, attempts) | {"exception": exception}
    error = row.error(
        row.problem.format_map(facts),
        subject=tried.key or tried.settings.bucket,
        answer=_redacted(answer, tried.settings),
        next_step=row.next_step.format_map(facts),
    )
    if isinstance(error, S3Refused):
        error.code = code
    return error


def _facts(tried: Tried, region: str, attempts: int) -> dict[str, str]:
    """The values for the placeholders in the table."""
    settings = tried.settings
    permission = PERMISSIONS.get(tried.operation, "this operation")
    return {
        "request": str(tried),
        "attempts": f" after {attempts} attempts" if attempts > 1 else "",
        "bucket": settings.bucket,
        "region": settings.region,
        "endpoint": _endpoint(settings),
        "place": where(settings),
        "permission": permission,
        "hidden": " Without s3:ListBucket, S3 also denies access to keys that do not exist."
        if permission == "s3:GetObject" and tried.key
        else "",
        "owner": f" expected_bucket_owner is {settings.expected_bucket_owner}: check that the bucket belongs to it."
        if settings.expected_bucket_owner
        else "",
        "set_region": f"Set region to {region}"
        if region
        else "Find the bucket's region (`aws s3api get-bucket-location`) and set it",
        "trust": f"Check that {settings.ca_bundle} (ca_bundle) holds the certificate that signed the endpoint's own"
        if settings.ca_bundle
        else "Set ca_bundle to the file with the CA that signed the endpoint's certificate, if that is your own CA",
        "if_https": ", or its port speaks TLS (https://)" if settings.endpoint.startswith("http:") else "",
        "profile": settings.profile or "default",
        "with_profile": f" with profile {settings.profile}" if settings.profile else "",
        "credentials_file": settings.credentials_file or DEFAULT_CREDENTIALS_FILE,
        "credential_sources": "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), "
        f"{settings.credentials_file or f'{DEFAULT_CREDENTIALS_FILE} and ~/.aws/credentials'}, the instance role",
    }


def _redacted(text: str, settings: S3Settings) -> str:
    if settings.credentials:
        for secret in (settings.credentials.secret_key, settings.credentials.session_token):
            if secret:
                text = text.replace(secret, "********")
    return text
