# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users read when S3 says no."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as core
from zrb.errors import (
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
from zrb.store.s3_errors import (
    CredentialsRefused,
    DigestRefused,
    NotImplementedThere,
    PreconditionRefused,
    RangeBeyondEnd,
    S3Refused,
    Tried,
    UploadGone,
    WriteConflict,
    error_of_reply,
    error_on_the_way,
)
from zrb.store.s3_foreign_replies import NotS3, refuse_foreign
from zrb.values.config import S3Credentials, S3Settings

SECRET = "wJalrXUtnFEMI/SECRET"
SETTINGS = S3Settings(
    bucket="my-bucket",
    region="eu-central-1",
    prefix="zfs/",
    endpoint="https://s3.example.org",
    credentials=S3Credentials("AKIAEXAMPLE", SECRET, "the-session-token"),
)
PUT = Tried("put_object", "data/x", SETTINGS)


def reply(code: str, status: int = 400, message: str = "as said", **error: str) -> dict[str, Any]:
    return {
        "Error": {"Code": code, "Message": message, **error},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}, "RetryAttempts": 0},
    }


@pytest.mark.parametrize(
    ("code", "status", "kind", "words"),
    [
        ("NoSuchBucket", 404, NoSuchRepository, "Create"),
        ("NoSuchKey", 404, ObjectMissing, "zrb verify --depth exists"),
        ("NoSuchUpload", 404, UploadGone, "lifecycle rule"),
        ("404", 404, ForeignReply, "portal"),
        ("400", 400, ForeignReply, "portal"),
        ("302", 302, ForeignReply, "portal"),
        ("413", 413, ForeignReply, "chunk_size"),
        ("500", 500, ForeignReply, "gateway"),
        ("NoSuchSomething", 404, S3Refused, "access key"),
        ("XAdminUserNotFound", 404, CredentialsRefused, "access key"),
        ("InvalidObjectState", 403, ObjectArchived, "Thaw"),
        ("AccessDenied", 403, StoreDenied, "s3:PutObject on s3://my-bucket/zfs/ at https://s3.example.org*"),
        ("403", 403, StoreDenied, "s3:PutObject"),
        ("InvalidAccessKeyId", 403, CredentialsRefused, "access key"),
        ("SignatureDoesNotMatch", 403, CredentialsRefused, "secret key"),
        ("ExpiredToken", 400, CredentialsRefused, "expired"),
        ("401", 401, CredentialsRefused, "access key"),
        ("IllegalLocationConstraintException", 400, WrongRegion, "get-bucket-location"),
        ("RequestTimeTooSkewed", 403, ClockSkewed, "clock"),
        ("SlowDown", 503, StoreUnavailable, "overloaded"),
        ("InternalError", 500, StoreUnavailable, "overloaded"),
        ("502", 502, StoreUnavailable, "overloaded"),
        ("TooManyRequests", 429, StoreUnavailable, "fewer workers"),
        ("QuotaExceeded", 403, StoreFull, "quota"),
        ("XMinioStorageFull", 507, StoreFull, "Free space"),
        ("507", 507, StoreFull, "Free space"),
        ("PreconditionFailed", 412, PreconditionRefused, "overwrites"),
        ("ConditionalRequestConflict", 409, WriteConflict, "under way"),
        ("NotImplemented", 501, NotImplementedThere, "`checksums: off`"),
        ("BadDigest", 400, DigestRefused, "damaged"),
        ("InvalidRange", 416, RangeBeyondEnd, "shorter"),
        ("InvalidStorageClass", 400, S3Refused, "storage_class"),
        ("EntityTooSmall", 400, S3Refused, "5MiB"),
        ("Teapot", 418, S3Refused, "operator"),
    ],
)
def test_every_reply_has_a_type_and_a_next_step(code: str, status: int, kind: type[EngineError], words: str) -> None:
    error = error_of_reply(reply(code, status), PUT)
    assert type(error) is kind
    message = error.explain()
    assert f"{code}: as said" in message
    assert words in message
    assert "my-bucket" in message
    assert error.subject in {"data/x", "my-bucket"}


@pytest.mark.parametrize(
    ("operation", "code", "status", "message", "kind", "words"),
    [
        ("put_object", "InternalError", 500, "No space left on device (os error 28)", StoreFull, "disks"),
        ("put_object", "InternalError", 500, "We encountered an internal error", StoreUnavailable, "overloaded"),
        ("put_object", "SlowDown", 503, "Reduce your request rate: quota", StoreUnavailable, "overloaded"),
        ("put_bucket_lifecycle_configuration", "NotImplemented", 501, "no", NotImplementedThere, "lifecycle rules"),
        ("put_bucket_lifecycle_configuration", "BucketAlreadyExists", 409, "", NotImplementedThere, "lifecycle rules"),
        ("put_bucket_lifecycle_configuration", "OperationAborted", 409, "wait", WriteConflict, "under way"),
        ("head_object", "404", 404, "Not Found", ObjectMissing, "verify"),
        ("head_bucket", "404", 404, "Not Found", NoSuchRepository, "Create the bucket"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError", 404, "", ObjectMissing, "verify"),
        ("abort_multipart_upload", "MethodNotAllowed", 405, "", NotImplementedThere, "cannot abort"),
        ("abort_multipart_upload", "NotImplemented", 501, "", NotImplementedThere, "cannot abort"),
    ],
)
def test_what_is_tried_and_what_is_said_count_too(
    operation: str, code: str, status: int, message: str, kind: type[EngineError], words: str
) -> None:
    error = error_of_reply(reply(code, status, message), Tried(operation, "", SETTINGS))
    assert type(error) is kind
    assert words in error.next_step


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call.", NotImplementedThere),
        ("The part number must be at least 1", S3Refused),
    ],
)
def test_a_header_that_is_not_known_is_told_from_other_bad_arguments(message: str, kind: type[EngineError]) -> None:
    assert type(error_of_reply(reply("InvalidArgument", 400, message), PUT)) is kind


def test_the_message_names_operation_key_and_place() -> None:
    message = error_of_reply(reply("AccessDenied", 403), PUT).explain()
    for name in ("PutObject", "data/x", "s3://my-bucket/zfs/", "https://s3.example.org", "AccessDenied"):
        assert name in message


def test_a_reply_without_words_is_told_by_its_code() -> None:
    assert error_of_reply(reply("500", 500, ""), PUT).answer == "500"
    assert error_of_reply({}, PUT).explain().startswith("PutObject of data/x")


def test_a_denied_look_says_what_it_may_mean() -> None:
    error = error_of_reply(reply("AccessDenied", 403), Tried("head_object", "data/x", SETTINGS))
    assert "s3:GetObject" in error.explain()
    assert "s3:ListBucket" in error.explain()


def test_a_denied_bucket_of_another_owner_is_suspected() -> None:
    settings = S3Settings(bucket="my-bucket", expected_bucket_owner="123456789012")
    error = error_of_reply(reply("AccessDenied", 403), Tried("list_objects_v2", "", settings))
    for name in ("ListObjectsV2", "my-bucket", "us-east-1", "expected_bucket_owner", "123456789012"):
        assert name in error.explain()


@pytest.mark.parametrize(
    "response",
    [
        reply("AuthorizationHeaderMalformed", Region="us-west-2"),
        {
            "Error": {"Code": "301", "Message": "Moved Permanently"},
            "ResponseMetadata": {"HTTPStatusCode": 301, "HTTPHeaders": {"x-amz-bucket-region": "us-west-2"}},
        },
    ],
)
def test_the_right_region_is_told(response: dict[str, Any]) -> None:
    error = error_of_reply(response, PUT)
    assert isinstance(error, WrongRegion)
    assert "eu-central-1" in error.problem
    assert "us-west-2" in error.next_step


def test_a_malformed_authorization_is_not_always_the_region() -> None:
    told = error_of_reply(reply("AuthorizationHeaderMalformed", message="expecting another region"), PUT)
    assert isinstance(told, WrongRegion)
    other = error_of_reply(reply("AuthorizationHeaderMalformed", message="credential is mal-formed"), PUT)
    assert type(other) is CredentialsRefused


def test_the_number_of_attempts_is_told() -> None:
    response = reply("SlowDown", 503)
    response["ResponseMetadata"]["RetryAttempts"] = 7
    assert "8 attempts" in error_of_reply(response, PUT).problem


URL = "https://s3.example.org/my-bucket"


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (core.NoCredentialsError(), CredentialsMissing, "~/.aws/credentials"),
        (core.PartialCredentialsError(provider="env", cred_var="x"), CredentialsMissing, "AWS_ACCESS_KEY_ID"),
        (core.ProfileNotFound(profile="p"), CredentialsMissing, "aws_secret_access_key"),
        (core.EndpointConnectionError(endpoint_url=URL), StoreUnavailable, "reach https://s3.example.org"),
        (core.ConnectTimeoutError(endpoint_url=URL), StoreUnavailable, "firewall"),
        (core.ReadTimeoutError(endpoint_url=URL), StoreUnavailable, "https://s3.example.org"),
        (core.ConnectionClosedError(endpoint_url=URL), StoreUnavailable, "proxy"),
        (core.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable, "1"),
        (core.SSLError(endpoint_url=URL, error="CERTIFICATE_VERIFY_FAILED"), TlsFailure, "ca_bundle"),
        (core.SSLError(endpoint_url=URL, error="WRONG_VERSION_NUMBER"), TlsFailure, "does not speak TLS"),
        (core.ParamValidationError(report="Invalid bucket name"), ConfigError, "3 to 63"),
        (ValueError("Invalid endpoint"), ConfigError, "https:// or http://"),
        (core.UnknownServiceError(service_name="s4", known_service_names=""), StoreError, "UnknownServiceError"),
    ],
)
def test_every_failure_on_the_way_has_a_type_and_a_next_step(
    raised: Exception, kind: type[EngineError], words: str
) -> None:
    error = error_on_the_way(raised, PUT)
    assert type(error) is kind
    assert words in error.explain()
    assert "my-bucket" in error.explain() or kind is TlsFailure


def test_a_ca_bundle_that_does_not_help_is_named() -> None:
    settings = S3Settings(bucket="b", endpoint="https://nas", ca_bundle="/etc/zrb/ca.pem")
    error = error_on_the_way(core.SSLError(endpoint_url="x", error="y"), Tried("put_object", "", settings))
    assert "/etc/zrb/ca.pem" in error.explain()


def test_the_credentials_that_were_meant_are_named() -> None:
    settings = S3Settings(bucket="b", profile="backup", credentials_file="/root/keys")
    message = error_on_the_way(core.NoCredentialsError(), Tried("put_object", "", settings)).explain()
    assert "profile backup" in message
    assert "instance role" in message
    assert "/root/keys" in message
    assert "[backup]" in message


def test_secrets_are_cut_out_of_what_the_endpoint_says() -> None:
    echo = f"you sent {SECRET} and the-session-token"
    for error in (
        error_of_reply(reply("SignatureDoesNotMatch", message=echo), PUT),
        error_on_the_way(ValueError(echo), PUT),
    ):
        assert SECRET not in str(error.facts())
        assert "the-session-token" not in str(error.facts())
        assert "********" in error.explain()
    assert SECRET not in repr(SETTINGS)


@pytest.mark.parametrize(
    ("operation", "asked"),
    [
        ("get_bucket_versioning", "GetBucketVersioning"),
        ("get_object_lock_configuration", "GetObjectLockConfiguration"),
        ("get_bucket_lifecycle_configuration", "GetBucketLifecycleConfiguration"),
    ],
)
def test_an_endpoint_that_lists_the_bucket_instead_is_no_portal(operation: str, asked: str) -> None:
    listing = b'<?xml version="1.0"?><ListBucketResult><Name>my-bucket</Name></ListBucketResult>'
    with pytest.raises(NotS3) as caught:
        refuse_foreign(asked, 200, {"content-type": "application/xml"}, listing)
    error = error_on_the_way(caught.value, Tried(operation, "", SETTINGS))
    assert type(error) is NotImplementedThere
    assert "portal" not in error.explain()
    assert ("no lifecycle rules" in error.next_step) == ("lifecycle" in operation)
