# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one fake of :class:`zrb.store.protocol.Store`: a repository in memory, with faults on demand."""

from __future__ import annotations

import hashlib
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Literal

from zrb.errors import (
    EngineError,
    IntegrityError,
    ObjectArchived,
    ObjectExists,
    ObjectMissing,
    PartDamaged,
    StoreDenied,
    StoreError,
    StoreUnavailable,
)
from zrb.store.object_keys import check_key, check_prefix
from zrb.store.protocol import Buffer, Ending, Flow, Removed, StoredObject, UnfinishedUpload, free_flow
from zrb.store.written_chunks import WrittenChunk, WrittenChunks
from zrb.values.manifest import Checksum

ARCHIVE_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}
Operation = Literal[
    "put",
    "open_upload",
    "put_chunk",
    "complete",
    "abort_upload",
    "uploads",
    "holds",
    "head",
    "get",
    "read_into",
    "list",
    "delete",
]


@dataclass
class _Object:
    content: bytes
    checksum: Checksum
    storage_class: str
    modified: datetime
    thawed: bool = False
    thawing: bool = False
    locked_until: datetime | None = None
    legal_hold: bool = False

    @property
    def readable(self) -> bool:
        return self.thawed or self.storage_class not in ARCHIVE_CLASSES


@dataclass
class _Fault:
    operation: Operation
    nth: int
    error: EngineError
    after: bool
    key_part: str
    seen: int = 0


def unavailable() -> StoreUnavailable:
    """The error of a fault that names no other."""
    return StoreUnavailable("The fake store is told to fail", answer="503 SlowDown", next_step="Expect it in the test")


class MemoryStore:
    """Implements :class:`zrb.store.protocol.Store` and behaves like a good S3 endpoint.

    Faults: :meth:`fail` (nothing happened), :meth:`lose_reply` (it happened, but the caller is told otherwise),
    :meth:`corrupt`, :meth:`truncate`, :meth:`replace` and :meth:`remove` (the storage lies), :meth:`archive`.
    ``calls`` has every call, ``unfinished`` the uploads neither completed nor aborted.
    """

    def __init__(
        self,
        *,
        kind: Literal["s3", "directory"] = "s3",
        location: str = "memory://repository/",
        keeps_checksums: bool = True,
    ) -> None:
        self._kind: Literal["s3", "directory"] = kind
        self._keeps_checksums = keeps_checksums
        self._location = location
        self._objects: dict[str, _Object] = {}
        self._faults: list[_Fault] = []
        self._lock = threading.RLock()
        self._upload_numbers = count(1)
        self.unfinished: dict[str, MemoryUpload] = {}
        self.calls: list[tuple[Operation, str]] = []
        self.denied: set[Operation] = set()
        """What these credentials may not do, now and for ever."""
        self.closed = False
        self._flow: Flow = free_flow
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    # --- the protocol ---

    @property
    def kind(self) -> Literal["s3", "directory"]:
        return self._kind

    @property
    def location(self) -> str:
        return self._location

    def until(self, end: Ending) -> MemoryStore:
        return self

    def regulate(self, flow: Flow) -> None:
        self._flow = flow

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        self._flow(len(data))
        with self._called("put", key):
            content = _as_announced(key, data, sha256)
            return self._write(key, content, _sha256(content), storage_class)

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> MemoryUpload:
        with self._called("open_upload", key):
            upload_id = f"upload-{next(self._upload_numbers)}"
            upload = MemoryUpload(self, key, upload_id, total_chunks=total_chunks, storage_class=storage_class)
            self.unfinished[upload_id] = upload
            return upload

    def abort_upload(self, key: str, upload_id: str) -> None:
        with self._called("abort_upload", key):
            upload = self.unfinished.pop(upload_id, None)
            if upload is not None:
                upload.ended = True

    def uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        check_prefix(prefix)
        with _Call(self, "uploads", prefix):
            found = [one for one in self.unfinished.values() if one.key.startswith(prefix)]
        yield from (UnfinishedUpload(one.key, one.upload_id, one.started) for one in found)

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:
        with self._called("holds", key):
            found = self._objects.get(key)
            if found is None:
                return None
            if len(found.content) == size and hashlib.sha256(found.content).hexdigest() == sha256:
                return found.checksum
            raise _other_content(key)

    def head(self, key: str) -> StoredObject | None:
        with self._called("head", key):
            found = self._objects.get(key)
            if found is None:
                return None
            return replace(_stored(key, found), locked_until=found.locked_until, legal_hold=found.legal_hold)

    def get(self, key: str, *, limit: int) -> bytes:
        with self._called("get", key):
            content = self._readable(key).content
            if len(content) > limit:
                raise IntegrityError(f"{key} is longer than {limit} bytes", subject=key, next_step="Find out why")
            return content

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        self._flow(len(buffer))
        with self._called("read_into", key):
            view = buffer.cast("B")
            piece = self._readable(key).content[offset : offset + len(view)]
            if len(piece) < len(view):
                raise PartDamaged(
                    f"{key} ends at byte {offset + len(piece)}", subject=key, next_step="Run `zrb verify`"
                )
            view[:] = piece

    def list(self, prefix: str) -> Iterator[StoredObject]:
        check_prefix(prefix)
        with _Call(self, "list", prefix):
            found = sorted((key, _stored(key, entry)) for key, entry in self._objects.items() if key.startswith(prefix))
        for _, entry in found:
            yield replace(entry, checksum=Checksum("none", "", entry.checksum.etag), version=entry.checksum.etag)

    def close(self) -> None:
        self.closed = True

    # --- what a test may do to it ---

    @property
    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._objects)

    @property
    def contents(self) -> dict[str, bytes]:
        """What lies under each key."""
        with self._lock:
            return {key: found.content for key, found in self._objects.items()}

    def fail(self, operation: Operation, *, nth: int = 1, error: EngineError | None = None, key_part: str = "") -> None:
        """Let the ``nth`` call from now, of those whose key contains ``key_part``, fail before it does anything."""
        self._faults.append(_Fault(operation, nth, error or unavailable(), after=False, key_part=key_part))

    def lose_reply(self, operation: Operation, *, nth: int = 1, key_part: str = "") -> None:
        """Let the ``nth`` such call do its work and then fail, as when the reply never arrives."""
        self._faults.append(_Fault(operation, nth, unavailable(), after=True, key_part=key_part))

    def corrupt(self, key: str, position: int = 0) -> None:
        """Flip all bits of one byte; the checksum that the store tells stays the old one."""
        content = bytearray(self._objects[key].content)
        content[position] ^= 0xFF
        self._objects[key].content = bytes(content)

    def truncate(self, key: str, size: int) -> None:
        """Cut an object short."""
        self._objects[key].content = self._objects[key].content[:size]

    def replace(self, key: str, content: bytes) -> None:
        """Put other content there, as one with write access to the bucket could."""
        checksum = _sha256(content) if self._keeps_checksums else Checksum("none", "")
        self._objects[key] = _Object(content, checksum, "STANDARD", self.clock())

    def copy(self, key: str, chunks: int) -> None:
        """Write the same content again in so many chunks, as an honest copy does: its checksums are other ones."""
        content = self._objects[key].content
        etag = f"{_md5(f'{chunks} chunks of {_md5(content)}'.encode())}-{chunks}" if self._keeps_checksums else ""
        self._objects[key].checksum = Checksum("none", "", etag)

    def remove(self, key: str) -> None:
        """Delete an object."""
        del self._objects[key]

    def copy_objects(self) -> MemoryStore:
        """Another store with the same objects, which denies the same operations, without faults."""
        other = MemoryStore(kind=self._kind, location=self._location, keeps_checksums=self._keeps_checksums)
        other.denied = set(self.denied)
        with self._lock:
            other._objects = {key: replace(found) for key, found in self._objects.items()}
        return other

    @property
    def has_faults(self) -> bool:
        """Whether a call that comes may fail."""
        return bool(self.denied) or any(fault.seen < fault.nth for fault in self._faults)

    def archive(self, key: str, storage_class: str = "DEEP_ARCHIVE") -> None:
        """Move an object to an archive class: it can no longer be read."""
        self._objects[key].storage_class = storage_class
        self._objects[key].thawed = self._objects[key].thawing = False

    def write_at(self, key: str, modified: datetime, *, storage_class: str = "STANDARD") -> None:
        """Say that an object was written at that time, into that class."""
        self._objects[key].modified = modified
        self._objects[key].storage_class = storage_class

    def lock(self, key: str, *, until: datetime | None = None, legal_hold: bool = False) -> None:
        """Lock an object, as Object Lock does."""
        self._objects[key].locked_until, self._objects[key].legal_hold = until, legal_hold

    def thaw(self, key: str, *, done: bool = True) -> None:
        """Begin to thaw an object, or finish it."""
        self._objects[key].thawed, self._objects[key].thawing = done, not done

    # --- inside ---

    def _called(self, operation: Operation, key: str) -> _Call:
        check_key(key)
        return _Call(self, operation, key)

    def _due(self, operation: Operation, key: str) -> _Fault | None:
        self.calls.append((operation, key))
        due = None
        if operation in self.denied:
            denied = StoreDenied(
                "The fake store denies it", answer="403 AccessDenied", next_step="Expect it in the test"
            )
            due = _Fault(operation, 1, denied, after=False, key_part="")
        for fault in self._faults:
            if fault.operation == operation and fault.key_part in key:
                fault.seen += 1
                if fault.seen == fault.nth:
                    due = fault
        return due

    def _write(self, key: str, content: bytes, checksum: Checksum, storage_class: str) -> Checksum:
        found = self._objects.get(key)
        if found is None:
            kept = checksum if self._keeps_checksums else Checksum("none", "")
            self._objects[key] = _Object(content, kept, storage_class, self.clock())
            return kept
        if found.content != content:
            raise _other_content(key)
        return found.checksum

    def _readable(self, key: str) -> _Object:
        found = self._objects.get(key)
        if found is None:
            raise ObjectMissing(f"{key} is not in {self._location}", subject=key, next_step="Run `zrb verify`")
        if not found.readable:
            raise ObjectArchived(f"{key} is archived", subject=key, next_step="Thaw it")
        return found


class MemoryUpload:
    """Implements :class:`zrb.store.protocol.Upload`."""

    def __init__(
        self, store: MemoryStore, key: str, upload_id: str, *, total_chunks: int | None, storage_class: str
    ) -> None:
        self._store = store
        self._key = self.key = key
        self.started = store.clock()
        self._upload_id = upload_id
        self._storage_class = storage_class
        self._chunks: WrittenChunks[bytes] = WrittenChunks(key, total_chunks=total_chunks)
        self.ended = False

    @property
    def upload_id(self) -> str:
        return self._upload_id

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        self._store._flow(len(data))
        with self._store._called("put_chunk", self._key):
            if self.ended:
                raise StoreError(f"The upload of {self._key} is gone", subject=self._key, next_step="Begin again")
            content = _as_announced(self._key, data, sha256)
            self._chunks.add(WrittenChunk(number=number, offset=offset, bytes=len(content), proof=content))

    def expected_checksum(self) -> Checksum:
        pieces = [chunk.proof for chunk in self._chunks.whole()]
        digests = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
        if not self._store._keeps_checksums:
            return Checksum("none", "")
        composite = f"{b64encode(hashlib.sha256(digests).digest()).decode()}-{len(pieces)}"
        return Checksum("sha256-composite", composite, f"{_md5(b''.join(pieces))}-{len(pieces)}")

    def complete(self) -> Checksum:
        with self._store._called("complete", self._key):
            if self.ended:
                raise StoreError(f"The upload of {self._key} is gone", subject=self._key, next_step="Begin again")
            pieces = [chunk.proof for chunk in self._chunks.whole()]
            try:
                return self._store._write(self._key, b"".join(pieces), self.expected_checksum(), self._storage_class)
            finally:
                self.abort()

    def abort(self) -> None:
        with self._store._lock:
            self.ended = True
            self._store.unfinished.pop(self._upload_id, None)


class MemoryRemover:
    """Implements :class:`zrb.store.protocol.Remover`. ``between`` is called after each object: a request for many may
    be carried out in part."""

    def __init__(self, store: MemoryStore, between: Callable[[], object] = lambda: None) -> None:
        self._store = store
        self._between = between
        self.closed = False

    def remove(self, keys: Sequence[str]) -> Removed:
        failures: list[EngineError] = []
        for key in keys:
            try:
                with self._store._called("delete", key):
                    self._store._objects.pop(key, None)
            except StoreUnavailable:
                raise
            except StoreError as error:
                failures.append(error)
            self._between()
        return Removed(tuple(failures))

    def close(self) -> None:
        self.closed = True


class _Call:
    """One call: counted, alone in the store, and with the fault that is due."""

    def __init__(self, store: MemoryStore, operation: Operation, key: str) -> None:
        self._store, self._operation, self._key = store, operation, key
        self._fault: _Fault | None = None

    def __enter__(self) -> None:
        self._store._lock.acquire()
        self._fault = self._store._due(self._operation, self._key)
        if self._fault and not self._fault.after:
            self._store._lock.release()
            raise self._fault.error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._store._lock.release()
        if kind is None and self._fault and self._fault.after:
            raise self._fault.error


def _as_announced(key: str, data: Buffer, sha256: bytes | None) -> bytes:
    """The data as it arrived, compared with its checksum as S3 does it."""
    content = bytes(data)
    if sha256 is not None and hashlib.sha256(content).digest() != sha256:
        raise StoreError(f"What arrived for {key} has another SHA-256", subject=key, next_step="Send it again")
    return content


def _sha256(content: bytes) -> Checksum:
    return Checksum("sha256", b64encode(hashlib.sha256(content).digest()).decode(), _md5(content))


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _stored(key: str, found: _Object) -> StoredObject:
    return StoredObject(
        key=key,
        bytes=len(found.content),
        storage_class=found.storage_class,
        checksum=found.checksum,
        modified=found.modified,
        readable=found.readable,
        thawing=found.thawing,
    )


def _other_content(key: str) -> ObjectExists:
    return ObjectExists(f"{key} exists already with other content", subject=key, next_step="Find out what wrote it")
