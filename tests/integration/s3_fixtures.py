# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A local S3 server and fresh buckets for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from zrb.values.config import S3Credentials, S3Settings

from tests.fakes.s3_proxy import FaultProxy

ACCESS_KEY = "zrbtest-access-key"
SECRET_KEY = "zrbtest-secret-key"
_START_TIMEOUT_S = 60
_bucket_numbers = count(1)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class S3Server:
    """A moto server in a process of its own."""

    host: str
    port: int

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://{self.host}:{self.port}"

    def client(self) -> Any:
        """A plain botocore client, for looking at and preparing what the code under test sees."""
        return _plain_client(self.endpoint)


@cache  # making one takes longer than most tests
def _plain_client(endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}),
    )


@dataclass(frozen=True)
class LocalBucket:
    """A fresh bucket, and the settings that reach it."""

    server: S3Server
    settings: S3Settings

    @property
    def name(self) -> str:
        """Name of the bucket."""
        return self.settings.bucket

    @property
    def endpoint(self) -> str:
        """URL of its server."""
        return self.server.endpoint

    def client(self) -> Any:
        """A plain botocore client."""
        return self.server.client()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One moto server for the whole session: the one that runs already where ZRB_TEST_S3_ENDPOINT names one, since
    a virtual machine uses that of its host."""
    running = urlsplit(os.environ.get("ZRB_TEST_S3_ENDPOINT", ""))
    if running.hostname and running.port:
        yield S3Server(running.hostname, running.port)
        return
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_until_listening(process, port)
        yield S3Server("127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def bucket(s3_server: S3Server) -> Iterator[LocalBucket]:
    """A bucket of its own for each test, emptied and deleted afterwards."""
    name = f"zrbtest-{next(_bucket_numbers)}"
    client = s3_server.client()
    client.create_bucket(Bucket=name)
    settings = S3Settings(
        bucket=name,
        endpoint=s3_server.endpoint,
        prefix="zfs-backups/",
        max_attempts=3,
        credentials=S3Credentials(ACCESS_KEY, SECRET_KEY),
    )
    yield LocalBucket(s3_server, settings)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        if page["KeyCount"]:
            client.delete_objects(
                Bucket=name, Delete={"Objects": [{"Key": entry["Key"]} for entry in page["Contents"]]}
            )
    client.delete_bucket(Bucket=name)


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy before the server that makes faults on demand."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(_START_TIMEOUT_S * 10):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            pass
        try:
            status = process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        raise RuntimeError(f"moto.server ended with status {status} before it listened on port {port}")
    raise RuntimeError(f"moto.server did not listen on port {port} within {_START_TIMEOUT_S} s")
