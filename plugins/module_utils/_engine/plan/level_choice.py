# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chooses the level of a backup, its base, and the flags of ``zfs send``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ChainBroken, LevelUnavailable, ZfsUnable
from ..values.config import RawMode
from ..values.manifest import BackupSummary, Encryption
from ..values.repository_names import BackupId
from ..values.zfs import Bookmark, Capabilities, Dataset, Snapshot
from .chain import oldest_first, walk_chain


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """What to send: ``level`` from ``base`` (``None`` for a full stream).

    ``base_source`` is the full name of the snapshot or bookmark for ``zfs send -i``. If ``level`` is not the requested
    one, ``reason`` is a sentence that says why; otherwise it is empty.
    """

    level: int
    base: BackupSummary | None
    base_source: str | None
    flags: tuple[str, ...]
    reason: str


def send_flags(capabilities: Capabilities, dataset: Dataset, raw: RawMode) -> tuple[str, ...]:
    """Flags of a new chain: ``-w`` for a raw stream, else those of ``-L`` and ``-c`` that this ZFS has.

    Raises :class:`ZfsUnable` if the stream must be raw, but this ZFS has no ``-w`` or the dataset is not encrypted:
    ``-w`` then means ``-Lec``, and with ``-e`` OpenZFS loses data in embedded spill blocks (long symbolic links).
    """
    if raw == "always" or (raw == "auto" and dataset.encrypted):
        if not capabilities.send_raw:
            raise ZfsUnable(
                f"{dataset.name} must be sent raw, but {capabilities.version} has no `zfs send -w`",
                subject=dataset.name,
                next_step="Set `raw: never` for the task to send it decrypted, with its key loaded, or update ZFS",
            )
        if not dataset.encrypted:
            raise ZfsUnable(
                f"{dataset.name} must be sent raw, but is not encrypted: a raw stream of such a dataset can lose data",
                subject=dataset.name,
                next_step="Set `raw: auto` for the task: it sends only encrypted datasets raw",
            )
        return ("-w",)
    return tuple(flag for flag in ("-L", "-c") if _supports(capabilities, flag))


def unsupported_flags(capabilities: Capabilities, flags: Sequence[str]) -> tuple[str, ...]:
    """The ``flags`` that this ZFS does not know: it can neither continue such a chain nor receive it."""
    return tuple(flag for flag in flags if not _supports(capabilities, flag))


def _supports(capabilities: Capabilities, flag: str) -> bool:
    known = {"-L": capabilities.send_large_blocks, "-c": capabilities.send_compressed, "-w": capabilities.send_raw}
    return known.get(flag, False)


def base_candidates(manifests: Sequence[BackupSummary]) -> tuple[BackupSummary, ...]:
    """The committed backups that a later one could start from: youngest data first, so levels fall.

    As in dump(8), a backup of the same or a lower level with younger data replaces it. A backup whose chain is not
    complete in ``manifests`` (those of one series) does not count.
    """
    by_id = {manifest.backup_id: manifest for manifest in manifests}
    candidates: list[BackupSummary] = []
    for manifest in reversed(oldest_first(manifests)):
        lowest = candidates[-1].level if candidates else None
        if (lowest is None or manifest.level < lowest) and _is_whole(manifest, by_id):
            candidates.append(manifest)
    return tuple(candidates)


def _is_whole(manifest: BackupSummary, by_id: Mapping[BackupId, BackupSummary]) -> bool:
    try:
        walk_chain(manifest, by_id)
    except ChainBroken:
        return False
    return True


def choose_base(  # noqa: PLR0913 - the facts that decide, each by its name
    *,
    level: int,
    manifests: Sequence[BackupSummary],
    dataset: Dataset,
    snapshots: Sequence[Snapshot],
    bookmarks: Sequence[Bookmark],
    capabilities: Capabilities,
    flags: tuple[str, ...],
    encryption: Encryption,
    strict: bool,
    target: Snapshot | None = None,
) -> BaseChoice:
    """Choose the base for a backup of ``dataset`` at ``level``, or else at the highest possible level below it.

    ``manifests`` are those of the series. ``flags`` are those of a new chain; an increment repeats those of its base.
    ``encryption`` is that of the backup: all of a chain has keys of one kind. ``target`` is the snapshot to send, if it
    exists already: a base must be older. With ``strict``, raises :class:`LevelUnavailable` rather than choosing another
    level.
    """
    if level == 0:
        return BaseChoice(0, None, None, flags, "")
    refusals: list[str] = []
    choice = BaseChoice(0, None, None, flags, "")
    for candidate in (manifest for manifest in base_candidates(manifests) if manifest.level < level):
        source = _source(candidate, snapshots, bookmarks if capabilities.bookmarks else (), target)
        refusal = _refusal(candidate, dataset, capabilities, encryption) or (
            "" if source else _unavailable(candidate, target)
        )
        if not refusal:
            choice = BaseChoice(candidate.level + 1, candidate, source, candidate.send.flags, "")
            break
        refusals.append(refusal)
    if choice.level == level:
        return choice
    reason = _reason(level, choice, refusals)
    if strict:
        raise LevelUnavailable(
            f"Level {level} of {dataset.name} is not possible: {reason}",
            subject=dataset.name,
            next_step=f"Make a backup of level {choice.level} first, or leave out --strict-level",
        )
    taken = f"from {choice.base.backup_id}" if choice.base else "the whole dataset"
    sentence = f"Level {level} was requested, but this is level {choice.level}, {taken}: {reason}."
    return BaseChoice(choice.level, choice.base, choice.base_source, choice.flags, sentence)


def _reason(level: int, choice: BaseChoice, refusals: Sequence[str]) -> str:
    if refusals:
        return "; ".join(refusals)
    if choice.base is None:
        return "there is no committed backup to start from"
    return f"there is no backup of level {level - 1} since the newest one of level {choice.base.level}"


def _source(
    candidate: BackupSummary, snapshots: Sequence[Snapshot], bookmarks: Sequence[Bookmark], target: Snapshot | None
) -> str | None:
    """Full name of the snapshot, or else the bookmark, with the candidate's guid, if it is older than ``target``."""
    wanted = candidate.snapshot
    if target is not None and (target.createtxg <= wanted.createtxg):
        return None
    for snapshot in snapshots:
        if snapshot.guid == wanted.guid:
            return snapshot.name
    for bookmark in bookmarks:
        if bookmark.guid == wanted.guid and bookmark.createtxg == wanted.createtxg:
            return bookmark.name
    return None


def _refusal(candidate: BackupSummary, dataset: Dataset, capabilities: Capabilities, encryption: Encryption) -> str:
    name = f"the level {candidate.level} backup {candidate.backup_id}"
    if candidate.dataset.guid != dataset.guid:
        return (
            f"{name} is of another dataset that had this name (guid {candidate.dataset.guid}, but now {dataset.guid})"
        )
    if candidate.dataset.encrypted != dataset.encrypted:
        return f"{name} was made when the dataset was {'' if candidate.dataset.encrypted else 'not '}encrypted"
    if candidate.encryption.kind != encryption.kind:
        return f"{name} was encrypted for {candidate.encryption.kind} age keys, but now they are {encryption.kind}"
    if missing := unsupported_flags(capabilities, candidate.send.flags):
        return f"{name} was sent with {' '.join(missing)}, which {capabilities.version} does not have"
    return ""


def _unavailable(candidate: BackupSummary, target: Snapshot | None) -> str:
    snapshot = candidate.snapshot
    name = f"the level {candidate.level} backup {candidate.backup_id}"
    if target is not None and target.createtxg <= snapshot.createtxg:
        return f"{name} is not older than {target.name}"
    return f"the snapshot {snapshot.name} (guid {snapshot.guid}) of {name} is gone, and no bookmark remembers it"
