# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal of one unfinished backup: what shapes its bytes, and which parts the store has acknowledged.

JSON lines, appended and flushed to disk (docs/format.md, "Journal"). The first line binds; the others are
``opened`` (a chunked upload, so that it can be aborted), ``sealed`` (a part whose object may be visible) and
``stored`` (a part that the store acknowledged).
"""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import LocalStateError, ManifestInvalid, StoreError, StoreUnavailable
from ..store.protocol import Store
from ..values.manifest import Part
from ..values.manifest_json import decode_part, encode_part
from ..values.progress import Progress
from ..values.repository import BackupId
from .durable_files import sync_directory

FORMAT = 1
SUFFIX = ".journal"


@dataclass(frozen=True, slots=True)
class Binding:
    """All that shapes the bytes of a backup, and what names it. A resume needs every field to be as it would be now,
    but for those that :meth:`fits` leaves out because they name this very backup."""

    repository_id: str
    backup_id: str
    host: str
    dataset: str
    dataset_guid: str
    snapshot: str
    snapshot_guid: str
    base_id: str | None
    base_guid: str | None
    level: int
    level_requested: int
    reason: str
    flags: tuple[str, ...]
    zfs_version: str
    part_size: int
    recipients: tuple[str, ...]
    storage_class: str

    def fits(self, now: Binding) -> bool:
        """Whether a run that would bind ``now`` may continue the backup that is bound by this."""
        own = {"backup_id", "snapshot", "snapshot_guid", "level_requested", "reason"}
        shaping = (field.name for field in fields(self) if field.name not in own)
        return all(getattr(self, name) == getattr(now, name) for name in shaping)


class JournalDamaged(ValueError):
    """A journal file that cannot be continued: its first line is torn or not of this format."""


class Journal:
    """A :class:`..stream.part_uploads.PartLedger` in a file. Its methods may be called by any thread."""

    def __init__(self, path: Path, binding: Binding) -> None:
        self.path = path
        self.binding = binding
        self._lock = threading.Lock()
        self._opened: dict[int, tuple[str, str]] = {}
        self._sealed: dict[int, Part] = {}
        self._stored: dict[int, Part] = {}
        self._torn_at: int | None = None

    @classmethod
    def create(cls, directory: Path, binding: Binding) -> Journal:
        """Begin the journal of a new backup."""
        journal = cls(directory / f"{binding.backup_id}{SUFFIX}", binding)
        journal._append({"journal": FORMAT, **asdict(binding)}, create=True)
        with _explained(directory, "created"):
            sync_directory(directory)
        return journal

    @classmethod
    def load(cls, path: Path) -> Journal:
        """Read a journal that another run left, without changing it. A last line that a crash tore counts for
        nothing, and is cut off before the next one is appended.

        Raises :class:`JournalDamaged` where nothing can be continued.
        """
        with _explained(path, "read"):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if not lines:
            raise JournalDamaged("its first line is missing")
        journal = cls(path, _read_binding(lines[0]))
        journal._torn_at = len(whole) if len(whole) < len(content) else None
        for line in lines[1:]:
            journal._replay(line)
        return journal

    def known(self, index: int) -> Part | None:
        """The part as an earlier run stored it."""
        return self._stored.get(index)

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """A chunked upload has begun."""
        with self._lock:
            self._append({"opened": {"index": index, "key": key, "upload_id": upload_id}})

    def sealed(self, part: Part) -> None:
        """All bytes of the part are on their way; its object may become visible from now on."""
        with self._lock:
            self._append({"sealed": encode_part(part)})

    def stored(self, part: Part) -> None:
        """The store acknowledged the part."""
        with self._lock:
            self._append({"stored": encode_part(part)})

    def reconcile(self, store: Store, progress: Progress) -> None:
        """Find out what became of the parts that were on their way when the earlier run ended: count those that
        arrived, abort the uploads of the others. Raises ``ObjectExists`` where a key holds something else."""
        for index, part in sorted(self._sealed.items()):
            if index not in self._stored:
                checksum = store.holds(part.key, size=part.bytes, sha256=part.sha256, expected=part.checksum)
                if checksum is not None:
                    arrived = replace(part, checksum=checksum)
                    self.stored(arrived)
                    self._stored[index] = arrived
        self.abort_uploads(store, progress)

    def abort_uploads(self, store: Store, progress: Progress) -> None:
        """Throw away the chunked uploads that were not completed. One that the store refuses to throw away is a
        warning: it costs room, and no backup. Raises ``StoreUnavailable``."""
        for index, (key, upload_id) in sorted(self._opened.items()):
            if index not in self._stored:
                try:
                    store.abort_upload(key, upload_id)
                except StoreUnavailable:
                    raise
                except StoreError as error:
                    progress.log(f"An unfinished upload stays in the store. {error.explain()}", level="warning")

    def remove(self) -> None:
        """The backup is committed or given up: forget it."""
        with _explained(self.path, "removed"):
            self.path.unlink(missing_ok=True)
            sync_directory(self.path.parent)

    @property
    def stored_parts(self) -> int:
        """How many parts a resume need not send again."""
        return len(self._stored)

    def _append(self, record: dict[str, Any], *, create: bool = False) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
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
                    os.ftruncate(descriptor, length)  # a torn line in the middle would spoil the whole journal
                    raise
            finally:
                os.close(descriptor)

    def _replay(self, line: bytes) -> None:
        try:
            ((kind, entry),) = json.loads(line).items()
            if kind == "opened":
                self._opened[int(entry["index"])] = (str(entry["key"]), str(entry["upload_id"]))
            elif kind in {"sealed", "stored"}:
                part = decode_part(entry)
                (self._sealed if kind == "sealed" else self._stored)[part.index] = part
        except (ValueError, TypeError, KeyError, AttributeError, ManifestInvalid) as error:
            raise JournalDamaged(f"a line of it is not one that zrb writes ({error})") from error


def journals_in(directory: Path) -> Iterator[Path]:
    """The journal files of one dataset, oldest backup id first."""
    if directory.is_dir():
        yield from sorted(directory.glob(f"*{SUFFIX}"))


def backup_id_of(path: Path) -> BackupId:
    """The backup that a journal file belongs to, by its name."""
    return BackupId(path.name.removesuffix(SUFFIX))


def snapshot_named_in(path: Path) -> str:
    """The snapshot that a damaged journal was about, as far as its first line tells; else an empty string."""
    try:
        record = json.loads(path.read_bytes().partition(b"\n")[0])
        return str(record["snapshot"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read_binding(line: bytes) -> Binding:
    try:
        record = json.loads(line)
        if record.pop("journal") != FORMAT:
            raise ValueError("another format")
        return Binding(**{**record, "flags": tuple(record["flags"]), "recipients": tuple(record["recipients"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JournalDamaged(f"its first line is not one that zrb {FORMAT} writes ({error})") from error


@contextmanager
def _explained(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalStateError(
            f"The journal {path} could not be {done}",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and give it free space, then run the same command again: it resumes",
        ) from error
