# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A store whose every call waits while the storage is away: one rule for all that a run asks of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, Literal, TypeVar

from ..errors import StoreUnavailable
from ..store.protocol import Buffer, Ending, Flow, Store, StoredObject, UnfinishedUpload, Upload
from ..values.manifest import Checksum
from .patience import FirstOf, Patience

T = TypeVar("T")
_AT_ONCE: Final = 1000
"""Objects of a listing: as many as S3 gives in a page."""


class PatientStore:
    """Implements :class:`..store.protocol.Store` with the calls of ``store``. Each waits as long as ``patience`` says,
    and no longer than until one of ``ends`` has come."""

    def __init__(self, store: Store, patience: Patience, ends: tuple[Ending, ...] = ()) -> None:
        self._store = store
        self._patience = patience
        self._ends = ends

    @property
    def kind(self) -> Literal["s3", "directory"]:
        """See :class:`..store.protocol.Store`."""
        return self._store.kind

    @property
    def location(self) -> str:
        """See :class:`..store.protocol.Store`."""
        return self._store.location

    def until(self, end: Ending) -> PatientStore:
        """See :class:`..store.protocol.Store`."""
        return PatientStore(self._store, self._patience, (*self._ends, end))

    def regulate(self, flow: Flow) -> None:
        """See :class:`..store.protocol.Store`."""
        self._store.regulate(flow)

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """See :class:`..store.protocol.Store`."""
        return self._insist(self._store.put, key, data, storage_class=storage_class, sha256=sha256)

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> Upload:
        """See :class:`..store.protocol.Store`."""
        upload = self._insist(self._store.open_upload, key, total_chunks=total_chunks, storage_class=storage_class)
        return _PatientUpload(upload, self._patience, FirstOf(self._ends))

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See :class:`..store.protocol.Store`."""
        self._insist(self._store.abort_upload, key, upload_id)

    def uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """See :class:`..store.protocol.Store`."""
        yield from self._insist(lambda: list(self._store.uploads(prefix)))

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:
        """See :class:`..store.protocol.Store`."""
        return self._insist(self._store.holds, key, size=size, sha256=sha256, expected=expected)

    def head(self, key: str) -> StoredObject | None:
        """See :class:`..store.protocol.Store`."""
        return self._insist(self._store.head, key)

    def get(self, key: str, *, limit: int) -> bytes:
        """See :class:`..store.protocol.Store`."""
        return self._insist(self._store.get, key, limit=limit)

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See :class:`..store.protocol.Store`."""
        self._insist(self._store.read_into, key, offset, buffer)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See :class:`..store.protocol.Store`."""
        listing = _Listing(self._store, prefix)
        while items := self._insist(listing.following):
            yield from items

    def close(self) -> None:
        """See :class:`..store.protocol.Store`."""
        self._store.close()

    def _insist(self, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return self._patience.insist(partial(call, *arguments, **options), FirstOf(self._ends))


class _PatientUpload:
    """Implements :class:`..store.protocol.Upload`."""

    def __init__(self, upload: Upload, patience: Patience, end: Ending) -> None:
        self._upload = upload
        self._patience = patience
        self._end = end

    @property
    def upload_id(self) -> str:
        """See :class:`..store.protocol.Upload`."""
        return self._upload.upload_id

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        """See :class:`..store.protocol.Upload`."""
        self._patience.insist(partial(self._upload.put_chunk, number, offset, data, sha256=sha256), self._end)

    def expected_checksum(self) -> Checksum:
        """See :class:`..store.protocol.Upload`."""
        return self._upload.expected_checksum()

    def complete(self) -> Checksum:
        """See :class:`..store.protocol.Upload`."""
        return self._patience.insist(self._upload.complete, self._end)

    def abort(self) -> None:
        """See :class:`..store.protocol.Upload`. Does not wait: what stays of an upload does no harm."""
        self._upload.abort()


class _Listing:
    """The objects below a prefix, some at a time. If the listing breaks off, another one goes on behind the last of
    them: keys come in order."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._items: Iterator[StoredObject] | None = None
        self._last = ""
        self._behind = ""

    def following(self) -> list[StoredObject]:
        """The next objects; none after the last one."""
        if self._items is None:
            self._items = self._store.list(self._prefix)
        items: list[StoredObject] = []
        try:
            for item in self._items:
                if item.key > self._behind:
                    items.append(item)
                    if len(items) == _AT_ONCE:
                        break
        except StoreUnavailable:
            self._items, self._behind = None, items[-1].key if items else self._last
            if not items:
                raise
        if items:
            self._last = items[-1].key
        return items
