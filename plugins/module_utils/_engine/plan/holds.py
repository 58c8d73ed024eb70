# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which snapshots must stay held for later backups."""

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
    needed = {manifest.snapshot.guid for manifest in base_candidates(manifests) if manifest.level < MAX_LEVEL}
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
