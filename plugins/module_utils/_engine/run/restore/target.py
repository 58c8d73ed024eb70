# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the target of a restore can take the chain, and how to go on if it holds a part of it already."""

from __future__ import annotations

from ...errors import NoSuchDataset, NoSuchSnapshot, TargetExists, UsageError, ZfsUnable
from ...plan.level_choice import unsupported_flags
from ...values.manifest import Manifest
from ..context import Context
from .held_links import find_presence
from .plan import RestorePlan


def check_target(context: Context, plan: RestorePlan) -> None:
    """Raise if ``plan`` cannot be received here: the target is taken, its parent is missing, this ZFS is too old.

    ``TargetExists``, ``NoSuchDataset``, ``NoSuchSnapshot``, ``ZfsUnable``, ``UsageError``.
    """
    target, first = plan.target, plan.links[0].manifest
    if plan.presence.links or plan.presence.cut_at:
        pass  # what is there was looked at when the plan was made
    elif first.base is not None:
        _check_continues(context, target, first)
    elif context.zfs.exists(target) and not plan.presence.remains:
        raise _target_exists(context, target, plan)
    else:
        parent = target.rpartition("/")[0]
        if not parent:
            raise UsageError(
                f"{target} names a whole pool",
                subject=target,
                next_step=f"Restore into a new dataset below it, such as {target}/restored",
            )
        try:
            context.zfs.dataset(parent)
        except NoSuchDataset as error:
            raise NoSuchDataset(
                f"{parent}, where {target} is to be restored, does not exist",
                subject=parent,
                next_step=f"Create it with `zfs create -o mountpoint=none {parent}`, or choose another --target",
            ) from error
    for link in plan.missing:
        if missing := unsupported_flags(context.zfs.capabilities, link.manifest.send.flags):
            raise ZfsUnable(
                f"Backup {link.manifest.backup_id} was sent with {' '.join(missing)}, and "
                f"{context.zfs.capabilities.version} cannot receive such a stream",
                subject=link.manifest.backup_id,
                next_step=f"Restore on a machine with ZFS like the one it came from ({link.manifest.send.zfs_version})",
            )


def _target_exists(context: Context, target: str, plan: RestorePlan) -> TargetExists:
    return TargetExists(
        f"{target} exists already, and a restore never overwrites",
        subject=target,
        next_step=_way_on_from(context, target, plan)
        or "Choose a name that does not exist with --target, or rename the dataset first",
    )


def _way_on_from(context: Context, target: str, plan: RestorePlan) -> str:
    """How to go on with what an earlier restore left in the target; empty if there is nothing to go on with."""
    try:
        presence = find_presence(context, target, [link.manifest for link in plan.links])
    except TargetExists:
        return ""
    if not presence.links:
        return "An earlier restore was cut off there: repeat this restore with --continue"
    if presence.finished and presence.links == len(plan.links):
        return ""
    return way_on(plan, presence.links)


def way_on(plan: RestorePlan, present: int) -> str:
    """How to go on with a restore whose first ``present`` links were received."""
    return (
        f"{plan.target} holds this chain up to {plan.links[present - 1].manifest.backup_id}; to go on from there, "
        "repeat this restore with --continue"
    )


def _check_continues(context: Context, target: str, first: Manifest) -> None:
    base = first.base
    snapshots = context.zfs.snapshots(target)
    newest = snapshots[-1] if snapshots else None
    if base is None or newest is None or newest.guid != base.guid:
        raise NoSuchSnapshot(
            f"Backup {first.backup_id} continues {base.snapshot if base else 'nothing'}, which is not the newest "
            f"snapshot of {target}",
            subject=target,
            next_step="Restore the whole chain into a new dataset: leave out --only",
        )
