# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of one unfinished backup: what determines its bytes, and which parts the store has acknowledged.

It has JSON lines, which are appended and flushed to disk (docs/format.md, "Journal"). The first line is the binding.
The others are ``opened`` (a chunked upload, so that it can be aborted), ``sealed`` (a part whose object may be visible)
and ``stored`` (a part that the store acknowledged).
"""

from __future__ import annotations

import errno
import os
import threading
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from ..errors import LocalStateError, StoreError, StoreUnavailable
from ..plan.part_proof import beside_listing, proves
from ..store.protocol import Store
from ..values import part_list_json
from ..values.field_types import (
    AnyBackupId,
    DatasetName,
    Guid,
    Level,
    Line,
    Name,
    PartIndex,
    PartKey,
    Positive,
    Recipients,
    RepositoryId,
    SendFlags,
    SnapshotName,
)
from ..values.json_records import read_record, text, write_record
from ..values.manifest import Part
from ..values.progress import Progress
from ..values.repository_names import BackupId, Series, hold_tag
from ..values.strict_json import Record, canonical_json, parse_object
from .durable_files import sync_directory

SUFFIX = ".journal"
MAX_LINE_BYTES: Final = 1024 * 1024
MAX_PART_LINE_BYTES: Final = part_list_json.MAX_LINE_BYTES + 64
_FOREIGN: Final = {errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.ENXIO}


@dataclass(frozen=True, slots=True)
class Binding:
    """Everything that determines the bytes of a backup, and its names. To resume it, every field must be the same as
    now, except those that name this backup (see :meth:`fits`)."""

    journal: Literal[1] = field(default=1, kw_only=True)
    repository_id: RepositoryId
    backup_id: AnyBackupId
    host: Name
    dataset: DatasetName
    dataset_guid: Guid
    snapshot: SnapshotName
    snapshot_guid: Guid
    base_id: AnyBackupId | None
    base_guid: Guid | None
    level: Level
    level_requested: Level
    reason: Line
    flags: SendFlags
    zfs_version: Name
    part_size: Positive
    recipients: Recipients
    storage_class: Line

    def fits(self, now: Binding) -> bool:
        """Whether a run whose binding would be ``now`` may continue this backup."""
        # Another version of ZFS is fine: it nearly always sends the same bytes, and every part is compared.
        own = {"backup_id", "snapshot", "snapshot_guid", "level_requested", "reason", "zfs_version"}
        shaping = (one.name for one in fields(self) if one.name not in own)
        return all(getattr(self, name) == getattr(now, name) for name in shaping)


@dataclass(frozen=True, slots=True)
class Opened:
    """A chunked upload that has begun."""

    index: PartIndex
    key: PartKey
    upload_id: Annotated[str, text("the id of an upload", r"[\s\S]+", most=65_536)]


class JournalDamaged(ValueError):
    """A journal file that cannot be continued: its first line is incomplete or has another format."""


class Journal:
    """A :class:`..stream.part_uploads.PartLedger` in a file. All methods are thread-safe."""

    def __init__(self, path: Path, binding: Binding) -> None:
        self.path = path
        self.binding = binding
        self._lock = threading.Lock()
        self._opened: dict[int, tuple[str, str]] = {}
        self._sealed: dict[int, Part] = {}
        self._stored_at = array("q")
        """The offset of each part's line, or -1. A journal may have a million lines, so they stay in the file."""
        self._torn_at: int | None = None

    @classmethod
    def create(cls, directory: Path, binding: Binding) -> Journal:
        """Create the journal of a new backup."""
        journal = cls(directory / f"{binding.backup_id}{SUFFIX}", binding)
        journal._append(write_record(binding), create=True)
        with _explained(directory, "created"):
            sync_directory(directory)
        return journal

    @classmethod
    def load(cls, path: Path) -> Journal:
        """Read the journal of an earlier run without changing it. Ignores a last line that a crash left incomplete:
        the next append removes it.

        Raises :class:`JournalDamaged` if the backup cannot be continued.
        """
        with _explained(path, "read"), os.fdopen(_open(path), "rb") as file:
            first = file.readline(MAX_LINE_BYTES)
            if not first.endswith(b"\n"):
                raise JournalDamaged("its first line is missing")
            journal = cls(path, _read_binding(first))
            offset = len(first)
            while line := file.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) < MAX_LINE_BYTES:
                    journal._torn_at = offset
                    break
                journal._replay(line, offset)
                offset += len(line)
        return journal

    def known(self, index: int) -> Part | None:
        """The part as this run or an earlier one stored it."""
        if index >= len(self._stored_at) or self._stored_at[index] < 0:
            return None
        with _explained(self.path, "read"):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                line = os.pread(descriptor, MAX_PART_LINE_BYTES, self._stored_at[index]).partition(b"\n")[0]
            finally:
                os.close(descriptor)
        try:
            return read_record(Part, parse_object(line, limit=MAX_PART_LINE_BYTES)["stored"])
        except (ValueError, KeyError) as error:
            raise LocalStateError(
                f"Something changed the journal {self.path} during this run: part {index} cannot be read any more",
                subject=str(self.path),
                answer=str(error),
                next_step="Let nothing but zrb write there, and run the same command again",
            ) from error

    def parts(self) -> Iterator[Part]:
        """All parts that are stored, in order."""
        return (part for index in range(len(self._stored_at)) if (part := self.known(index)) is not None)

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """A chunked upload has begun."""
        with self._lock:
            self._append({"opened": write_record(Opened(index, key, upload_id))})

    def sealed(self, part: Part) -> None:
        """All bytes of the part were sent. Its object may appear from now on."""
        with self._lock:
            self._append({"sealed": write_record(part)})

    def stored(self, part: Part) -> None:
        """The store acknowledged the part."""
        with self._lock:
            self._note_stored(part.index, self._append({"stored": write_record(part)}))

    def reconcile(self, store: Store, progress: Progress) -> int:
        """Find out in the store what became of the parts of the earlier run.

        Record parts that arrived without an acknowledgement, and abort unfinished uploads. Forget parts that are gone
        or have another length, so that they are sent again, and return their number. One listing shows most of this.
        Parts that it does not prove are compared one by one, and read back if necessary. Raises ``ObjectExists`` if a
        key has other content.
        """
        for part in [self._sealed[index] for index in sorted(self._sealed)]:
            checksum = store.holds(part.key, size=part.bytes, sha256=part.sha256, expected=part.checksum)
            if checksum is not None:
                self.stored(replace(part, checksum=checksum))
        self.abort_uploads(store, progress)
        if not self.stored_parts:
            return 0
        binding = self.binding
        prefix = Series(binding.host, binding.dataset).data_prefix(BackupId(binding.backup_id), binding.level)
        gone, doubtful = array("q"), array("q")
        for part, found in beside_listing(self.parts(), store.list(prefix)):
            if found is None or found.bytes != part.bytes:
                gone.append(part.index)
            elif not proves(found.checksum, part):
                doubtful.append(part.index)
        if doubtful:
            progress.log(f"Comparing {len(doubtful)} parts that are stored already with what was sent")
        for part in filter(None, map(self.known, doubtful)):
            if store.holds(part.key, size=part.bytes, sha256=part.sha256, expected=part.checksum) is None:
                gone.append(part.index)
        for index in gone:
            self._stored_at[index] = -1
        return len(gone)

    def abort_uploads(self, store: Store, progress: Progress) -> None:
        """Abort the chunked uploads that were not completed. If the store refuses that, warn: the upload takes space,
        but does no other harm. Raises ``StoreUnavailable``."""
        for _index, (key, upload_id) in sorted(self._opened.items()):
            try:
                store.abort_upload(key, upload_id)
            except StoreUnavailable:
                raise
            except StoreError as error:
                progress.log(f"An unfinished upload stays in the store. {error.explain()}", level="warning")

    def remove(self) -> None:
        """Remove the journal of a backup that is committed or given up."""
        with _explained(self.path, "removed"):
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)

    @property
    def stored_parts(self) -> int:
        """Number of parts that a resume does not send again."""
        return sum(offset >= 0 for offset in self._stored_at)

    def _note_stored(self, index: int, offset: int) -> None:
        while len(self._stored_at) <= index:
            self._stored_at.append(-1)
        self._stored_at[index] = offset
        self._opened.pop(index, None)
        self._sealed.pop(index, None)

    def _append(self, record: Record, *, create: bool = False) -> int:
        """Append a line, and return its offset."""
        line = canonical_json(record) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        with _explained(self.path, "written"):
            descriptor = os.open(self.path, flags, 0o600)
            try:
                if self._torn_at is not None:
                    os.ftruncate(descriptor, self._torn_at)
                    self._torn_at = None
                length = os.fstat(descriptor).st_size
                try:
                    if os.write(descriptor, line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    os.fsync(descriptor)
                except OSError:
                    os.ftruncate(descriptor, length)  # an incomplete line in the middle makes the journal unreadable
                    raise
            finally:
                os.close(descriptor)
        return length

    def _replay(self, line: bytes, offset: int) -> None:
        try:
            ((kind, entry),) = parse_object(line, limit=MAX_LINE_BYTES).items()
            if kind == "opened":
                opened = read_record(Opened, entry)
                self._opened[opened.index] = (opened.key, opened.upload_id)
            elif kind == "sealed":
                part = read_record(Part, entry)
                self._sealed[part.index] = part
            elif kind == "stored":
                self._note_stored(read_record(Part, entry).index, offset)
        except ValueError as error:
            raise JournalDamaged(f"one of its lines is not from zrb: it {error}") from error


def journals_in(directory: Path) -> Iterator[Path]:
    """Yield the journal files of one dataset, oldest backup id first."""
    if directory.is_dir():
        yield from sorted(directory.glob(f"*{SUFFIX}"))


def backup_id_of(path: Path) -> BackupId:
    """Return the backup id in the name of a journal file."""
    return BackupId(path.name.removesuffix(SUFFIX))


def hold_named_in(path: Path) -> tuple[str, str] | None:
    """Return snapshot and tag of the hold that the first line of a damaged journal names, if it can be read."""
    try:
        with os.fdopen(_open(path), "rb") as file:
            binding = _read_binding(file.readline(MAX_LINE_BYTES))
    except (OSError, ValueError):
        return None
    return binding.snapshot, hold_tag(binding.repository_id)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)  # never wait for a pipe


def _read_binding(line: bytes) -> Binding:
    try:
        return read_record(Binding, parse_object(line, limit=MAX_LINE_BYTES))
    except ValueError as error:
        raise JournalDamaged(f"its first line is not from zrb, or has another format: it {error}") from error


@contextmanager
def _explained(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalStateError(
            f"The journal {path} could not be {done}",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step=f"Something that zrb did not write is at {path}: look at it and move it away"
            if error.errno in _FOREIGN
            else "Make base_dir writable and free some space, then run the same command again: it resumes",
        ) from error
