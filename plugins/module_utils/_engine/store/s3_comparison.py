# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares an object with what we sent: by its stored checksum, then by its ETag, else by reading it back."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..errors import ObjectArchived, ObjectExists, ObjectMissing, StoreDenied
from ..values.manifest import Checksum
from .s3_errors import where
from .s3_session import S3Session

_MD5_ETAG = re.compile(r"[0-9a-f]{32}")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ExpectedContent:
    """The content that an object should have: the SHA-256 of each chunk, in order, and the ETag that results if ETags
    are MD5 sums."""

    chunks: tuple[tuple[int, bytes], ...]
    """Length and SHA-256 of every chunk."""
    etag: Callable[[], str]
    composite: str = ""
    """The composite SHA-256 of the object, if it was uploaded in other chunks than ``chunks``."""

    @property
    def size(self) -> int:
        """Bytes of all chunks."""
        return sum(length for length, _digest in self.chunks)

    def sha256_texts(self) -> set[str]:
        """The forms in which an endpoint may write the SHA-256: of the digests, and of a single chunk itself."""
        composite = b64encode(hashlib.sha256(b"".join(digest for _length, digest in self.chunks)).digest()).decode()
        texts = {self.composite or f"{composite}-{len(self.chunks)}"}
        if len(self.chunks) == 1:
            texts.add(b64encode(self.chunks[0][1]).decode())
        return texts


def multipart_etag(etags: Sequence[str]) -> str:
    """The ETag that S3 gives a multipart object, from those of its parts; "" if these are not MD5 sums."""
    plain = [etag.strip('"') for etag in etags]
    if not all(_MD5_ETAG.fullmatch(etag) for etag in plain):
        return ""
    return f"{hashlib.md5(bytes.fromhex(''.join(plain)), usedforsecurity=False).hexdigest()}-{len(plain)}"


def checksum_of(reply: Mapping[str, Any]) -> Checksum:
    """The best checksum and the ETag in a reply to a write or a HEAD, or in an entry of a listing."""
    etag = str(reply.get("ETag", "")).strip('"')
    sha256 = str(reply.get("ChecksumSHA256") or "")
    if not sha256:
        return Checksum("none", "", etag)
    _digest, dash, parts = etag.partition("-")
    if "-" not in sha256 and dash and reply.get("ChecksumType") != "FULL_OBJECT":
        sha256 = f"{sha256}-{parts}"  # some endpoints leave the number of parts off in a HEAD
    return Checksum("sha256-composite" if "-" in sha256 else "sha256", sha256, etag)


def same_content(session: S3Session, key: str, expected: ExpectedContent) -> Checksum | None:
    """Return the checksum of ``key`` if it holds ``expected``, or ``None`` if it does not exist. Raises
    ``ObjectExists`` if it holds something else, or cannot be compared."""
    try:
        head = session.call("head_object", key=key, ChecksumMode="ENABLED")
    except ObjectMissing:
        return None
    if int(head.get("ContentLength", -1)) != expected.size:
        raise _other(session, key, f"it has {head.get('ContentLength')} bytes instead of {expected.size}")
    checksum = checksum_of(head)
    if checksum.value in expected.sha256_texts():
        return checksum
    if checksum.etag and checksum.etag == expected.etag():
        return checksum
    return checksum if _read_back(session, key, expected) else None


def _read_back(session: S3Session, key: str, expected: ExpectedContent) -> bool:
    """True if the content is the same, False if the key vanished in between."""
    try:
        reply = session.call("get_object", key=key)
    except ObjectMissing:
        return False
    except (ObjectArchived, StoreDenied) as error:
        raise _other(session, key, f"its content cannot be read back to compare ({error.answer})") from error
    with closing(reply["Body"]) as body, session.explained("get_object", key):
        for length, digest in expected.chunks:
            found = hashlib.sha256()
            left = length
            while left and (block := body.read(min(left, _READ_BYTES))):
                found.update(block)
                left -= len(block)
            if left or found.digest() != digest:
                raise _other(session, key, "its content differs")
    return True


def _other(session: S3Session, key: str, difference: str) -> ObjectExists:
    return ObjectExists(
        f"{key} exists already in {where(session.settings)}, and {difference}",
        subject=key,
        next_step="zrb never overwrites an object: find out what wrote this one",
    )
