# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which snapshots later backups need: those stay held. Of the others, those that zrb took are destroyed."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from typing import Literal, TypeAlias

from ..values.manifest import BackupSummary
from ..values.repository_names import MAX_LEVEL
from ..values.zfs import Snapshot
from .level_choice import base_candidates

Reason: TypeAlias = Literal["unfinished", "base", "newest", "held", "not_stored", "kept", "superseded"]
"""Why a snapshot is there. ``superseded`` ones go."""

OUR_NAME = re.compile(r"_level[0-4]_[0-9]{8}T[0-9]{6}Z$")
"""How the names of snapshots end that zrb takes."""


def snapshots_to_release(
    manifests: Sequence[BackupSummary], snapshots: Sequence[Snapshot], *, bound: Container[str] | None = None
) -> tuple[Snapshot, ...]:
    """The held snapshots that no later backup can start from.

    ``manifests`` are those of the series, with the new one; ``snapshots`` those of the dataset. Guids identify
    snapshots. If no manifest names a held snapshot, it belongs to an unfinished backup, somebody else holds it, or its
    backup vanished from the repository. With the names of the snapshots that are ``bound`` to unfinished backups, the
    last kind is released too, if zrb named it. Leave them out if a manifest could not be read.
    """
    needed = needed_as_base(manifests)
    committed = {manifest.snapshot.guid for manifest in manifests}

    def vanished(snapshot: Snapshot) -> bool:
        return bound is not None and snapshot.name not in bound and OUR_NAME.search(snapshot.name) is not None

    return tuple(
        snapshot
        for snapshot in snapshots
        if snapshot.user_holds > 0
        and snapshot.guid not in needed
        and (snapshot.guid in committed or vanished(snapshot))
    )


def superseded_snapshots(
    manifests: Sequence[BackupSummary],
    snapshots: Sequence[Snapshot],
    *,
    retired: Container[str],
    bound: Container[str],
    keep: int,
) -> tuple[Snapshot, ...]:
    """The snapshots to destroy: zrb took them, they are or were backed up, nobody holds them, and no later backup
    starts from them. The newest one that is backed up stays, and so do the newest ``keep`` of the others. Arguments are
    those of :func:`snapshots_to_release`, and ``retired``, the guids of the snapshots of retired backups; all manifests
    of the series must have been read."""
    reasons = why_kept(manifests, snapshots, retired=retired, bound=bound, keep=keep)
    return tuple(one for one in snapshots if one.ours and reasons[one.name] == "superseded")


def why_kept(
    manifests: Sequence[BackupSummary],
    snapshots: Sequence[Snapshot],
    *,
    retired: Container[str],
    bound: Container[str],
    keep: int,
) -> dict[str, Reason]:
    """Why each of ``snapshots`` is there, by its name: as if zrb had taken all of them."""
    needed = needed_as_base(manifests)
    committed = {manifest.snapshot.guid for manifest in manifests}
    newest = max((one.createtxg for one in snapshots if one.guid in committed), default=0)
    more = 0
    reasons: dict[str, Reason] = {}
    for one in sorted(snapshots, key=lambda one: one.createtxg, reverse=True):
        if one.name in bound:
            reasons[one.name] = "unfinished"
        elif one.guid in needed:
            reasons[one.name] = "base"
        elif one.guid in committed and one.createtxg == newest:
            reasons[one.name] = "newest"
        elif one.user_holds:
            reasons[one.name] = "held"
        elif one.guid not in committed and (one.guid not in retired or one.createtxg > newest):
            reasons[one.name] = "not_stored"
        elif one.ours and more < keep:
            more += 1
            reasons[one.name] = "kept"
        else:
            reasons[one.name] = "superseded"
    return reasons


def needed_as_base(manifests: Sequence[BackupSummary]) -> set[str]:
    """The guids of the snapshots that a later backup can start from."""
    return {manifest.snapshot.guid for manifest in base_candidates(manifests) if manifest.level < MAX_LEVEL}
