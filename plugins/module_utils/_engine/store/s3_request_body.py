# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gives botocore bytes in memory as a file to send, without copying them, and without hashing them to sign the
request."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from .protocol import Flow, free_flow

_LEAST_BYTES = 8 * 1024
_MOST_BYTES = 1 << 20
_PIECE_S = 0.25
"""How long a piece may take. Short pieces keep a bandwidth limit exact, an endpoint from hanging up, and the timeout of
the socket, which counts for a whole piece, far away. A fast line gets the largest pieces."""


class MemoryBody:
    """A file-like, seekable view of a buffer. botocore reads it to send it, and again for a retry. ``sha256`` is the
    digest of the buffer, for the signature.

    It returns slices of the buffer itself, and each is sent before the next one is read. Only while it is sent, it
    calls ``flow`` before each slice, and the speed of the line sets their length instead of the requested size.
    """

    def __init__(
        self,
        view: memoryview,
        *,
        sha256: bytes,
        flow: Flow = free_flow,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sha256 = sha256
        self._view = view
        self._position = 0
        self._flow = flow
        self._clock = clock
        self._leaving = False
        self._piece_bytes = 0
        self._piece_began = 0.0

    def leave(self) -> None:
        """From now on, until the next seek, everything that is read is sent."""
        self._leaving = True
        self._piece_bytes = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int | None = -1) -> memoryview:
        """The next ``size`` bytes, or all that remain. While sending: a piece whose length suits the line."""
        if self._leaving:
            size = self._next_piece()
        end = len(self._view) if size is None or size < 0 else min(self._position + size, len(self._view))
        piece = self._view[self._position : end]
        if self._leaving and len(piece):
            self._flow(len(piece))
        self._position = end
        return piece

    def _next_piece(self) -> int:
        now = self._clock()
        if self._piece_bytes:
            took_s = max(now - self._piece_began, 1e-6)  # with the wait for its turn
            fitting = int(self._piece_bytes * min(2.0, _PIECE_S / took_s))
            self._piece_bytes = max(_LEAST_BYTES, min(_MOST_BYTES, fitting))
        else:
            self._piece_bytes = _LEAST_BYTES
        self._piece_began = now
        return self._piece_bytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte."""
        self._leaving = False
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._view)}[whence]
        self._position = max(0, min(start + offset, len(self._view)))
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


def attach(client: Any) -> None:
    """Make ``client`` send and sign bodies of this class."""
    events = client.meta.events
    events.register("before-send.s3", _before_send)
    for operation in ("PutObject", "UploadPart"):
        events.register(f"choose-signer.s3.{operation}", _choose_signer)


def _before_send(request: Any, **_: object) -> None:
    # The request is signed. Next, botocore sends its body.
    if isinstance(request.body, MemoryBody):
        request.body.leave()


def _choose_signer(context: Mapping[str, Any], signature_version: object, **_: object) -> str | None:
    plain = context.get("auth_type") in (None, "v4", "s3v4") and signature_version in ("v4", "s3v4")
    return _signer() if plain else None  # None: as botocore would


@cache
def _signer() -> str:
    """The name under which botocore finds a signer that does not hash a :class:`MemoryBody`."""
    from botocore.auth import AUTH_TYPE_MAPS, UNSIGNED_PAYLOAD, S3SigV4Auth

    class KnownPayload(S3SigV4Auth):
        def payload(self, request: Any) -> str:
            if not isinstance(request.body, MemoryBody):
                return str(super().payload(request))
            # TLS already protects the bytes; S3 accepts this word instead of a hash.
            return UNSIGNED_PAYLOAD if request.url.startswith("https:") else request.body.sha256.hex()

    name = "zrb-s3v4"
    AUTH_TYPE_MAPS[name] = KnownPayload
    return name
