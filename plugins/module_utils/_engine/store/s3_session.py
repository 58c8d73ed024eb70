# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection to one bucket: makes the client, and calls it."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import (
    ConfigError,
    EngineError,
    KeyFileError,
    LibraryMissing,
    ObjectMissing,
    StoreDenied,
    StoreUnavailable,
    TlsFailure,
    UsageError,
)
from ..values.config import S3Settings
from ..version import VERSION
from . import s3_foreign_replies, s3_request_body
from .protocol import Flow, free_flow
from .s3_errors import (
    DEFAULT_CREDENTIALS_FILE,
    CredentialsRefused,
    PreconditionRefused,
    Tried,
    error_of_reply,
    error_on_the_way,
    where,
)
from .s3_foreign_replies import NEEDED, NotS3

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60


class S3Session:
    """Calls to one bucket. The first call makes the client, which all threads share."""

    def __init__(
        self,
        settings: S3Settings,
        *,
        connections: int = 10,
        pause: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings
        self.flow: Flow = free_flow
        self._connections = connections
        self._client: Any = None
        self._lock = threading.Lock()
        self._bucket_seen = False
        self._pause = pause
        self._chance = chance

    def call(self, operation: str, *, key: str = "", **parameters: Any) -> dict[str, Any]:
        """Make one request, which botocore retries. ``key`` is relative to the repository; this adds the bucket and
        the expected owner. Raises the errors of :mod:`.s3_errors`."""
        parameters["Bucket"] = self.settings.bucket
        if self.settings.expected_bucket_owner:
            parameters["ExpectedBucketOwner"] = self.settings.expected_bucket_owner
        if key:
            parameters["Key"] = self.settings.prefix + key
        try:
            reply = self._ask(operation, key, parameters)
        except ObjectMissing:
            if operation == "head_object":
                self._see_bucket()
            raise
        except (StoreUnavailable, TlsFailure, UsageError):
            raise
        except EngineError:
            self._raise_reason(operation, key, parameters)
            raise
        self._bucket_seen = True
        return reply

    def _ask(self, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        client = self.client
        with self.explained(operation, key):
            reply: dict[str, Any] = getattr(client, operation)(**parameters)
            if operation in NEEDED and not reply.get(NEEDED[operation]):
                raise NotS3(f"no {NEEDED[operation]}")
        return reply

    def _see_bucket(self) -> None:
        # A HEAD gets a 404 if the key, the bucket or, at some endpoints, the user does not exist.
        if not self._bucket_seen:
            try:
                self.call("head_bucket")
            except CredentialsRefused:
                raise
            except StoreDenied:
                self._bucket_seen = True  # it exists; HeadBucket needs another permission

    def _raise_reason(self, operation: str, key: str, parameters: dict[str, Any]) -> None:
        # The reply to a HEAD has no body, so it gives no reason. Nearly the same request as a GET does.
        if operation == "head_object":
            plain = {name: value for name, value in parameters.items() if name != "ChecksumMode"}
            self._ask("get_object", key, plain | {"Range": "bytes=0-0"})["Body"].close()
        elif operation == "head_bucket":
            self._ask("list_objects_v2", key, parameters | {"MaxKeys": 1})

    @contextmanager
    def explained(self, operation: str, key: str = "") -> Iterator[None]:
        """Turn exceptions of botocore inside the block into typed errors."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        tried = Tried(operation, key, self.settings)
        try:
            yield
        except ClientError as error:
            raise error_of_reply(error.response, tried) from error
        except (BotoCoreError, ResponseParserError, NotS3, HTTPError) as error:  # HTTPError: in the body of an error
            raise error_on_the_way(error, tried) from error

    def wait_out(self, conflict: PreconditionRefused, pause_s: float | None) -> None:
        """Wait up to ``pause_s`` before the next try of a write that was refused although the key does not exist; at
        random, so that two that conflict do not do so again. If it is ``None``, give up."""
        if pause_s is None:
            raise StoreUnavailable(
                f"{conflict.subject} could not be written to {where(self.settings)}: the endpoint kept refusing, "
                "although the key does not exist",
                subject=conflict.subject,
                answer=conflict.answer,
                next_step="Perhaps another run writes the same key: wait, then run the same again",
            ) from conflict
        self._pause(pause_s * (0.5 + self._chance() / 2))

    def foreign(self, operation: str, key: str, what: str) -> EngineError:
        """The error for a reply that S3 would not send; ``what`` says what is wrong with it."""
        return error_on_the_way(NotS3(what), Tried(operation, key, self.settings))

    @property
    def client(self) -> Any:
        """The botocore client."""
        with self._lock:
            if self._client is None:
                self._client = _new_client(self.settings, connections=self._connections)
            return self._client

    def close(self) -> None:
        """Close all connections. The next call opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def _new_client(settings: S3Settings, *, connections: int) -> Any:
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise LibraryMissing.named("boto3", error) from error
    _check_endpoint(settings)
    session = botocore.session.Session(profile=settings.profile or None)
    credentials_file = _credentials_file(settings)
    if credentials_file:
        session.set_config_variable("credentials_file", credentials_file)
    explicit = settings.credentials
    try:
        session.register_component("data_loader", _service_definitions(session.get_config_variable("data_path")))
        client = session.create_client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint or None,
            verify=_verification(settings),
            aws_access_key_id=explicit.access_key if explicit else None,
            aws_secret_access_key=explicit.secret_key if explicit else None,
            aws_session_token=explicit.session_token if explicit else None,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": settings.max_attempts},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                max_pool_connections=connections,
                user_agent_extra=f"zrb/{VERSION}",
                s3={"addressing_style": "path" if settings.endpoint else "auto"},
                # The store chooses checksums per endpoint: those that botocore adds by itself break some of them.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise error_on_the_way(error, Tried("head_bucket", "", settings)) from error
    s3_request_body.attach(client)
    s3_foreign_replies.attach(client)
    client.meta.events.register("before-call.s3", _stay)
    return client


def _stay(context: dict[str, Any], **_: object) -> None:
    # botocore would follow redirects to another region in some operations only, and those of a portal for ever.
    context.setdefault("s3_redirect", {})["redirected"] = True


@cache
def _service_definitions(data_path: str | None) -> Any:
    """botocore's description of S3. Reading its files takes most of the time to make a client, so all share it."""
    from botocore.loaders import create_loader

    return create_loader(data_path)


def _verification(settings: S3Settings) -> bool | str | None:
    if not settings.validate_certs:
        return False
    if not settings.ca_bundle:
        return None
    if not Path(settings.ca_bundle).is_file():
        raise TlsFailure(
            f"The CA bundle {settings.ca_bundle} does not exist",
            subject=settings.ca_bundle,
            next_step="Set ca_bundle to a file with PEM certificates, or leave it empty to use those of the system",
        )
    return settings.ca_bundle


def _check_endpoint(settings: S3Settings) -> None:
    if "@" in urlsplit(settings.endpoint).netloc:
        raise ConfigError(
            "The endpoint contains a user name or a password",
            subject="endpoint",
            next_step=f"Remove it, and put credentials into {DEFAULT_CREDENTIALS_FILE} (mode 0600)",
        )


def _credentials_file(settings: S3Settings) -> str:
    """The shared credentials file to use, or "" for botocore's own choice."""
    if settings.credentials is not None:
        return ""
    path = settings.credentials_file
    if not path and "AWS_SHARED_CREDENTIALS_FILE" not in os.environ and Path(DEFAULT_CREDENTIALS_FILE).exists():
        path = DEFAULT_CREDENTIALS_FILE
    if not path:
        return ""
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise KeyFileError(
            f"The credentials file {path} cannot be read",
            subject=path,
            answer=error.strerror or "",
            next_step="Correct its path, or create it with mode 0600",
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeyFileError(
            f"The credentials file {path} can be read by others (mode {stat.S_IMODE(mode):04o})",
            subject=path,
            next_step=f"Run `chmod 600 {path}`; if others may have read it, get new credentials, too",
        )
    return path
