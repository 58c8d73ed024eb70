# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A proxy before an S3 server that does to requests and replies what bad networks and bad endpoints do."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import ClassVar
from urllib.parse import urlsplit


@dataclass
class Request:
    """A request as it came from the client. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Reply:
    """A reply on its way to the client."""

    status: int
    headers: dict[str, str]
    body: bytes
    promised: int | None = None
    """Content-Length to announce, where the body is to be shorter than that."""


class _Reset(Exception):
    """Close the connection at once."""


@dataclass
class _Fault:
    method: str
    path: str
    skip: int
    times: int
    before: Callable[[Request], Reply | None] | None = None
    after: Callable[[Reply], Reply] | None = None


@dataclass
class FaultProxy:
    """Listens on loopback and forwards to ``upstream``. Faults are chosen by method and by a pattern (fnmatch) on
    path and query, skip the first ``skip`` of those requests and strike ``times`` times. Use as a context manager."""

    upstream: str
    certificate: tuple[Path, Path] | None = None
    """Certificate and key files, to speak TLS."""
    drop_request_headers: tuple[str, ...] = ()
    """Patterns of headers that this endpoint does not know."""
    drop_reply_headers: tuple[str, ...] = ()
    check_sha256: bool = False
    """Refuse bodies that do not have their x-amz-checksum-sha256."""
    check_md5: bool = False
    """Refuse bodies that do not have their Content-MD5."""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    """How many were opened so far."""
    _faults: list[_Fault] = field(default_factory=list)

    def __enter__(self) -> FaultProxy:
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """URL of the proxy."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self._server.server_address[1]}"

    def count(self, method: str, path: str = "*") -> int:
        """How many such requests came."""
        return sum(request.method == method and fnmatchcase(request.path, path) for request in self.requests)

    # --- faults ---

    def answer(
        self,
        status: int,
        code: str,
        *,
        message: str = "as the test wants it",
        method: str = "*",
        path: str = "*",
        skip: int = 0,
        times: int = 10**9,
        headers: Mapping[str, str] | None = None,
        more: str = "",
    ) -> None:
        """Answer with an S3 error and do not forward the request. ``more`` is XML inside the error."""
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()
        reply = Reply(status, {"Content-Type": "application/xml", **(headers or {})}, body)
        self._add(_Fault(method, path, skip, times, before=lambda request: reply))

    def impersonate(
        self,
        body: bytes,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        promised: int | None = None,
        method: str = "*",
        path: str = "*",
        skip: int = 0,
        times: int = 10**9,
    ) -> None:
        """Answer in place of the server, as captive portals and gateways do."""
        reply = Reply(status, dict(headers or {}), body, promised)
        self._add(_Fault(method, path, skip, times, before=lambda request: reply))

    def reset_before(self, *, method: str = "*", path: str = "*", skip: int = 0, times: int = 10**9) -> None:
        """Break the connection; the server never sees the request."""

        def reset(request: Request) -> Reply | None:
            raise _Reset

        self._add(_Fault(method, path, skip, times, before=reset))

    def lose_reply(self, *, method: str = "*", path: str = "*", skip: int = 0, times: int = 10**9) -> None:
        """Let the server do it, and break the connection instead of telling the client."""

        def reset(reply: Reply) -> Reply:
            raise _Reset

        self._add(_Fault(method, path, skip, times, after=reset))

    def cut_body(self, keep: int, *, method: str = "GET", path: str = "*", skip: int = 0, times: int = 10**9) -> None:
        """Announce the whole body, and send only its first ``keep`` bytes."""

        def cut(reply: Reply) -> Reply:
            return Reply(reply.status, reply.headers, reply.body[:keep], promised=len(reply.body))

        self._add(_Fault(method, path, skip, times, after=cut))

    def change_reply(
        self,
        change: Callable[[Reply], Reply],
        *,
        method: str = "*",
        path: str = "*",
        skip: int = 0,
        times: int = 10**9,
    ) -> None:
        """Let ``change`` make another reply of the server's."""
        self._add(_Fault(method, path, skip, times, after=change))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    # --- inside ---

    def _add(self, fault: _Fault) -> None:
        self._faults.append(fault)

    def handle(self, request: Request) -> Reply:
        """The reply to ``request``."""
        self.requests.append(request)
        fault = self._due(request)
        if fault and fault.before:
            reply = fault.before(request)
            if reply is not None:
                return reply
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        reply = self._forward(request)
        reply.headers = {
            name: value for name, value in reply.headers.items() if not _matches(name, self.drop_reply_headers)
        }
        return fault.after(reply) if fault and fault.after else reply

    def _due(self, request: Request) -> _Fault | None:
        for fault in self._faults:
            if fnmatchcase(request.method, fault.method) and fnmatchcase(request.path, fault.path):
                if fault.skip:
                    fault.skip -= 1
                elif fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _refusal(self, request: Request) -> Reply | None:
        wanted_sha256 = request.headers.get("x-amz-checksum-sha256")
        wanted_md5 = request.headers.get("content-md5")
        if (self.check_sha256 and wanted_sha256 not in (None, b64encode(sha256(request.body).digest()).decode())) or (
            self.check_md5 and wanted_md5 not in (None, b64encode(md5(request.body).digest()).decode())
        ):
            body = b"<?xml version='1.0'?><Error><Code>BadDigest</Code><Message>does not match</Message></Error>"
            return Reply(400, {"Content-Type": "application/xml"}, body)
        return None

    def _forward(self, request: Request) -> Reply:
        headers = {
            name: value for name, value in request.headers.items() if not _matches(name, self.drop_request_headers)
        }
        headers.pop("expect", None)
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        try:
            connection.request(request.method, request.path, body=request.body, headers=headers)
            answer = connection.getresponse()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}
            }
            if request.method == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            return Reply(answer.status, kept, answer.read())
        finally:
            connection.close()


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are the purpose; nothing is printed."""


class _Handler(BaseHTTPRequestHandler):
    proxy: ClassVar[FaultProxy]
    protocol_version = "HTTP/1.1"
    timeout = 60

    def setup(self) -> None:
        """A connection was opened."""
        super().setup()
        self.proxy.connections += 1

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            reply = self.proxy.handle(Request(self.command, self.path, headers, body))
        except _Reset:
            self._break()
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(reply.body) if reply.promised is None else reply.promised))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        if reply.promised is not None:
            self.wfile.flush()
            self.close_connection = True

    def _break(self) -> None:
        self.close_connection = True
        # With this option, closing sends a reset.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""
