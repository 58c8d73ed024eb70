# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON of a manifest's payload: written in one form, read strictly (docs/format.md, "Manifest")."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

from ..errors import ManifestInvalid, UsageError
from ..version import VERSION
from .json_fields import (
    array_of,
    boolean,
    field,
    guid,
    integer,
    line,
    matching,
    name,
    object_of,
    optional,
    read_time,
    sha256,
    texts,
    write_time,
)
from .manifest import (
    Base,
    Checksum,
    Encryption,
    Manifest,
    ManifestDataset,
    ManifestPool,
    ManifestSnapshot,
    Part,
    SendRecord,
    StreamDigest,
)
from .manifest_rules import check_manifest
from .recipients import kind_of
from .repository import MAX_LEVEL, BackupId, parse_backup_id
from .strict_json import Record, parse_object
from .zfs import DatasetType

FORMAT = 1
MAX_PAYLOAD_BYTES: Final = 192 * 1024 * 1024
"""The most a payload may have: 100 TiB in parts of 256 MiB. In base64 it then fits an envelope of 256 MiB."""
MAX_PARTS: Final = 1_000_000
"""As many as the six digits in a part's key can count."""
SEND_FLAGS: Final = ("-L", "-c", "-w")

_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|age1pq1[02-9ac-hj-np-z]{1952}")
_REPOSITORY_ID = re.compile(r"[0-9a-f]{32}")
_CHECKSUM_KIND = re.compile(r"[a-z0-9-]{1,32}")


def encode_manifest(manifest: Manifest) -> bytes:
    """The payload of ``manifest``: UTF-8 JSON, names sorted, no spaces, times in whole seconds.

    What it gives, :func:`decode_manifest` accepts. Raises :class:`ManifestInvalid` where the manifest breaks a rule
    of the format, so that nothing is signed that would be refused when it is needed.
    """
    try:
        payload = json.dumps(
            _manifest_record(manifest), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _invalid(f"holds text that is not Unicode ({error.object[error.start : error.end][:20]!r})") from None
    except ValueError as error:
        raise _invalid(str(error)) from None
    decode_manifest(payload)
    return payload


def decode_manifest(payload: bytes) -> Manifest:
    """The manifest in ``payload``. Raises :class:`ManifestInvalid` for everything that format 1 does not allow."""
    try:
        record = parse_object(payload, limit=MAX_PAYLOAD_BYTES)
        check_format(record.get("format"))
        manifest = _manifest(record)
        check_manifest(manifest)
    except ValueError as error:
        raise _invalid(str(error)) from None
    return manifest


def encode_part(part: Part) -> dict[str, Any]:
    """``part`` as its entry in a manifest."""
    return {
        "index": part.index,
        "key": part.key,
        "plain_bytes": part.plain_bytes,
        "plain_blake3": part.plain_blake3,
        "bytes": part.bytes,
        "sha256": part.sha256,
        "checksum": {"kind": part.checksum.kind, "value": part.checksum.value},
    }


def decode_part(record: object) -> Part:
    """The part that an entry of a manifest, parsed, stands for. Raises :class:`ManifestInvalid`."""
    try:
        return _part(record)
    except ValueError as error:
        raise _invalid(str(error)) from None


def _invalid(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The manifest is not valid: it {reason}",
        next_step="It was damaged or not written by zrb: restore that object from a copy, or use another backup",
    )


def check_format(number: object) -> None:
    """Raise :class:`ManifestInvalid` for a format of the future, :class:`ValueError` for what is no format."""
    if number != FORMAT or isinstance(number, bool):
        if isinstance(number, int) and number > FORMAT:
            raise ManifestInvalid(
                f"The format is {number}, and this is zrb {VERSION}, which reads format {FORMAT}",
                next_step=f"Use a version of zrb that reads format {number}",
            )
        raise ValueError(f"does not say that its format is {FORMAT}")


def _manifest_record(manifest: Manifest) -> Record:
    base, dataset, snapshot = manifest.base, manifest.dataset, manifest.snapshot
    return {
        "format": FORMAT,
        "repository_id": manifest.repository_id,
        "backup_id": manifest.backup_id,
        "host": manifest.host,
        "created": write_time(manifest.created),
        "seq": manifest.seq,
        "previous": manifest.previous,
        "level": manifest.level,
        "level_requested": manifest.level_requested,
        "chain": manifest.chain,
        "base": None if base is None else {"backup_id": base.backup_id, "snapshot": base.snapshot, "guid": base.guid},
        "pool": {"name": manifest.pool.name, "guid": manifest.pool.guid},
        "dataset": {
            "name": dataset.name,
            "guid": dataset.guid,
            "type": dataset.type,
            "encrypted": dataset.encrypted,
        },
        "snapshot": {
            "name": snapshot.name,
            "guid": snapshot.guid,
            "createtxg": snapshot.createtxg,
            "creation": write_time(snapshot.creation),
        },
        "send": {
            "flags": list(manifest.send.flags),
            "zfs_version": manifest.send.zfs_version,
            "platform": manifest.send.platform,
        },
        "stream": {"bytes": manifest.stream.bytes, "blake3": manifest.stream.blake3},
        "encryption": {"scheme": manifest.encryption.scheme, "recipients": list(manifest.encryption.recipients)},
        "part_size": manifest.part_size,
        "parts": [encode_part(part) for part in manifest.parts],
        "properties": manifest.properties,
        "tool": manifest.tool,
        "job": manifest.job,
    }


def _manifest(record: Record) -> Manifest:
    object_of(record, _NAMES)
    return Manifest(
        repository_id=field(record, "repository_id", read_repository_id),
        backup_id=field(record, "backup_id", _backup_id),
        host=field(record, "host", name),
        created=field(record, "created", read_time),
        seq=field(record, "seq", integer),
        previous=field(record, "previous", optional(sha256)),
        level=field(record, "level", _level),
        level_requested=field(record, "level_requested", _level),
        chain=field(record, "chain", _backup_id),
        base=field(record, "base", optional(_base)),
        pool=field(record, "pool", _pool),
        dataset=field(record, "dataset", _dataset),
        snapshot=field(record, "snapshot", _snapshot),
        send=field(record, "send", _send),
        stream=field(record, "stream", _stream),
        encryption=field(record, "encryption", _encryption),
        part_size=field(record, "part_size", integer),
        parts=field(record, "parts", _parts),
        properties=field(record, "properties", texts),
        tool=field(record, "tool", name),
        job=field(record, "job", texts),
    )


_NAMES = (
    *("format", "repository_id", "backup_id", "host", "created", "seq", "previous", "level", "level_requested"),
    *("chain", "base", "pool", "dataset", "snapshot", "send", "stream", "encryption", "part_size", "parts"),
    *("properties", "tool", "job"),
)
_PART_NAMES = ("index", "key", "plain_bytes", "plain_blake3", "bytes", "sha256", "checksum")


def _part(value: object) -> Part:
    record = object_of(value, _PART_NAMES)
    checksum = field(record, "checksum", _checksum)
    return Part(
        index=field(record, "index", integer),
        key=field(record, "key", name),
        plain_bytes=field(record, "plain_bytes", integer),
        plain_blake3=field(record, "plain_blake3", sha256),
        bytes=field(record, "bytes", integer),
        sha256=field(record, "sha256", sha256),
        checksum=checksum,
    )


_parts = array_of(_part, least=1, most=MAX_PARTS)


def _checksum(value: object) -> Checksum:
    record = object_of(value, ("kind", "value"))
    return Checksum(
        kind=field(record, "kind", _checksum_kind),
        value=field(record, "value", line),
    )


def _base(value: object) -> Base:
    record = object_of(value, ("backup_id", "snapshot", "guid"))
    return Base(
        backup_id=field(record, "backup_id", _backup_id),
        snapshot=field(record, "snapshot", name),
        guid=field(record, "guid", guid),
    )


def _pool(value: object) -> ManifestPool:
    record = object_of(value, ("name", "guid"))
    return ManifestPool(name=field(record, "name", name), guid=field(record, "guid", guid))


def _dataset(value: object) -> ManifestDataset:
    record = object_of(value, ("name", "guid", "type", "encrypted"))
    return ManifestDataset(
        name=field(record, "name", name),
        guid=field(record, "guid", guid),
        type=field(record, "type", _dataset_type),
        encrypted=field(record, "encrypted", boolean),
    )


def _snapshot(value: object) -> ManifestSnapshot:
    record = object_of(value, ("name", "guid", "createtxg", "creation"))
    return ManifestSnapshot(
        name=field(record, "name", name),
        guid=field(record, "guid", guid),
        createtxg=field(record, "createtxg", integer),
        creation=field(record, "creation", read_time),
    )


def _send(value: object) -> SendRecord:
    record = object_of(value, ("flags", "zfs_version", "platform"))
    return SendRecord(
        flags=field(record, "flags", _flags),
        zfs_version=field(record, "zfs_version", name),
        platform=field(record, "platform", name),
    )


def _stream(value: object) -> StreamDigest:
    record = object_of(value, ("bytes", "blake3"))
    return StreamDigest(bytes=field(record, "bytes", integer), blake3=field(record, "blake3", sha256))


def _encryption(value: object) -> Encryption:
    record = object_of(value, ("scheme", "recipients"))
    if record["scheme"] != "age":
        raise ValueError("names another scheme than age")
    return Encryption(recipients=field(record, "recipients", _recipients))


def _recipients(value: object) -> tuple[str, ...]:
    recipients = _different(array_of(_recipient, least=1, most=1000)(value))
    if len({kind_of(recipient) for recipient in recipients}) > 1:
        raise ValueError("names age keys of two kinds")
    return recipients


def _flags(value: object) -> tuple[str, ...]:
    return _different(array_of(_flag, least=0, most=len(SEND_FLAGS))(value))


def _different(entries: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(entries)) != len(entries):
        raise ValueError("names something twice")
    return entries


def _flag(value: object) -> str:
    if value not in SEND_FLAGS:
        raise ValueError(f"is none of the flags {', '.join(SEND_FLAGS)}")
    return str(value)


def _level(value: object) -> int:
    if integer(value) > MAX_LEVEL:
        raise ValueError(f"is not a level from 0 to {MAX_LEVEL}")
    return cast(int, value)


def _backup_id(value: object) -> BackupId:
    try:
        return parse_backup_id(name(value))
    except UsageError:
        raise ValueError("is not a backup id") from None


def _dataset_type(value: object) -> DatasetType:
    if value not in ("filesystem", "volume"):
        raise ValueError("is neither filesystem nor volume")
    return value


_recipient = matching(_RECIPIENT, "a native age public key")
read_repository_id = matching(_REPOSITORY_ID, "32 lowercase hex digits")
_checksum_kind = matching(_CHECKSUM_KIND, "1 to 32 lowercase letters, digits and dashes")
