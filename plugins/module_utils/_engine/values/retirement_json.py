# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retirement records: which backups of a series their owner removed (docs/format.md, "Retirement"). Written in one
form, read strictly, merged without a loss."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from ..errors import ManifestInvalid
from .field_types import AnyBackupId, DatasetName, Guid, Hash, Name, Positive, Reason, RepositoryId, Time
from .json_records import listed, object_of, read_record, write_record
from .manifest_json import MAX_PAYLOAD_BYTES, check_format
from .repository_names import Series
from .strict_json import canonical_json, parse_object

MAX_RETIRED: Final = 1000
"""The most backups that one record names: with the longest reasons, they fit into a payload."""


@dataclass(frozen=True, slots=True)
class RetiredBackup:
    """A backup that was given up: which manifest that was (SHA-256 of its payload), its snapshot, when, and why."""

    backup_id: AnyBackupId
    seq: Positive
    manifest_sha256: Hash
    snapshot_guid: Guid
    retired: Time
    reason: Reason

    @property
    def place(self) -> tuple[int, str, str]:
        """What tells it from others, in the order of a record."""
        return self.seq, self.backup_id, self.manifest_sha256


@dataclass(frozen=True, slots=True)
class RetirementRecord:
    """The payload of one retirement record, format 1: backups of one series of one repository, by number."""

    format: Literal[1] = field(default=1, kw_only=True)
    repository_id: RepositoryId
    host: Name
    dataset: DatasetName
    backups: Annotated[tuple[RetiredBackup, ...], listed(object_of(RetiredBackup), least=1, most=MAX_RETIRED)]

    @property
    def series(self) -> Series:
        """The series that the backups belong to."""
        return Series(host=self.host, dataset=self.dataset)

    @property
    def places(self) -> frozenset[tuple[int, str, str]]:
        """Which backups it names."""
        return frozenset(one.place for one in self.backups)


def merge_retired(*groups: tuple[RetiredBackup, ...]) -> tuple[RetiredBackup, ...]:
    """All backups that any of ``groups`` names, in the order of a record. What was retired twice, was at the first
    time."""
    merged: dict[tuple[int, str, str], RetiredBackup] = {}
    for one in (one for group in groups for one in group):
        known = merged.setdefault(one.place, one)
        merged[one.place] = min(known, one, key=lambda each: (each.retired, each.reason))
    return tuple(merged[place] for place in sorted(merged))


def encode_retirement(record: RetirementRecord) -> bytes:
    """The payload of ``record``. What it gives, :func:`decode_retirement` accepts.

    Raises :class:`ManifestInvalid` if the record breaks a rule of the format."""
    try:
        payload = canonical_json(write_record(record))
    except ValueError as error:
        raise _invalid(str(error)) from None
    decode_retirement(payload)
    return payload


def decode_retirement(payload: bytes) -> RetirementRecord:
    """The record in ``payload``. Raises :class:`ManifestInvalid` for everything that format 1 does not allow."""
    try:
        fields = parse_object(payload, limit=MAX_PAYLOAD_BYTES)
        check_format(fields)
        record = read_record(RetirementRecord, fields)
        if record.backups != merge_retired(record.backups):
            raise ValueError("does not name its backups in order, each once")
    except ValueError as error:
        raise _invalid(str(error)) from None
    return record


def _invalid(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The retirement record is not valid: it {reason}",
        next_step="It was damaged or not written by zrb: restore that object from a copy",
    )
