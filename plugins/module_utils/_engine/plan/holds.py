# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which snapshots later backups need: those stay held. Of the others, those that zrb took are destroyed."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence

from ..values.manifest import BackupSummary
from ..values.repository_names import MAX_LEVEL
from ..values.zfs import Snapshot
from .levels import base_candidates

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
    manifests: Sequence[BackupSummary], snapshots: Sequence[Snapshot], *, bound: Container[str], keep: int
) -> tuple[Snapshot, ...]:
    """The snapshots to destroy: zrb took them, they are backed up, nobody holds them, and no later backup starts from
    them. The newest one that is backed up stays, and so do the newest ``keep`` of the others. Arguments are those of
    :func:`snapshots_to_release`; all manifests of the series must have been read."""
    needed = needed_as_base(manifests)
    committed = {manifest.snapshot.guid for manifest in manifests}
    stored = sorted((one for one in snapshots if one.guid in committed), key=lambda one: one.createtxg)
    superseded = [
        one
        for one in stored[:-1]
        if one.ours and not one.user_holds and one.guid not in needed and one.name not in bound
    ]
    return tuple(superseded[: len(superseded) - keep] if keep < len(superseded) else ())


def needed_as_base(manifests: Sequence[BackupSummary]) -> set[str]:
    """The guids of the snapshots that a later backup can start from."""
    return {manifest.snapshot.guid for manifest in base_candidates(manifests) if manifest.level < MAX_LEVEL}
