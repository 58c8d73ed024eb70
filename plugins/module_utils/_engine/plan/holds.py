# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which snapshots must stay held for later backups."""

from __future__ import annotations

from collections.abc import Sequence

from ..values.manifest import Manifest
from ..values.repository_names import MAX_LEVEL
from ..values.zfs import Snapshot
from .levels import base_candidates


def snapshots_to_release(manifests: Sequence[Manifest], snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
    """The held snapshots of committed backups that no later backup can start from.

    ``manifests`` are those of the series, with the new one; ``snapshots`` those of the dataset. Guids identify
    snapshots. A snapshot that no manifest names is never released: a running or interrupted backup, or somebody else,
    may hold it.
    """
    needed = {manifest.snapshot.guid for manifest in base_candidates(manifests) if manifest.level < MAX_LEVEL}
    committed = {manifest.snapshot.guid for manifest in manifests}
    return tuple(
        snapshot
        for snapshot in snapshots
        if snapshot.user_holds > 0 and snapshot.guid in committed and snapshot.guid not in needed
    )
