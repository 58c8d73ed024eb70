# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes one object as a multipart upload."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import EngineError, ObjectExists, ObjectMissing, StoreError, StoreUnavailable
from ..values.manifest import Checksum
from .protocol import Buffer
from .s3_comparison import ExpectedContent, checksum_of, multipart_etag, same_content
from .s3_endpoint_features import WriteGuards
from .s3_errors import PreconditionRefused, UploadGone
from .s3_request_body import MemoryBody
from .s3_session import S3Session
from .written_chunks import WrittenChunk, WrittenChunks

_ABORTS = 3
CONFLICT_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Pauses before a write is tried again that S3 refused because the same key was being written or deleted (409
ConditionalRequestConflict)."""


@dataclass(frozen=True, slots=True)
class _ChunkProof:
    sha256: bytes
    etag: str
    stored_sha256: str


class S3Upload:
    """Implements :class:`.protocol.Upload`. ``proven`` says that the endpoint is known to refuse overwriting."""

    def __init__(
        self,
        session: S3Session,
        key: str,
        *,
        upload_id: str,
        guards: WriteGuards,
        proven: bool,
        total_chunks: int | None,
    ) -> None:
        self._session = session
        self._key = key
        self._upload_id = upload_id
        self._guards = guards
        self._proven = proven
        self._chunks: WrittenChunks[_ChunkProof] = WrittenChunks(key, total_chunks=total_chunks)
        self._ended = False

    @property
    def upload_id(self) -> str:
        """The endpoint's name for this upload."""
        return self._upload_id

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        """See :class:`.protocol.Upload`."""
        view = memoryview(data).cast("B")
        digest = sha256 or hashlib.sha256(view).digest()
        reply = self._session.call(
            "upload_part",
            key=self._key,
            UploadId=self._upload_id,
            PartNumber=number + 1,
            Body=MemoryBody(view, sha256=digest, flow=self._session.flow),
            **digest_headers(view, digest, self._guards),
        )
        stored = checked_reply(reply, digest, self._key)
        proof = _ChunkProof(sha256=digest, etag=str(reply["ETag"]), stored_sha256=stored)
        self._chunks.add(WrittenChunk(number=number, offset=offset, bytes=len(view), proof=proof))

    def expected_checksum(self) -> Checksum:
        """See :class:`.protocol.Upload`."""
        content = _content_of(self._chunks.whole())
        if self._guards.sha256:
            return Checksum("sha256-composite", content.sha256_texts().pop(), content.etag())
        return Checksum("none", "", content.etag())

    def complete(self) -> Checksum:
        """See :class:`.protocol.Upload`."""
        chunks = self._chunks.whole()
        expected = _content_of(chunks)
        try:
            if not self._proven and (found := same_content(self._session, self._key, expected)):
                self.abort()
                return found
            checksum = self._complete(chunks, expected)
        except ObjectExists:
            self.abort()
            raise
        self._ended = True
        return checksum

    def abort(self) -> None:
        """See :class:`.protocol.Upload`."""
        if not self._ended:
            self._ended = True
            with suppress(EngineError):  # the bucket's rule for unfinished uploads removes what stays
                abort_multipart(self._session, self._key, self._upload_id)

    def _complete(self, chunks: list[WrittenChunk[_ChunkProof]], expected: ExpectedContent) -> Checksum:
        conditional = {"IfNoneMatch": "*"} if self._guards.conditional else {}
        pauses_s = iter(CONFLICT_PAUSES_S)
        while True:
            try:
                reply = self._session.call(
                    "complete_multipart_upload",
                    key=self._key,
                    UploadId=self._upload_id,
                    MultipartUpload={"Parts": [_part(chunk) for chunk in chunks]},
                    **conditional,
                )
            except (PreconditionRefused, UploadGone, StoreUnavailable) as error:
                # A retry by botocore can fail although the first request worked, so look at what is there now.
                found = same_content(self._session, self._key, expected)
                if found is None:
                    if not isinstance(error, PreconditionRefused):
                        raise
                    self._session.wait_out(error, next(pauses_s, None))
                    continue
                if isinstance(error, PreconditionRefused):
                    self.abort()
                return found
            return self._confirmed(checksum_of(reply), expected)

    def _confirmed(self, checksum: Checksum, expected: ExpectedContent) -> Checksum:
        """Return the checksum of the completed object: from the reply to Complete if that has the expected one, else
        from a HEAD."""
        texts = expected.sha256_texts()
        if checksum.value not in texts and (self._guards.sha256 or checksum.etag != expected.etag()):
            try:
                head = self._session.call("head_object", key=self._key, ChecksumMode="ENABLED")
            except ObjectMissing as error:
                raise self._session.foreign("complete_multipart_upload", self._key, "no object exists") from error
            if head["ContentLength"] != expected.size:
                raise _stored_otherwise(self._key, f"{head['ContentLength']} bytes instead of {expected.size}")
            checksum = checksum_of(head)
        comparable = checksum.kind == "sha256-composite" or (checksum.kind == "sha256" and len(expected.chunks) == 1)
        if comparable and checksum.value not in texts:
            raise _stored_otherwise(self._key, f"x-amz-checksum-sha256: {checksum.value}")
        return checksum


def _content_of(chunks: list[WrittenChunk[_ChunkProof]]) -> ExpectedContent:
    return ExpectedContent(
        chunks=tuple((chunk.bytes, chunk.proof.sha256) for chunk in chunks),
        etag=lambda: multipart_etag([chunk.proof.etag for chunk in chunks]),
    )


def _part(chunk: WrittenChunk[_ChunkProof]) -> dict[str, Any]:
    part: dict[str, Any] = {"PartNumber": chunk.number + 1, "ETag": chunk.proof.etag}
    if chunk.proof.stored_sha256:
        part["ChecksumSHA256"] = chunk.proof.stored_sha256
    return part


def abort_multipart(session: S3Session, key: str, upload_id: str) -> None:
    """Abort an upload. Abort it again if chunks in flight arrived later (S3 User Guide, "Aborting a multipart
    upload"). It is not an error if the upload is gone already. Listing the chunks that are left needs another
    permission, and some endpoints cannot: then this aborts only once."""
    for _attempt in range(_ABORTS):
        try:
            session.call("abort_multipart_upload", key=key, UploadId=upload_id)
        except UploadGone:
            return
        try:
            left = session.call("list_parts", key=key, UploadId=upload_id).get("Parts")
        except StoreError:
            return
        if not left:
            return


def digest_headers(view: memoryview, sha256: bytes, guards: WriteGuards) -> dict[str, str]:
    """Parameters that let the endpoint check the bytes that it receives."""
    headers: dict[str, str] = {}
    if guards.sha256:
        headers |= {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": b64encode(sha256).decode()}
    if guards.md5:
        headers["ContentMD5"] = b64encode(hashlib.md5(view, usedforsecurity=False).digest()).decode()
    return headers


def checked_reply(reply: dict[str, Any], sha256: bytes, key: str) -> str:
    """The SHA-256 of what the endpoint says it stored, or "". Raises :class:`StoreError` if that differs from ours."""
    stored = str(reply.get("ChecksumSHA256") or "")
    if stored and stored != b64encode(sha256).decode():
        raise _stored_otherwise(key, f"x-amz-checksum-sha256: {stored}")
    return stored


def _stored_otherwise(key: str, answer: str) -> StoreError:
    return StoreError(
        f"The endpoint stored {key} with other bytes than were sent",
        subject=key,
        answer=answer,
        next_step="The bytes were damaged on the way and nothing was committed: check the network and this machine's "
        "memory, then run the same again",
    )
