# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""S3 endpoints on loopback: MinIO, and a sink that takes everything and keeps nothing but lengths."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

BUCKET = "bench"
KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class Endpoint:
    """Where an S3 server answers. ``ca_bundle`` is empty without TLS."""

    url: str
    ca_bundle: str = ""


@contextmanager
def minio(program: Path, directory: Path) -> Iterator[Endpoint]:
    """A MinIO that keeps its data in ``directory``, with the bucket made."""
    port = _free_port()
    environment = {
        **os.environ,
        "MINIO_ROOT_USER": KEYS["AWS_ACCESS_KEY_ID"],
        "MINIO_ROOT_PASSWORD": KEYS["AWS_SECRET_ACCESS_KEY"],
        "MINIO_UPDATE": "off",
        "MINIO_BROWSER": "off",
        "HOME": str(directory),
    }
    (directory / BUCKET).mkdir(parents=True)
    command = [str(program), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(directory)]
    with _running(command, environment, f"http://127.0.0.1:{port}/minio/health/live"):
        yield Endpoint(f"http://127.0.0.1:{port}")


@contextmanager
def sink(scratch: Path, *, tls: bool) -> Iterator[Endpoint]:
    """The sink of this file, in a process of its own."""
    port = _free_port()
    certificate = _certificate(scratch) if tls else None
    command = [sys.executable, "-m", "tests.bench.servers", str(port), str(certificate or "")]
    with _running(command, dict(os.environ), f"127.0.0.1:{port}"):
        yield Endpoint(f"{'https' if tls else 'http'}://127.0.0.1:{port}", str(certificate or ""))


@contextmanager
def _running(command: list[str], environment: dict[str, str], ready: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with status {process.returncode}")
            if _answers(ready):
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(ready: str) -> bool:
    try:
        if ready.startswith("http"):
            urllib.request.urlopen(ready).close()
        else:
            host, port = ready.split(":")
            socket.create_connection((host, int(port))).close()
    except (OSError, urllib.error.URLError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _certificate(scratch: Path) -> Path:
    """A certificate for 127.0.0.1 with its key in one file."""
    path = scratch / "sink.pem"
    if not path.exists():
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=sink"
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
        subprocess.run([*command.split(), *names], check=True, capture_output=True)
        path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


class _Sink(BaseHTTPRequestHandler):
    """Answers as S3 does where it must: the checksum that was sent is the one that it says it has."""

    protocol_version = "HTTP/1.1"
    rbufsize = 1 << 20
    lengths: dict[str, int] = {}  # noqa: RUF012 - one for the process
    uploads: dict[str, int] = {}  # noqa: RUF012
    _buffer = bytearray(1 << 20)

    def do_PUT(self) -> None:
        """PutObject and UploadPart."""
        length = self._swallow()
        place = urlsplit(self.path)
        if "partNumber" in parse_qs(place.query):
            self.uploads[place.path] = self.uploads.get(place.path, 0) + length
        else:
            self.lengths[place.path] = length
        checksum = self.headers.get("x-amz-checksum-sha256")
        etag = hashlib.md5(f"{self.path} {length}".encode(), usedforsecurity=False).hexdigest()
        self._answer(200, b"", {"ETag": f'"{etag}"'} | ({"x-amz-checksum-sha256": checksum} if checksum else {}))

    def do_POST(self) -> None:
        """CreateMultipartUpload and CompleteMultipartUpload."""
        place = urlsplit(self.path)
        self._swallow()
        bucket, _, key = place.path.lstrip("/").partition("/")
        names = f"<Bucket>{bucket}</Bucket><Key>{key}</Key>"
        if re.search(r"\buploads\b", place.query):
            self._xml(f"<InitiateMultipartUploadResult>{names}<UploadId>1</UploadId></InitiateMultipartUploadResult>")
        else:
            self.lengths[place.path] = self.uploads.pop(place.path, 0)
            self._xml(f'<CompleteMultipartUploadResult>{names}<ETag>"1-1"</ETag></CompleteMultipartUploadResult>')

    def do_HEAD(self) -> None:
        """HeadObject and HeadBucket."""
        place = urlsplit(self.path).path
        length = 0 if place.strip("/") == BUCKET else self.lengths.get(place)
        headers = {"ETag": '"1-1"', "Content-Length": str(length)}
        self._answer(404 if length is None else 200, b"", {} if length is None else headers)

    def do_GET(self) -> None:
        """Nothing is kept, so nothing is there."""
        self._xml("<Error><Code>NoSuchKey</Code></Error>", status=404)

    def do_DELETE(self) -> None:
        """AbortMultipartUpload."""
        self._answer(204, b"", {})

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _swallow(self) -> int:
        length = left = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect") == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        view = memoryview(self._buffer)
        while left:
            left -= self.rfile.readinto(view[: min(left, len(view))]) or left
        return length

    def _xml(self, text: str, *, status: int = 200) -> None:
        self._answer(status, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), {"Content-Type": "text/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def main(port: str, certificate: str) -> None:
    """Be the sink."""
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Sink)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
