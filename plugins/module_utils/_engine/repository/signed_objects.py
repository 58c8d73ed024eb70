# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads single manifests and retirement records, and says what is wrong with one: damaged, signed by nobody trusted, of
another repository, or under another key than its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ..errors import (
    EngineError,
    IntegrityError,
    ManifestInvalid,
    ObjectArchived,
    ObjectMissing,
    SignatureInvalid,
    ThawNeeded,
)
from ..seal.signing import MANIFEST, MAX_ENVELOPE_BYTES, RETIREMENT, PayloadKind, open_envelope
from ..store.protocol import Store
from ..values.manifest import CataloguedManifest, Manifest
from ..values.manifest_json import decode_manifest
from ..values.repository_names import IDENTITY_KEY, BackupId, Series
from ..values.retirement_json import RetirementRecord, decode_retirement
from .identity import RepositoryIdentity


@dataclass(frozen=True, slots=True)
class CataloguedRecord:
    """A retirement record with its key, and the trusted public key that vouches for it."""

    record: RetirementRecord
    key: str
    signer: str


Place: TypeAlias = tuple[Series, BackupId]
ReadRecord: TypeAlias = "CataloguedRecord | EngineError | None"
"""What a retirement record turned out to be: ``None`` counts for nothing."""


@dataclass(frozen=True, slots=True)
class SignedReader:
    """Reads single objects. Each answer begins with the place."""

    store: Store
    identity: RepositoryIdentity | None
    trusted: Sequence[str]
    allow_unsigned: bool = field(kw_only=True)

    def manifest(self, place: Place) -> tuple[Place, CataloguedManifest | EngineError]:
        """The summary of a manifest, or what is wrong with it."""
        series, backup_id = place
        key = series.manifest_key(backup_id)
        try:
            envelope = self.store.get(key, limit=MAX_ENVELOPE_BYTES)
            opened = open_envelope(envelope, trusted=self.trusted, allow_unsigned=self.allow_unsigned)
            manifest = decode_manifest(opened.payload)
            if (manifest.series, manifest.backup_id) != place:
                named = f"{manifest.backup_id} of {manifest.dataset.name} on {manifest.host}"
                raise _misplaced(MANIFEST, f"says that it is {named}")
            self._check_repository(MANIFEST, manifest.repository_id)
        except (ObjectMissing, ObjectArchived, IntegrityError) as error:
            return place, _about(key, MANIFEST, error)
        digest = hashlib.sha256(opened.payload).hexdigest()
        return place, CataloguedManifest(manifest.summary, opened.signer, digest)

    def record(self, key: str) -> tuple[str, ReadRecord]:
        """The retirement record, or what is wrong with it."""
        if not self.trusted:
            return key, None
        try:
            envelope = self.store.get(key, limit=MAX_ENVELOPE_BYTES)
            opened = open_envelope(envelope, RETIREMENT, trusted=self.trusted)
            record = decode_retirement(opened.payload)
            own_key = record.series.retirement_key(len(record.backups), hashlib.sha256(envelope).hexdigest())
            if own_key != key:
                raise _misplaced(RETIREMENT, f"belongs under the key {own_key}")
            self._check_repository(RETIREMENT, record.repository_id)
        except SignatureInvalid as error:
            return key, None if self.allow_unsigned else _about(key, RETIREMENT, error)
        except (ObjectMissing, ObjectArchived, IntegrityError) as error:
            return key, _about(key, RETIREMENT, error)
        return key, CataloguedRecord(record, key, opened.signer or "")

    def _check_repository(self, kind: PayloadKind, found: str) -> None:
        if self.identity is not None and found != self.identity.repository_id:
            raise _misplaced(
                kind, f"belongs to the repository {found}, and {IDENTITY_KEY} names {self.identity.repository_id}"
            )


def read_manifest(store: Store, found: CataloguedManifest) -> Manifest:
    """The whole manifest of a backup that a catalogue of this run proved. Raises :class:`ManifestInvalid` if another
    one stands in its place since, and what the store raises."""
    try:
        payload = open_envelope(store.get(found.key, limit=MAX_ENVELOPE_BYTES), trusted=(), allow_unsigned=True).payload
        if hashlib.sha256(payload).hexdigest() == found.payload_sha256:
            return decode_manifest(payload)
    except (ObjectMissing, IntegrityError):
        pass
    raise ManifestInvalid(
        f"The manifest {found.key} was removed or exchanged while it was in use",
        subject=found.key,
        next_step="If it was retired meanwhile, run the same command again; if not, find out who can write to the "
        "repository",
    )


def _misplaced(kind: PayloadKind, reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The {kind.noun} {reason}",
        next_step=f"It was copied or moved there, or {IDENTITY_KEY} was exchanged: find out who can write to the "
        "repository, and remove the one that is wrong. `zrb verify --accept-losses` makes a removed "
        f"{IDENTITY_KEY} again from signed manifests",
    )


def _about(key: str, kind: PayloadKind, error: EngineError) -> EngineError:
    """The same error, naming the object it is about."""
    if isinstance(error, ObjectArchived):
        return ThawNeeded(
            f"The {kind.noun} {key} was moved to an archive class",
            subject=key,
            next_step="Thaw that object, and take `manifests/` out of the lifecycle rule that moved it",
        )
    if isinstance(error, ObjectMissing) or error.subject == key:
        return error
    return type(error)(f"{key}: {error.problem}", subject=key, answer=error.answer, next_step=error.next_step)
