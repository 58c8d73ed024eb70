# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The protocol that every store implements.

Keys are relative to the repository and are written once. Several threads may call everything here at once.
All failures are typed errors of ``errors``: no exception of boto3 or of the operating system leaves this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from ..errors import EngineError
from ..values.manifest import Checksum

Buffer: TypeAlias = "bytes | bytearray | memoryview"

Flow: TypeAlias = Callable[[int], object]
"""Called with a number of bytes just before they are sent, or as they arrive, in pieces that take a fraction of a
second. It may wait, or raise :class:`BrokenOff`."""


class BrokenOff(BaseException):
    """The flow stopped a transfer. Not an ``Exception``, so that no code in between takes it for a fault of the
    network and tries again."""


def free_flow(_length: int) -> None:
    """The flow of a store without any limit."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a listing or a HEAD says about one object."""

    key: str
    bytes: int
    storage_class: str = "STANDARD"
    checksum: Checksum = Checksum("none", "")
    modified: datetime | None = None
    readable: bool = True
    """False while the object is in an archive class and has not been thawed."""
    thawing: bool = False
    version: str = ""
    """In a listing: another one if the object is another one, as far as the storage shows it without reading: an ETag,
    or in a directory times and inode. Empty if it shows nothing."""
    locked_until: datetime | None = None
    """By Object Lock, as far as these credentials may know. Only :meth:`Store.head` says it."""
    legal_hold: bool = False


@dataclass(frozen=True, slots=True)
class UnfinishedUpload:
    """What a run that was killed left of an object. A directory does not tell its key: there ``key`` is one beside it.
    ``bytes`` are ``None`` if the storage does not say."""

    key: str
    upload_id: str
    started: datetime
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of objects that were to be removed: the error of each that is still there. ``hidden`` is how many are
    only hidden, because the bucket keeps what is deleted as an older version."""

    failures: tuple[EngineError, ...] = ()
    hidden: int = 0


class Upload(Protocol):
    """One object being written in chunks. Nothing is visible under the key before :meth:`complete`."""

    @property
    def upload_id(self) -> str:
        """The name of the unfinished upload, for :meth:`Store.abort_upload` after a crash."""

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        """Write chunk ``number`` (from 0), which begins at byte ``offset`` of the object. Any thread may write any
        chunk, in any order. All but the last have the same length. ``sha256`` is the digest of ``data``: a caller that
        has it saves the store computing it again."""

    def expected_checksum(self) -> Checksum:
        """What :meth:`complete` will return, once every chunk is written. It proves the content even if the object
        cannot be read back because it is archived at once. ``none`` if the store keeps no checksums."""

    def complete(self) -> Checksum:
        """Make the whole object visible under its key, or nothing. Raises ``ObjectExists`` if the key holds other
        content. If it holds the same content (after a lost reply), this is success."""

    def abort(self) -> None:
        """Discard what was written. Never raises; may be called twice, and after ``complete``."""


class Ending(Protocol):
    """What may come while somebody waits."""

    def wait(self, timeout_s: float, /) -> bool:
        """Wait for it, and return whether it has come."""


class Store(Protocol):
    """A repository's storage."""

    @property
    def kind(self) -> Literal["s3", "directory"]:
        """Which kind of storage this is."""

    @property
    def location(self) -> str:
        """For people: ``s3://bucket/prefix/`` or ``/mnt/usb/zrb``."""

    def until(self, end: Ending) -> Store:
        """The same storage, whose calls wait for nothing any more once ``end`` has come: for threads that must not
        outlive the failure of another one."""

    def regulate(self, flow: Flow) -> None:
        """From now on call ``flow`` for all bytes of ``put``, ``put_chunk`` and ``read_into``, in the thread that
        moves them. Bytes that a retry moves count again."""

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """Write one whole object; ``sha256`` as in :meth:`Upload.put_chunk`. Raises ``ObjectExists`` if the key
        holds other content. If it holds the same content (after a lost reply or an earlier run), this is success."""

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> Upload:
        """Begin an object that is written in chunks."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Discard an upload that an earlier process left unfinished. It is not an error if it is gone already."""

    def uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """The unfinished uploads of keys that start with ``prefix``, as far as the storage shows them."""

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:
        """Return the checksum of ``key`` if it provably holds ``size`` bytes with this SHA-256 (hex), or ``None`` if
        the key does not exist. The stored checksum proves it if it is the ``expected`` one of
        :meth:`Upload.expected_checksum`; otherwise the store reads the object back. Raises ``ObjectExists`` if the
        content differs or cannot be proven."""

    def head(self, key: str) -> StoredObject | None:
        """What is known about ``key``, or ``None``."""

    def get(self, key: str, *, limit: int) -> bytes:
        """Read a small object whole. Raises ``ObjectMissing``, ``ObjectArchived``, or ``IntegrityError`` if it is
        longer than ``limit`` bytes."""

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes of ``key`` from ``offset``. Raises ``ObjectMissing``, ``ObjectArchived``,
        or ``PartDamaged`` if the object ends too early."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key starts with ``prefix``, in key order."""

    def close(self) -> None:
        """Release connections."""


class Remover(Protocol):
    """Deletes objects. It is no part of a :class:`Store`, so that who is given one cannot."""

    def remove(self, keys: Sequence[str]) -> Removed:
        """Delete these objects; one that is gone already is no error. Raises what concerns all of them."""

    def close(self) -> None:
        """Release connections."""
