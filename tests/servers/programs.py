# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S3 servers of others, as processes on the loopback interface."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from zrb.values.config import S3Credentials, S3Settings

from tests.integration.s3_fixtures import free_port

PROGRAMS = Path(os.environ.get("ZRB_TEST_SERVERS", ""))
"""A directory that `make test-servers` fills."""
PREFIX = "nas/"
_START_TIMEOUT_S = 60
_START_TRIES = 3
_buckets = count(1)


@dataclass(frozen=True)
class Kind:
    """A server program. ``words`` makes its command line of the program, a directory and a port."""

    name: str
    words: Callable[[str, Path, int], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    access_key: str = "zrbtest-access-key"
    secret_key: str = "zrbtest-secret-key"
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name)

    @property
    def program(self) -> Path:
        """The file; it does not exist if the server cannot be had here."""
        return PROGRAMS / self.name

    @property
    def version(self) -> str:
        """As it is pinned: the name in the cache ends with it."""
        made = self.program.resolve()
        return (made.name if made.name != self.name else made.parent.name).removeprefix(f"{self.name}-")


MINIO = Kind(
    "minio",
    lambda program, data, port: [program, "server", "--quiet", "--address", f"127.0.0.1:{port}", f"{data}/objects"],
    {
        "MINIO_ROOT_USER": Kind.access_key,
        "MINIO_ROOT_PASSWORD": Kind.secret_key,
        "MINIO_REGION": "us-east-1",
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
    },
    title="MinIO",
)
VERSITYGW = Kind(
    "versitygw",
    lambda program, data, port: [
        *(program, "--quiet", "--port", f"127.0.0.1:{port}", "posix"),
        *("--sidecar", f"{data}/attributes", f"{data}/objects"),
    ],
    {"ROOT_ACCESS_KEY": Kind.access_key, "ROOT_SECRET_KEY": Kind.secret_key},
)
RCLONE = Kind(
    "rclone",
    lambda program, data, port: [
        *(program, "serve", "s3", "--config", f"{data}/rclone.conf", "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{Kind.access_key},{Kind.secret_key}", "--vfs-cache-mode", "off", f"{data}/objects"),
    ],
)
S3RVER = Kind(
    "s3rver",
    lambda program, data, port: [
        *(program, "--silent", "--address", "127.0.0.1", "--port", f"{port}"),
        *("--no-vhost-buckets", "--directory", f"{data}/objects"),
    ],
    access_key="S3RVER",
    secret_key="S3RVER",
)
KINDS = (MINIO, VERSITYGW, RCLONE, S3RVER)


@dataclass
class Server:
    """One that runs on ``port``, or is made to."""

    kind: Kind
    data: Path
    port: int
    scheme: str = "http"
    more: Sequence[str] = ()
    """Further words for its command line."""
    ca_bundle: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> S3Credentials:
        """Those of its owner."""
        return S3Credentials(self.kind.access_key, self.kind.secret_key)

    def start(self) -> None:
        """Begin, and wait until it answers. Call it from the main thread: it ends with the thread that began it."""
        with (self.data / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # Nothing stays behind, even if the tests are killed.
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *self.kind.words(str(self.kind.program), self.data, self.port),
                    *self.more,
                ],
                env={"PATH": os.environ["PATH"], "HOME": str(self.data), **self.kind.environment},
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"{self.kind.name} did not start: {(self.data / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def client(self, service: str = "s3", credentials: S3Credentials | None = None) -> Any:
        """A plain botocore client that adds nothing by itself, with ``credentials`` or those of the owner."""
        return _client(service, self.endpoint, credentials or self.credentials, self.ca_bundle)

    def new_bucket(self, **parameters: Any) -> S3Settings:
        """A bucket of its own, and the settings that reach it. It goes with the server."""
        name = f"zrbtest-{next(_buckets)}"
        self.client().create_bucket(Bucket=name, **parameters)
        return self.settings(name)

    def settings(self, bucket: str) -> S3Settings:
        """What reaches ``bucket``."""
        return S3Settings(
            bucket=bucket,
            endpoint=self.endpoint,
            prefix=PREFIX,
            max_attempts=2,
            credentials=self.credentials,
            ca_bundle=self.ca_bundle,
        )

    def _answers(self) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True


@cache  # making one takes longer than most tests
def _client(service: str, endpoint: str, credentials: S3Credentials, ca_bundle: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.Session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key,
        aws_session_token=credentials.session_token,
        verify=ca_bundle or None,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


@contextmanager
def running(kind: Kind, *, data: Path | None = None, **changes: Any) -> Iterator[Server]:
    """A server of ``kind`` with a directory of its own, below ``data`` if that is given. Both are gone at the end."""
    place = Path(tempfile.mkdtemp(prefix=f"zrbtest-{kind.name}-", dir=data))
    for name in ("objects", "attributes"):
        (place / name).mkdir()
    server = None
    try:
        for left in reversed(range(_START_TRIES)):
            server = Server(kind, place, free_port(), **changes)
            try:
                server.start()
            except RuntimeError:  # somebody may have taken the port meanwhile
                if not left:
                    raise
            else:
                break
        assert server is not None
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(place)
