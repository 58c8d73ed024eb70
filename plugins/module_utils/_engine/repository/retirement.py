# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retires backups: a signed record names them before anything of them is removed (docs/format.md, "Retirement").

Records are merged as they are written, so that there are few of them however often somebody cleans up. Several may
write and merge at once: a record is removed only once another one names all that it names, which is kept by an order.
A record *covers* another if it names more backups, the other's among them, or the same ones under a greater key. Of all
records ever written that name a backup, one that no other covers is never removed. And since what covers has the
greater key, a listing in key order that comes too late for the one still shows the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..errors import NoSuchBackup, UsageError
from ..seal.signing import RETIREMENT, SigningKey
from ..store.protocol import Store
from ..values.manifest import BackupSummary, CataloguedManifest
from ..values.repository_names import BackupId, Series
from ..values.retirement_json import MAX_RETIRED, RetiredBackup, RetirementRecord, encode_retirement, merge_retired
from .catalogue import Catalogue
from .signed_objects import CataloguedRecord


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """Writes the retirement records of one signer. ``remove`` deletes an object of ``store``; one that is gone already
    is no error."""

    store: Store
    remove: Callable[[str], None]
    signing_key: SigningKey
    storage_class: str = "STANDARD"

    def retire(
        self, catalogue: Catalogue, series: Series, backup_ids: Collection[BackupId], *, reason: str, now: datetime
    ) -> None:
        """Retire these backups of ``series``: from this moment no reader that trusts the key offers them, or misses
        them, and their objects may be removed: manifest, list of parts, parts, in this order. What this signer has
        retired already stays so.

        ``catalogue`` is a new one, of the whole series. No backup of the series may be under way on this machine; one
        elsewhere looks itself before it commits. Raises what the catalogue found wrong with the series or the
        repository, :class:`NoSuchBackup`, :class:`UsageError` if a backup that stays needs one of them, and what the
        store raises. If it is interrupted, all of them are retired or the youngest of them: a repetition does the rest.
        """
        for problem in catalogue.problems_of(series):
            raise problem  # what cannot be read may need any backup of its series
        # What only others retired is there for this signer, who may retire it too.
        shown = (one for one in catalogue.manifests if one.manifest.series == series)
        hidden = catalogue.hidden_from(self.signing_key.public, series)
        there = {one.manifest.backup_id: one for one in (*shown, *hidden)}
        gone = {one.backup_id for one in catalogue.retired(series)} - there.keys()
        chosen = [_find(there, backup_id) for backup_id in set(backup_ids) - gone]
        _check_not_needed(chosen, [one.manifest for one in there.values()])
        # The youngest first, so that at no time a backup that stays needs one that does not.
        chosen.sort(key=lambda one: one.manifest.seq, reverse=True)
        records = [one for one in catalogue.records if one.record.series == series]
        own = [one for one in records if one.signer == self.signing_key.public]
        for begin in range(0, len(chosen), MAX_RETIRED):
            batch = tuple(_retired(one, reason, now) for one in chosen[begin : begin + MAX_RETIRED])
            self._write(chosen[begin].manifest.repository_id, series, with_others(merge_retired(batch), own))
        for key in covered(own):
            self.remove(key)

    def _write(self, repository_id: str, series: Series, backups: tuple[RetiredBackup, ...]) -> None:
        record = RetirementRecord(repository_id, series.host, series.dataset, backups)
        envelope = self.signing_key.sign(encode_retirement(record), RETIREMENT)
        key = series.retirement_key(len(backups), hashlib.sha256(envelope).hexdigest())
        self.store.put(key, envelope, storage_class=self.storage_class)


def with_others(batch: tuple[RetiredBackup, ...], records: Sequence[CataloguedRecord]) -> tuple[RetiredBackup, ...]:
    """``batch``, and the backups of as many of ``records`` as fit with it into one, the shortest first."""
    for one in sorted(records, key=lambda each: (len(each.record.backups), each.key)):
        merged = merge_retired(batch, one.record.backups)
        if len(merged) <= MAX_RETIRED:
            batch = merged
    return batch


def covered(records: Sequence[CataloguedRecord]) -> Iterator[str]:
    """The keys of those of ``records``, all of one signer and series, that another one of them covers.

    Those that a record just written covers are not among them: they are removed next time, when no listing is under
    way any more that began before it was written.
    """
    for one in records:
        places = one.record.places
        if any(
            places < (others := other.record.places) or (places == others and one.key < other.key) for other in records
        ):
            yield one.key


def _find(there: dict[BackupId, CataloguedManifest], backup_id: BackupId) -> CataloguedManifest:
    found = there.get(backup_id)
    if found is None:
        raise NoSuchBackup(
            f"The backup {backup_id} cannot be retired: it is not in the repository",
            subject=backup_id,
            next_step="`zrb list` shows those that are there",
        )
    return found


def _check_not_needed(chosen: Sequence[CataloguedManifest], there: Sequence[BackupSummary]) -> None:
    leaving = {one.manifest.backup_id for one in chosen}
    for one in there:
        if one.base is not None and one.base.backup_id in leaving and one.backup_id not in leaving:
            raise UsageError(
                f"The backup {one.base.backup_id} cannot be retired: {one.backup_id} needs it",
                subject=one.base.backup_id,
                next_step="Retire both, or keep both",
            )


def _retired(found: CataloguedManifest, reason: str, now: datetime) -> RetiredBackup:
    manifest = found.manifest
    return RetiredBackup(manifest.backup_id, manifest.seq, found.payload_sha256, manifest.snapshot.guid, now, reason)
