# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a target holds of a chain already: the guids of its snapshots say so, and a mark says what is unfinished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import TargetExists
from ...state.restore_under_way import noted_token
from ...values.manifest import BackupSummary, Manifest
from ...values.zfs import ResumePoint, Snapshot
from ...zfs.protected_receive import RECEIVED_BY
from ..context import Context


@dataclass(frozen=True, slots=True)
class Presence:
    """What is there of a chain. Nothing, by default."""

    links: int = 0
    """How many links, from the first on."""
    finished: bool = False
    """Whether what was received was also given to the user."""
    remains: bool = False
    """Whether there is a dataset without any snapshot, in which a killed receive of ours ended."""
    cut_at: ResumePoint | None = None
    """Where the receive of the next link stands, if it was cut off and ZFS kept what it had."""


def find_presence(context: Context, target: str, chain: Sequence[Manifest]) -> Presence:
    """What ``target`` holds of ``chain``. Changes nothing.

    Raises :class:`TargetExists` if the chain cannot be continued there without that something is destroyed.
    """
    if not context.zfs.exists(target):
        return Presence()
    snapshots = context.zfs.snapshots(target)
    if not snapshots:
        return _remains(context, target, chain)
    links = count_links(snapshots, chain)
    if not links:
        raise _holds_another_state(target, snapshots, chain)
    if context.zfs.dataset(target).guid == chain[0].dataset.guid:
        raise TargetExists(
            f"{target} is the very dataset that was backed up, and a restore never changes it",
            subject=target,
            next_step="Choose a name that does not exist with --target",
        )
    cut_at = _cut_at(context, target, chain[links:]) if links < len(chain) else None
    return Presence(links=links, finished=not is_unfinished(context, target), cut_at=cut_at)


def _cut_at(context: Context, target: str, missing: Sequence[Manifest]) -> ResumePoint | None:
    point = context.zfs.resume_point(target)
    if point is None:
        return None
    link = missing[0]
    if (point.to_guid, point.from_guid) == (link.snapshot.guid, link.base.guid if link.base else None):
        return point
    raise TargetExists(
        f"{target} holds a part of a stream up to the snapshot with guid {point.to_guid}, which is not that of "
        f"{link.backup_id}",
        subject=target,
        next_step=f"If nobody needs it, give it up with `zfs receive -A {target}`, then run this command again",
    )


def count_links(snapshots: Sequence[Snapshot], chain: Sequence[Manifest | BackupSummary]) -> int:
    """How many of the first links of ``chain`` there are in a dataset with these snapshots, oldest first; 0 if its
    newest one is of no link."""
    newest = snapshots[-1].guid if snapshots else None
    return next((number for number, link in enumerate(chain, start=1) if link.snapshot.guid == newest), 0)


def is_unfinished(context: Context, target: str) -> bool:
    """Whether a restore into ``target``, which exists, was stopped before its last word.

    The mark on the dataset says so. A ZFS that cannot set one as it receives has only the note on this machine.
    """
    if RECEIVED_BY in context.zfs.local_properties(target):
        return True
    return not context.zfs.capabilities.receive_properties and noted_token(context.base_dir, target) is not None


def _remains(context: Context, target: str, chain: Sequence[Manifest]) -> Presence:
    if cut_at := _cut_at(context, target, chain):
        return Presence(cut_at=cut_at)
    token = context.zfs.local_properties(target).get(RECEIVED_BY)
    if token is not None and token == noted_token(context.base_dir, target):
        return Presence(remains=True)
    raise TargetExists(
        f"{target} exists, has no snapshot, and does not bear the token of a restore of this machine",
        subject=target,
        next_step="If a restore was killed a moment ago, ZFS may still be removing it: run this command again in a "
        "minute. If nobody else made it, destroy it by hand with `zfs destroy`",
    )


def _holds_another_state(target: str, snapshots: Sequence[Snapshot], chain: Sequence[Manifest]) -> TargetExists:
    guids = [snapshot.guid for snapshot in snapshots]
    last = next((link for link in reversed(chain) if link.snapshot.guid in guids), None)
    if last is None:
        return TargetExists(
            f"{target} exists and holds no link of the chain up to {chain[-1].backup_id}",
            subject=target,
            next_step="Choose a name that does not exist with --target, or rename the dataset first",
        )
    return TargetExists(
        f"{target} holds the chain up to {last.backup_id}, but the snapshot {snapshots[-1].name}, which is not of this "
        "chain, is newer",
        subject=target,
        next_step="Nothing was changed. Restore into another --target; or, if nobody needs that snapshot and what came "
        "with it, roll the dataset back with `zfs rollback -r`, and run this command again",
    )
