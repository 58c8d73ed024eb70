# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository in a directory: a USB disk, a mounted share."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ..errors import EngineError, IntegrityError, ObjectExists, PartDamaged, StoreError
from ..values.manifest import Checksum
from .directory_upload import NO_CHECKSUM, PIECE_BYTES, TEMP_NAME, DirectoryUpload, sync_directory
from .object_keys import check_key, check_prefix
from .os_errors import check_inside, explained, missing_root, open_regular
from .protocol import Buffer, Ending, Flow, Removed, StoredObject, UnfinishedUpload, free_flow


class DirectoryStore:
    """Implements :class:`.protocol.Store` in the directory ``root``, which must exist."""

    def __init__(self, root: Path, *, new_token: Callable[[], str] = lambda: secrets.token_hex(16)) -> None:
        self._root = root
        self._new_token = new_token
        self._durable: set[Path] = set()
        self._flow: Flow = free_flow
        self._lock = threading.Lock()

    @property
    def kind(self) -> Literal["directory"]:
        """See :class:`.protocol.Store`."""
        return "directory"

    @property
    def location(self) -> str:
        """The directory."""
        return str(self._root)

    def until(self, end: Ending) -> DirectoryStore:  # noqa: ARG002 - it never waits
        """See :class:`.protocol.Store`."""
        return self

    def regulate(self, flow: Flow) -> None:
        """See :class:`.protocol.Store`."""
        self._flow = flow

    def put(
        self,
        key: str,
        data: Buffer,
        *,
        storage_class: str = "STANDARD",
        sha256: bytes | None = None,  # noqa: ARG002 - a directory keeps no checksums
    ) -> Checksum:
        """See :class:`.protocol.Store`."""
        upload = self.open_upload(key, total_chunks=1, storage_class=storage_class)
        try:
            upload.put_chunk(0, 0, data)
            return upload.complete()
        finally:
            upload.abort()

    def open_upload(
        self,
        key: str,
        *,
        total_chunks: int | None,
        storage_class: str = "STANDARD",  # noqa: ARG002 - a directory has no classes
    ) -> DirectoryUpload:
        """See :class:`.protocol.Store`."""
        path = self._path(key)
        check_inside(path, key, self._root)
        self._make_durable(path.parent, key)
        return DirectoryUpload(self._root, key, token=self._new_token(), total_chunks=total_chunks, flow=self._flow)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See :class:`.protocol.Store`."""
        path = self._path(key)
        if not TEMP_NAME.fullmatch(upload_id):
            raise StoreError(
                f"{upload_id!r} is not the name of an unfinished upload of {key}",
                subject=key,
                next_step="The journal that holds this name is damaged: remove it, and run the backup again",
            )
        with explained("Removing an unfinished upload of", key, self._root):
            path.with_name(upload_id).unlink(missing_ok=True)

    def uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """See :class:`.protocol.Store`. These are the files that are being written."""
        directory, _slash, start = check_prefix(prefix).rpartition("/")
        self._check_root()
        base = f"{directory}/" if directory else ""
        with explained("Listing", prefix, self._root):
            for item in self._walk(str(self._root / directory), base, start, unfinished=True):
                if item.modified is not None:
                    name = item.key.rpartition("/")[2]
                    yield UnfinishedUpload(item.key.removesuffix("~"), name, item.modified, item.bytes)

    def holds(self, key: str, *, size: int, sha256: str, expected: Checksum) -> Checksum | None:  # noqa: ARG002
        """See :class:`.protocol.Store`. Always reads the file back: a directory keeps no checksums."""
        path = self._path(key)
        with explained("Reading", key, self._root):
            try:
                with open_regular(path, key, self._root) as file:
                    same = os.fstat(file.fileno()).st_size == size
                    same = same and hashlib.file_digest(file, "sha256").hexdigest() == sha256
            except FileNotFoundError:
                return None
        if same:
            return NO_CHECKSUM
        raise ObjectExists(
            f"{key} in {self._root} does not hold the expected {size} bytes with SHA-256 {sha256}",
            subject=key,
            next_step="zrb never overwrites an object: find out what wrote this one",
        )

    def head(self, key: str) -> StoredObject | None:
        """See :class:`.protocol.Store`."""
        path = self._path(key)
        with explained("Looking at", key, self._root):
            try:
                status = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _stored(key, status) if stat.S_ISREG(status.st_mode) else None

    def get(self, key: str, *, limit: int) -> bytes:
        """See :class:`.protocol.Store`."""
        path = self._path(key)
        with explained("Reading", key, self._root), open_regular(path, key, self._root) as file:
            content = os.pread(file.fileno(), limit + 1, 0)
        if len(content) > limit:
            raise IntegrityError(
                f"{key} in {self._root} is longer than {limit} bytes, the limit for such an object",
                subject=key,
                next_step="zrb did not write this: find out what replaced the object",
            )
        return content

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See :class:`.protocol.Store`."""
        path = self._path(key)
        view = buffer.cast("B")
        filled = 0
        with explained("Reading", key, self._root), open_regular(path, key, self._root) as file:
            while filled < len(view):
                piece = view[filled : filled + PIECE_BYTES]
                self._flow(len(piece))
                count = os.preadv(file.fileno(), [piece], offset + filled)
                if not count:
                    break
                filled += count
        if filled < len(view):
            raise PartDamaged(
                f"{key} in {self._root} has only {offset + filled} bytes, but {offset + len(view)} are needed",
                subject=key,
                next_step="The object was cut short: run `zrb verify` for all backups and check the disk",
            )

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See :class:`.protocol.Store`. Of what replaces something, one or the other is seen."""
        directory, _slash, start = check_prefix(prefix).rpartition("/")
        self._check_root()
        with explained("Listing", prefix, self._root):
            yield from self._walk(str(self._root / directory), f"{directory}/" if directory else "", start)

    def close(self) -> None:
        """See :class:`.protocol.Store`. There is nothing to release."""

    def _walk(self, directory: str, base: str, start: str, *, unfinished: bool = False) -> Iterator[StoredObject]:
        entries: dict[str, StoredObject | None] = {}
        # A directory is not read in the order of its names: what was written before another entry went can be missed
        # as that one is. A second look shows it.
        for _look in range(2):
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as found:
                for entry in found:
                    # To get the order of keys, sort a directory by its name with a slash: "a-b" before "a/c".
                    is_file = not entry.is_dir(follow_symlinks=False)
                    name = entry.name if is_file else f"{entry.name}/"
                    is_asked_for = bool(TEMP_NAME.fullmatch(entry.name)) is (unfinished and is_file)
                    if name in entries or not name.startswith(start) or not is_asked_for:
                        continue
                    with suppress(FileNotFoundError):  # list even what is not a regular file: reading it will say so
                        entries[name] = _stored(base + name, entry.stat(follow_symlinks=False)) if is_file else None
        for name, item in sorted(entries.items()):
            if item is not None:
                yield item
            else:
                yield from self._walk(f"{directory}/{name[:-1]}", base + name, "", unfinished=unfinished)

    def _path(self, key: str) -> Path:
        path = self._root / check_key(key)
        self._check_root()
        return path

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise missing_root(self._root)

    def _make_durable(self, directory: Path, key: str) -> None:
        """Make ``directory`` and its parents below the root, so that they survive a power cut."""
        if directory in self._durable and directory.is_dir():
            return
        with explained("Making the directory of", key, self._root), self._lock:
            path = self._root
            for name in directory.relative_to(self._root).parts:
                parent, path = path, path / name
                path.mkdir(mode=0o700, exist_ok=True)
                sync_directory(parent)
            self._durable.add(directory)


class DirectoryRemover:
    """Implements :class:`.protocol.Remover` in the directory ``root``, which must exist."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def remove(self, keys: Sequence[str]) -> Removed:
        """See :class:`.protocol.Remover`. Also removes the directory of a backup's parts with the last of them."""
        if not self._root.is_dir():
            raise missing_root(self._root)
        failures: list[EngineError] = []
        for key in keys:
            path = self._root / check_key(key)
            try:
                check_inside(path, key, self._root)
                with explained("Removing", key, self._root):
                    path.unlink(missing_ok=True)
            except EngineError as error:
                failures.append(error)
                continue
            with suppress(OSError):  # it is not empty
                path.parent.rmdir()
        return Removed(tuple(failures))

    def close(self) -> None:
        """See :class:`.protocol.Remover`. There is nothing to release."""


def _stored(key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(
        key=key,
        bytes=status.st_size,
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
        version=f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}",
    )
