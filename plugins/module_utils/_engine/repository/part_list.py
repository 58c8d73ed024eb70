# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of parts of a backup as an object of the repository. It is written before the manifest, and always read
whole and proved by its hash in the manifest (docs/format.md, "List of parts")."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Final

from ..errors import (
    LocalStateError,
    ManifestInvalid,
    ObjectArchived,
    ObjectMissing,
    PartDamaged,
    PartMissing,
    ThawNeeded,
)
from ..store.protocol import Store
from ..values.manifest import Manifest, Part, PartsSummary
from ..values.part_list_json import MAX_LINE_BYTES, checked_parts, decode_part, encode_part

PIECE_BYTES: Final = 16 * 1024 * 1024
"""The size of a request. S3 refuses chunks below 5 MiB."""
_BLOCK_BYTES: Final = 64 * 1024


class PartList:
    """The proved parts of one backup, in order, in a private file without a name. Several threads may read it at once,
    as often as they want."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Part]:
        for number, line in enumerate(_lines(self._file.fileno()), start=1):
            try:
                yield decode_part(line)
            except ValueError as error:
                raise ValueError(f"{error}, in line {number}") from None


@contextmanager
def open_part_list(store: Store, manifest: Manifest) -> Iterator[PartList]:
    """Fetch the list of parts of ``manifest``, and keep it until the context ends. Reading it needs no store.

    Raises :class:`PartMissing`, :class:`PartDamaged`, :class:`ThawNeeded`, or :class:`ManifestInvalid` if the signed
    list breaks the rules of the format.
    """
    with ExitStack() as stack:
        with _explained(manifest.parts.key):
            # Without a name, nobody else sees it and a crash leaves nothing.
            file = stack.enter_context(tempfile.TemporaryFile())
            _fetch(store, manifest, file)
        parts = PartList(file)
        try:
            _check(parts, manifest)
        except ValueError as error:
            raise ManifestInvalid(
                f"The list of parts {manifest.parts.key} is not valid: it {error}",
                subject=manifest.parts.key,
                next_step="zrb did not write it: use another backup",
            ) from None
        yield parts


def write_part_list(store: Store, key: str, parts: Iterable[Part], *, storage_class: str) -> PartsSummary:
    """Write ``parts`` under ``key``, and return their summary for the manifest.

    Raises ``ObjectExists`` if the key has another list already, and what ``parts`` and the store raise.
    """
    count = stored_bytes = size = 0
    hasher = hashlib.sha256()
    with _explained(key), tempfile.TemporaryFile() as file:
        for part in parts:
            line = encode_part(part)
            hasher.update(line)
            file.write(line)
            count, stored_bytes, size = count + 1, stored_bytes + part.bytes, size + len(line)
        file.seek(0)
        _put(store, key, file, size, storage_class)
    return PartsSummary(key=key, bytes=size, sha256=hasher.hexdigest(), count=count, stored_bytes=stored_bytes)


def _put(store: Store, key: str, file: IO[bytes], size: int, storage_class: str) -> None:
    if size <= PIECE_BYTES:
        store.put(key, file.read(), storage_class=storage_class)
        return
    upload = store.open_upload(key, total_chunks=-(-size // PIECE_BYTES), storage_class=storage_class)
    try:
        for number, offset in enumerate(range(0, size, PIECE_BYTES)):
            upload.put_chunk(number, offset, file.read(PIECE_BYTES))
        upload.complete()
    except BaseException:
        upload.abort()
        raise


def _fetch(store: Store, manifest: Manifest, file: IO[bytes]) -> None:
    """Copy the list into ``file`` and prove it."""
    wanted = manifest.parts
    found = store.head(wanted.key)
    if found is None:
        raise _missing(store, manifest)
    if found.bytes != wanted.bytes:
        raise _damaged(manifest, f"it has {found.bytes} bytes instead of {wanted.bytes}")
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(min(PIECE_BYTES, wanted.bytes)))
    for offset in range(0, wanted.bytes, PIECE_BYTES):
        view = buffer[: min(PIECE_BYTES, wanted.bytes - offset)]
        try:
            store.read_into(wanted.key, offset, view)
        except ObjectMissing:
            raise _missing(store, manifest) from None
        except ObjectArchived as error:
            raise ThawNeeded(
                f"The list of parts {wanted.key} was moved to an archive class",
                subject=wanted.key,
                answer=error.answer,
                next_step="Thaw that object, and take `manifests/` out of the lifecycle rule that moved it",
            ) from None
        hasher.update(view)
        file.write(view)
    file.flush()
    if hasher.hexdigest() != wanted.sha256:
        raise _damaged(manifest, f"found {hasher.hexdigest()}, expected {wanted.sha256}")


def _check(parts: Iterable[Part], manifest: Manifest) -> None:
    in_place = checked_parts(
        parts,
        prefix=manifest.series.data_prefix(manifest.backup_id, manifest.level),
        part_size=manifest.part_size,
        stream_bytes=manifest.stream.bytes,
    )
    stored_bytes = sum(part.bytes for part in in_place)
    if stored_bytes != manifest.parts.stored_bytes:
        raise ValueError(f"has parts of {stored_bytes} bytes, but its manifest states {manifest.parts.stored_bytes}")


def _lines(descriptor: int) -> Iterator[bytes]:
    offset, rest = 0, b""
    while len(rest) <= MAX_LINE_BYTES and (block := os.pread(descriptor, _BLOCK_BYTES, offset)):
        offset += len(block)
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


@contextmanager
def _explained(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LocalStateError(
            f"A temporary file in {tempfile.gettempdir()} for the list of parts {key} failed",
            subject=key,
            answer=error.strerror or str(error),
            next_step="Make that directory writable and give it free space, or name another one in TMPDIR",
        ) from error


def _missing(store: Store, manifest: Manifest) -> PartMissing:
    return PartMissing(
        f"The list of parts of backup {manifest.backup_id} ({manifest.parts.key}) is not in {store.location}",
        subject=manifest.parts.key,
        next_step="This backup cannot be restored without it: restore that object from a copy, or choose another "
        "backup with `zrb list`",
    )


def _damaged(manifest: Manifest, answer: str) -> PartDamaged:
    return PartDamaged(
        f"The list of parts {manifest.parts.key} is not the one that its signed manifest states",
        subject=manifest.parts.key,
        answer=answer,
        next_step="Restore that object from a copy, or choose another backup with `zrb list`",
    )
