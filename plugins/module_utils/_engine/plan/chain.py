# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backups belong together: chains by base and guid, series by number and hash.

All manifests given to a function here are those of one series (one dataset of one host).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ..errors import BackupsVanished, ChainBroken, NoSuchBackup
from ..values.manifest import CataloguedManifest, Manifest
from ..values.repository_names import BackupId, Series


def resolve_chain(manifests: Sequence[Manifest], target_id: str) -> tuple[Manifest, ...]:
    """The backups to restore one after the other, from the level 0 to ``target_id``.

    Raises :class:`NoSuchBackup`, or :class:`ChainBroken` if a link is missing or does not fit.
    """
    target = next((manifest for manifest in manifests if manifest.backup_id == target_id), None)
    if target is None:
        raise _no_such_backup(f"There is no backup {target_id}", manifests)
    return walk_chain(target, {manifest.backup_id: manifest for manifest in manifests})


def walk_chain(target: Manifest, by_id: Mapping[BackupId, Manifest]) -> tuple[Manifest, ...]:
    """As :func:`resolve_chain`, for manifests that are sorted by id already. Raises :class:`ChainBroken`."""
    links = [target]
    while (base := links[-1].base) is not None:
        child, parent = links[-1], by_id.get(base.backup_id)
        if parent is None:
            raise _missing_link(child, base.backup_id)
        if misfit := _misfit(child, parent):
            raise _broken(child, misfit)
        links.append(parent)
    return tuple(reversed(links))


def _misfit(child: Manifest, parent: Manifest) -> str:
    """How ``child`` contradicts its base, empty if it does not."""
    name, guid = parent.backup_id, child.base.guid if child.base else ""
    # Levels fall from link to link, so a walk ends; the other facts bind both manifests to one history.
    contradictions = (
        (
            guid != parent.snapshot.guid,
            f"starts from the snapshot with guid {guid}, and its base {name} sent the one with {parent.snapshot.guid}",
        ),
        (parent.level >= child.level, f"has the level {child.level}, and its base {name} the level {parent.level}"),
        (parent.chain != child.chain, f"is of the chain {child.chain}, and its base {name} of {parent.chain}"),
        (parent.series != child.series, f"is of another host or dataset than its base {name}"),
        (parent.dataset.guid != child.dataset.guid, f"was made from another dataset than its base {name}"),
        (parent.seq >= child.seq, f"has the number {child.seq} in its series, and its base {name} {parent.seq}"),
        (parent.snapshot.createtxg >= child.snapshot.createtxg, f"has no younger snapshot than its base {name}"),
        (parent.send.flags != child.send.flags, f"was sent with other flags than its base {name}"),
    )
    return next((text for contradicts, text in contradictions if contradicts), "")


def _missing_link(child: Manifest, base_id: BackupId) -> ChainBroken:
    return ChainBroken(
        f"The backup {child.backup_id} needs {base_id}, whose manifest is missing or was refused",
        subject=child.backup_id,
        next_step="Look into the problems that `zrb list` reports; a backup of another chain can be restored meanwhile",
    )


def _broken(child: Manifest, misfit: str) -> ChainBroken:
    return ChainBroken(
        f"The backup {child.backup_id} {misfit}",
        subject=child.backup_id,
        next_step="The two cannot be joined: restore a backup of another chain",
    )


def select_backup(
    manifests: Sequence[Manifest], *, level: int | None = None, backup_id: str | None = None, at: datetime | None = None
) -> Manifest:
    """The newest backup that has this ``level``, this id, and whose snapshot was taken not later than ``at``.

    Newest is the youngest data, see :func:`oldest_first`. Raises :class:`NoSuchBackup`, which names some that exist.
    """
    matches = [
        manifest
        for manifest in manifests
        if (level is None or manifest.level == level)
        and (backup_id is None or manifest.backup_id == backup_id)
        and (at is None or manifest.snapshot.creation <= at)
    ]
    if not matches:
        raise _no_such_backup(f"There is no backup{_wish(level, backup_id, at)}", manifests)
    chosen = {manifest.backup_id for manifest in matches}
    return next(manifest for manifest in reversed(oldest_first(manifests)) if manifest.backup_id in chosen)


def oldest_first(manifests: Iterable[Manifest]) -> list[Manifest]:
    """Backups of one series in the order of their data, not of their commits: one that was interrupted on Saturday and
    continued on Friday holds older data than one that was made on Tuesday.

    Within one dataset (by guid) the transaction group of the snapshot decides. A dataset that took the place of
    another comes after it: its first backup was committed later.
    """
    known = list(manifests)
    newest_commit: dict[str, int] = {}
    for manifest in known:
        newest_commit[manifest.dataset.guid] = max(manifest.seq, newest_commit.get(manifest.dataset.guid, 0))
    return sorted(
        known,
        key=lambda manifest: (newest_commit[manifest.dataset.guid], manifest.snapshot.createtxg, manifest.seq),
    )


def _wish(level: int | None, backup_id: str | None, at: datetime | None) -> str:
    wishes = [
        "" if backup_id is None else f" {backup_id}",
        "" if level is None else f" of level {level}",
        "" if at is None else f" of a snapshot from {at.isoformat()} or before",
    ]
    return "".join(wishes)


def _no_such_backup(problem: str, manifests: Sequence[Manifest]) -> NoSuchBackup:
    newest = oldest_first(manifests)[::-1]
    if not newest:
        return NoSuchBackup(problem, next_step="There is no committed backup of this dataset; make one first")
    some = ", ".join(manifest.backup_id for manifest in newest[:5])
    more = f" and {len(newest) - 5} more" if len(newest) > 5 else ""
    return NoSuchBackup(problem, next_step=f"These exist: {some}{more}; `zrb list` shows them")


def next_place(entries: Sequence[CataloguedManifest]) -> tuple[int, str | None]:
    """``seq`` and ``previous`` of the next backup in a series."""
    if not entries:
        return 1, None
    newest = max(entries, key=lambda entry: entry.manifest.seq)
    return newest.manifest.seq + 1, newest.payload_sha256


@dataclass(frozen=True, slots=True)
class Loss:
    """Backups of a series that are missing, or were exchanged. ``key`` is the same as long as it is the same loss;
    ``newest`` says that the newest ones are concerned, and that what is there is an older state."""

    key: str
    sentence: str
    newest: bool = False

    def error(self, series: Series) -> BackupsVanished:
        """Return the loss as an error."""
        return BackupsVanished(
            f"{series.dataset} of the host {series.host}: {self.sentence}",
            subject=series.dataset,
            next_step="Look for older versions of the objects, and for who or what removes them. If you know why they "
            "are gone, go on with what is there: `zrb verify --accept-losses`",
        )


def check_series(entries: Sequence[CataloguedManifest], *, highest_seen: int = 0, refused: int = 0) -> list[Loss]:
    """What the numbers and hashes of a series betray: backups that were removed, exchanged or made twice.

    ``highest_seen`` is the highest number that this reader has seen in the series before, 0 for none. ``refused``
    manifests of the series are there and damaged or not trusted: a problem of their own, but they did not vanish.
    """
    ordered = sorted(entries, key=lambda entry: (entry.manifest.seq, entry.manifest.backup_id))
    losses = [loss for older, newer in pairwise(ordered) for loss in _joint(older, newer)]
    newest = ordered[-1].manifest.seq if ordered else 0
    if newest + refused < highest_seen:
        sentence = (
            f"The repository shows {newest} as the newest backup of this dataset, and number {highest_seen} was seen "
            "before: the newest backups were removed, or an old state of the repository is shown."
        )
        losses.append(Loss(f"{newest + 1} to {highest_seen}", sentence, newest=True))
    return losses


def _joint(older: CataloguedManifest, newer: CataloguedManifest) -> list[Loss]:
    before, after = older.manifest, newer.manifest
    if after.seq == before.seq:
        sentence = (
            f"The backups {before.backup_id} and {after.backup_id} have the same number {after.seq} in the series."
        )
        return [Loss(f"{before.backup_id} and {after.backup_id}", sentence)]
    if after.seq > before.seq + 1:
        gap = f"{before.seq + 1} to {after.seq - 1}" if after.seq > before.seq + 2 else f"{before.seq + 1}"
        sentence = (
            f"Before the backup {after.backup_id} number {gap} of its series is missing: removed by cleanup, or lost."
        )
        return [Loss(f"{before.seq + 1} to {after.seq - 1}", sentence)]
    if after.previous != older.payload_sha256:
        sentence = f"The backup {before.backup_id} is not the one that {after.backup_id} followed: it was exchanged."
        return [Loss(f"before {after.backup_id}", sentence)]
    return []
