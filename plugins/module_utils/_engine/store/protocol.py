# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one protocol that every repository storage speaks.

Keys are relative to the repository and are written once. Everything here may be called from several
threads at once. What storage cannot do, or refuses, comes out as a typed error of ``errors``: no
exception of boto3 or of the operating system leaves this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from ..values.manifest import Checksum

Buffer: TypeAlias = "bytes | bytearray | memoryview"

Flow: TypeAlias = Callable[[int], object]
"""Told of so many bytes of an object just before they leave, or as they come in, in pieces that take a
fraction of a second. It may wait, or raise :class:`BrokenOff`."""


class BrokenOff(BaseException):
    """A transfer that its flow gave up. Not an ``Exception``, so that nobody on the way takes it for a fault of the
    network and tries again."""


def free_flow(_length: int) -> None:
    """The flow of a store whose transfers nobody regulates."""


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


class Upload(Protocol):
    """One object being written in chunks. Nothing is visible under the key before :meth:`complete`."""

    @property
    def upload_id(self) -> str:
        """Name of the unfinished upload, for :meth:`Store.abort_upload` after a crash."""

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        """Write chunk ``number`` (from 0) whose first byte is byte ``offset`` of the object. In any order, by
        any thread; every chunk but the last has the same length. ``sha256`` is the digest of ``data``, if the caller
        has it: a store that needs one then computes none."""

    def expected_checksum(self) -> Checksum:
        """What :meth:`complete` will return, once every chunk is written: proof of the content even if the object
        cannot be read back, since it is archived at once. ``none`` if the storage keeps no checksums."""

    def complete(self) -> Checksum:
        """Make the object visible under its key, all of it or nothing. Raises ``ObjectExists`` if the key
        holds other content; the same content there (a lost reply) is success."""

    def abort(self) -> None:
        """Throw away what was written. Never raises, may be called twice and after ``complete``."""


class Store(Protocol):
    """A repository's storage."""

    @property
    def kind(self) -> Literal["s3", "directory"]:
        """Which kind of storage this is."""

    @property
    def location(self) -> str:
        """For people: ``s3://bucket/prefix/`` or ``/mnt/usb/zrb``."""

    def regulate(self, flow: Flow) -> None:
        """From now on ask ``flow`` for all bytes of ``put``, ``put_chunk`` and ``read_into``, from the thread that
        moves them. What a retry moves once more is asked for once more."""

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """Write one object whole; ``sha256`` as in :meth:`Upload.put_chunk`. Raises ``ObjectExists`` if the key
        holds other content; the same content there (a lost reply, a run repeated) is success."""

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> Upload:
        """Begin an object that is written in chunks."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw away an upload that an earlier process left unfinished. One that is gone already is no error."""

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:
        """The checksum of ``key`` if the store can prove that it holds ``size`` bytes with this SHA-256 (hex);
        ``None`` if the key is absent. Proves by the stored checksum, if it is the ``expected`` one that
        :meth:`Upload.expected_checksum` gave, else by reading back. Raises
        ``ObjectExists`` if the content is other or cannot be proven."""

    def head(self, key: str) -> StoredObject | None:
        """What is known about ``key``, or ``None``."""

    def get(self, key: str, *, limit: int) -> bytes:
        """A small object whole. Raises ``ObjectMissing``, ``ObjectArchived``, or ``IntegrityError`` if it is
        longer than ``limit`` bytes."""

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """Fill ``buffer`` with the bytes of ``key`` from ``offset``. Raises ``ObjectMissing``, ``ObjectArchived``,
        or ``PartDamaged`` if the object ends too early."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All objects whose key starts with ``prefix``, in key order."""

    def close(self) -> None:
        """Release connections."""
