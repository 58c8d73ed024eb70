# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which backups belong together: chains by base and guid, series by number and hash.

All manifests given to a function here are those of one series (one dataset of one host).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ..errors import BackupsVanished, ChainBroken, NoSuchBackup
from ..values.json_records import write_time
from ..values.manifest import BackupSummary, CataloguedManifest
from ..values.repository_names import BackupId, Series
from ..values.retirement_json import RetiredBackup


def resolve_chain(manifests: Sequence[BackupSummary], target_id: str) -> tuple[BackupSummary, ...]:
    """The backups to restore one after the other, from the level 0 to ``target_id``.

    Raises :class:`NoSuchBackup`, or :class:`ChainBroken` if a link is missing or does not fit.
    """
    target = next((manifest for manifest in manifests if manifest.backup_id == target_id), None)
    if target is None:
        raise _no_such_backup(f"There is no backup {target_id}", manifests)
    return walk_chain(target, {manifest.backup_id: manifest for manifest in manifests})


def walk_chain(target: BackupSummary, by_id: Mapping[BackupId, BackupSummary]) -> tuple[BackupSummary, ...]:
    """As :func:`resolve_chain`, for manifests that are sorted by id already. Raises :class:`ChainBroken`."""
    links = [target]
    while (parent := base_of(links[-1], by_id)) is not None:
        links.append(parent)
    return tuple(reversed(links))


def base_of(child: BackupSummary, by_id: Mapping[BackupId, BackupSummary]) -> BackupSummary | None:
    """The link before ``child``; ``None`` for a level 0. Raises :class:`ChainBroken`."""
    if child.base is None:
        return None
    parent = by_id.get(child.base.backup_id)
    if parent is None:
        raise _missing_link(child, child.base.backup_id)
    if misfit := _misfit(child, parent):
        raise _broken(child, misfit)
    return parent


def _misfit(child: BackupSummary, parent: BackupSummary) -> str:
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


def _missing_link(child: BackupSummary, base_id: BackupId) -> ChainBroken:
    return ChainBroken(
        f"The backup {child.backup_id} needs {base_id}, whose manifest is missing, refused or retired",
        subject=child.backup_id,
        next_step="Look into the problems that `zrb list` reports; a backup of another chain can be restored meanwhile",
    )


def _broken(child: BackupSummary, misfit: str) -> ChainBroken:
    return ChainBroken(
        f"The backup {child.backup_id} {misfit}",
        subject=child.backup_id,
        next_step="The two cannot be joined: restore a backup of another chain",
    )


def select_backup(
    manifests: Sequence[BackupSummary],
    *,
    level: int | None = None,
    backup_id: str | None = None,
    at: datetime | None = None,
) -> BackupSummary:
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


def oldest_first(manifests: Iterable[BackupSummary]) -> list[BackupSummary]:
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


def _no_such_backup(problem: str, manifests: Sequence[BackupSummary]) -> NoSuchBackup:
    newest = oldest_first(manifests)[::-1]
    if not newest:
        return NoSuchBackup(problem, next_step="There is no committed backup of this dataset; make one first")
    some = ", ".join(manifest.backup_id for manifest in newest[:5])
    more = f" and {len(newest) - 5} more" if len(newest) > 5 else ""
    return NoSuchBackup(problem, next_step=f"These exist: {some}{more}; `zrb list` shows them")


def check_not_retired(retired: Iterable[RetiredBackup], backup_id: str | None) -> None:
    """Raise :class:`NoSuchBackup`, which says when and why, if the backup ``backup_id`` is one of ``retired``."""
    for one in retired:
        if one.backup_id == backup_id:
            raise NoSuchBackup(
                f"The backup {one.backup_id} was retired on {write_time(one.retired)}: {one.reason}",
                subject=one.backup_id,
                next_step="Its data is removed, or about to be: choose another backup with `zrb list`",
            )


def next_place(entries: Sequence[CataloguedManifest], retired: Sequence[RetiredBackup] = ()) -> tuple[int, str | None]:
    """``seq`` and ``previous`` of the next backup in a series. The numbers of retired backups are not given again."""
    places: list[tuple[int, str | None]] = [(one.seq, one.manifest_sha256) for one in retired]
    places += [(entry.manifest.seq, entry.payload_sha256) for entry in entries]
    number, previous = max(reversed(places), key=lambda place: place[0], default=(0, None))
    return number + 1, previous


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


def check_series(
    entries: Sequence[CataloguedManifest],
    retired: Sequence[RetiredBackup] = (),
    *,
    highest_seen: int = 0,
    refused: int = 0,
) -> list[Loss]:
    """What the numbers and hashes of a series betray: backups that were removed, exchanged or made twice.

    ``retired`` are those that a trusted key removed: they are no loss. ``highest_seen`` is the highest number that this
    reader has seen in the series before, 0 for none. ``refused`` manifests of the series are there and damaged or not
    trusted: a problem of their own, but they did not vanish.
    """
    ordered = sorted(entries, key=lambda entry: (entry.manifest.seq, entry.manifest.backup_id))
    numbers = sorted({entry.manifest.seq for entry in ordered} | {one.seq for one in retired})
    newest = ordered[-1].manifest.seq if ordered else 0
    losses = [*_repeated(ordered), *_exchanged(ordered, retired), *_missing_before(ordered, numbers)]
    tail = list(_gaps([newest, *(number for number in numbers if number > newest), highest_seen + 1]))
    if sum(last - first + 1 for first, last in tail) > refused:
        losses += [
            Loss(
                f"{first} to {last}",
                f"The repository shows {newest} as the newest backup of this dataset, and number {last} was there "
                "before: the newest backups were removed, or an old state of the repository is shown.",
                newest=True,
            )
            for first, last in tail
        ]
    return losses


def _repeated(ordered: Sequence[CataloguedManifest]) -> Iterator[Loss]:
    for before, after in pairwise(entry.manifest for entry in ordered):
        if before.seq == after.seq:
            two = f"{before.backup_id} and {after.backup_id}"
            yield Loss(two, f"The backups {two} have the same number {after.seq} in the series.")


def _exchanged(ordered: Sequence[CataloguedManifest], retired: Sequence[RetiredBackup]) -> Iterator[Loss]:
    """Backups that did not follow the one whose number precedes theirs."""
    hashes: dict[int, dict[str, str]] = {}
    for one in retired:
        hashes.setdefault(one.seq, {})[one.manifest_sha256] = one.backup_id
    live: dict[int, BackupSummary] = {}
    for entry in ordered:
        hashes.setdefault(entry.manifest.seq, {})[entry.payload_sha256] = entry.manifest.backup_id
        live.setdefault(entry.manifest.seq, entry.manifest)
    for number, after in live.items():
        before = hashes.get(number - 1, {})
        # One that names none began anew after a loss: whatever is there in spite of that was exchanged.
        if before and after.previous not in before and (after.previous or number - 1 in live):
            *_others, name = before.values()
            sentence = f"The backup {name} is not the one that {after.backup_id} followed: it was exchanged."
            yield Loss(f"before {after.backup_id}", sentence)


def _missing_before(ordered: Sequence[CataloguedManifest], numbers: Sequence[int]) -> Iterator[Loss]:
    """Numbers that are missing before a backup that is there."""
    if not ordered:
        return
    first = ordered[0].manifest
    oldest, newest = first.seq, ordered[-1].manifest.seq
    if first.previous is not None:
        # Of older gaps it is not known whether the series began anew after them.
        oldest = max((number for number in numbers if number < first.seq), default=0)
    for begin, end in _gaps([oldest, *(number for number in numbers if oldest < number <= newest)]):
        after, *_later = (entry.manifest for entry in ordered if entry.manifest.seq > end)
        gap = f"{begin} to {end}" if end > begin else f"{begin}"
        sentence = f"Before the backup {after.backup_id} number {gap} of its series is missing, and was not retired."
        yield Loss(f"{begin} to {end}", sentence)


def _gaps(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of numbers that is missing between two of ``numbers``, which rise."""
    return ((before + 1, after - 1) for before, after in pairwise(numbers) if after > before + 1)
