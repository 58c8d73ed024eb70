# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong on the way to an S3 endpoint, before it can answer: credentials, network, TLS, settings."""

from __future__ import annotations

from ..errors import ConfigError, CredentialsMissing, EngineError, StoreError, StoreUnavailable, TlsFailure
from ..values.config import S3Settings
from .s3_errors import Tried, endpoint_name, redacted

DEFAULT_CREDENTIALS_FILE = "/etc/zrb/credentials"


def error_on_the_way(error: Exception, tried: Tried) -> EngineError:
    """The error for an exception of botocore that is no reply of the endpoint."""
    from botocore import exceptions as core

    answer = redacted(str(error), tried.settings)
    if isinstance(
        error,
        core.NoCredentialsError
        | core.PartialCredentialsError
        | core.CredentialRetrievalError
        | core.ProfileNotFound
        | core.TokenRetrievalError
        | core.SSOError
        | core.ConfigNotFound
        | core.ConfigParseError,
    ):
        return no_credentials(tried.settings, answer)
    if isinstance(error, core.SSLError):
        return _tls(tried, answer)
    if isinstance(error, core.ConnectionError | core.HTTPClientError | core.IncompleteReadError):
        return StoreUnavailable(
            tried.problem,
            subject=tried.key or tried.settings.bucket,
            answer=answer,
            next_step=f"Check that {endpoint_name(tried.settings)} can be reached from here (name, port, proxy, "
            "firewall), then run the same again",
        )
    if isinstance(error, core.ParamValidationError | core.ValidationError | ValueError):
        return bad_settings(tried.settings, answer)
    return StoreError(
        tried.problem,
        subject=tried.key or tried.settings.bucket,
        answer=f"{type(error).__name__}: {answer}",
        next_step="Read what is said there; if it is not clear, run the same with `-v`",
    )


def no_credentials(settings: S3Settings, answer: str) -> CredentialsMissing:
    """The error where the chain of credentials ended without any."""
    places = [
        "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)",
        settings.credentials_file or f"{DEFAULT_CREDENTIALS_FILE} and ~/.aws/credentials",
        "the instance role",
    ]
    profile = f" with profile {settings.profile}" if settings.profile else ""
    return CredentialsMissing(
        f"No usable credentials for bucket {settings.bucket}{profile} in {', '.join(places)}",
        subject=settings.bucket,
        answer=answer,
        next_step=f"Put them into {settings.credentials_file or DEFAULT_CREDENTIALS_FILE} (mode 0600): "
        f"[{settings.profile or 'default'}], aws_access_key_id = ..., aws_secret_access_key = ...",
    )


def bad_settings(settings: S3Settings, answer: str) -> ConfigError:
    """The error for settings that no request can be made of."""
    return ConfigError(
        f"The S3 settings (bucket {settings.bucket}, region {settings.region}, endpoint "
        f"{settings.endpoint or 'of AWS'}) cannot be used",
        subject=settings.bucket,
        answer=answer,
        next_step="Correct them: a bucket name has 3 to 63 of a-z 0-9 . -, an endpoint begins with https:// or http://",
    )


def _tls(tried: Tried, answer: str) -> TlsFailure:
    settings = tried.settings
    if "WRONG_VERSION_NUMBER" in answer:
        step = f"{settings.endpoint} does not speak TLS there: use http://, or the port that speaks it"
    elif settings.ca_bundle:
        step = f"Check that {settings.ca_bundle} (ca_bundle) holds the certificate that signed the endpoint's own"
    else:
        step = "Set ca_bundle to the file with the CA that signed the endpoint's certificate, if that is your own CA"
    return TlsFailure(
        f"The TLS connection to {endpoint_name(settings)} cannot be trusted",
        subject=settings.endpoint or settings.bucket,
        answer=answer,
        next_step=step,
    )
