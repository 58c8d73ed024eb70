# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes one file of a directory repository: it appears under its name complete, or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from ..errors import ObjectExists, StoreError, StoreFull
from ..values.manifest import Checksum
from .os_errors import explained, open_regular
from .protocol import Buffer, Flow
from .written_chunks import WrittenChunk, WrittenChunks

NO_CHECKSUM = Checksum("none", "")
# No key has a `~`, so an unfinished file can never be taken for an object.
TEMP_NAME = re.compile(r"\.tmp-[0-9a-f]{32}~")
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_COMPARE_BYTES = 1 << 20
PIECE_BYTES = 1 << 20
"""What is read or written at a time."""


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot fsync a directory, and there is no other way.
        if error.errno not in {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
    finally:
        os.close(descriptor)


class DirectoryUpload:
    """A file that is being written under a temporary name beside its final one."""

    def __init__(self, root: Path, key: str, *, token: str, total_chunks: int | None, flow: Flow) -> None:
        self._root = root
        self._key = key
        self._path = root / key
        self._temp = self._path.with_name(f".tmp-{token}~")
        self._chunks: WrittenChunks[None] = WrittenChunks(key, total_chunks=total_chunks)
        self._flow = flow
        self._lock = threading.Lock()
        self._writers = 0
        self._ended = False
        with explained("Writing", key, root):
            self._descriptor = os.open(self._temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @property
    def upload_id(self) -> str:
        """Name of the temporary file."""
        return self._temp.name

    def put_chunk(
        self,
        number: int,
        offset: int,
        data: Buffer,
        *,
        sha256: bytes | None = None,  # noqa: ARG002 - a directory keeps no checksums
    ) -> None:
        """See :class:`.protocol.Upload`."""
        view = memoryview(data).cast("B")
        self._enter()
        try:
            with explained("Writing", self._key, self._root):
                written = 0
                while written < len(view):
                    piece = view[written : written + PIECE_BYTES]
                    self._flow(len(piece))
                    written += os.pwrite(self._descriptor, piece, offset + written)
        except StoreFull:
            self.abort()  # at once: this file takes space that others need
            raise
        finally:
            self._leave()
        self._chunks.add(WrittenChunk(number=number, offset=offset, bytes=len(view), proof=None))

    def expected_checksum(self) -> Checksum:
        """See :class:`.protocol.Upload`: a directory keeps none."""
        return NO_CHECKSUM

    def complete(self) -> Checksum:
        """See :class:`.protocol.Upload`. The file and its name are on the disk when this returns."""
        try:
            self._chunks.whole()
            self._enter()
            try:
                with explained("Writing", self._key, self._root):
                    os.fsync(self._descriptor)
                    self._publish()
            finally:
                self._leave()
        finally:
            self.abort()
        with explained("Writing", self._key, self._root):
            sync_directory(self._path.parent)
        return NO_CHECKSUM

    def abort(self) -> None:
        """See :class:`.protocol.Upload`."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            if not self._writers:
                os.close(self._descriptor)
        with suppress(OSError):
            self._temp.unlink(missing_ok=True)

    def _enter(self) -> None:
        # Keep the descriptor open while any thread writes to it: the system may reuse its number for another file as
        # soon as it is closed.
        with self._lock:
            if self._ended:
                raise StoreError(
                    f"The upload of {self._key} was aborted before its last chunk",
                    subject=self._key,
                    next_step="Look at the first error of this run for the cause",
                )
            self._writers += 1

    def _leave(self) -> None:
        with self._lock:
            self._writers -= 1
            if self._ended and not self._writers:
                os.close(self._descriptor)

    def _publish(self) -> None:
        """Give the file its final name, unless that is taken."""
        try:
            os.link(self._temp, self._path)
        except FileExistsError:
            self._same_or_refuse()
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._publish_by_rename()

    def _publish_by_rename(self) -> None:
        """For file systems without hard links (exFAT, some network mounts): rename the file, under a lock that all
        writers of this repository on this machine take."""
        root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(root, fcntl.LOCK_EX)
            if os.path.lexists(self._path):
                self._same_or_refuse()
            else:
                self._temp.rename(self._path)
        finally:
            os.close(root)

    def _same_or_refuse(self) -> None:
        theirs_file = open_regular(self._path, self._key, self._root)
        with self._temp.open("rb", buffering=0) as ours, theirs_file as theirs:
            same = os.fstat(ours.fileno()).st_size == os.fstat(theirs.fileno()).st_size
            while same and (block := ours.read(_COMPARE_BYTES)):
                same = theirs.read(len(block)) == block
        if not same:
            raise ObjectExists(
                f"{self._key} exists already in {self._root}, with other content",
                subject=self._key,
                next_step="zrb never overwrites an object: find out what wrote this one",
            )
