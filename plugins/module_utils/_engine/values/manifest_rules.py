# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules between the fields of a manifest (docs/format.md, "Manifest")."""

from __future__ import annotations

from .manifest import Base, Manifest
from .part_list_json import MAX_LINE_BYTES, count_parts
from .recipients import kind_of


def check_manifest(manifest: Manifest) -> None:
    """Raise :class:`ValueError`, with a reason that completes "it …", if the fields contradict each other."""
    _check_names(manifest)
    _check_series(manifest)
    _check_chain(manifest)
    _require(len({kind_of(key) for key in manifest.encryption.recipients}) == 1, "names age keys of two kinds")
    _check_parts(manifest)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _check_names(manifest: Manifest) -> None:
    dataset, snapshot = manifest.dataset.name, manifest.snapshot.name
    _require(
        dataset.partition("/")[0] == manifest.pool.name,
        f"says that {dataset!r} is in the pool {manifest.pool.name!r}",
    )
    _require(snapshot.startswith(f"{dataset}@"), f"names {snapshot!r} as a snapshot of {dataset!r}")


def _check_series(manifest: Manifest) -> None:
    # A later one may have none, too: its series goes on after the repository lost the earlier backups.
    _require(
        manifest.seq > 1 or manifest.previous is None,
        "is number 1 in its series and names a previous manifest",
    )


def _check_chain(manifest: Manifest) -> None:
    level, base = manifest.level, manifest.base
    _require(
        _level_of(manifest.backup_id) == level,
        f"has the level {level}, and its backup id {manifest.backup_id} another",
    )
    _require(
        level <= manifest.level_requested,
        f"has the level {level}, higher than the requested {manifest.level_requested}",
    )
    _require(_level_of(manifest.chain) == 0, f"names {manifest.chain}, which is no level 0, as its chain")
    if base is None:
        _require(level == 0, f"has the level {level} and no base")
        _require(manifest.chain == manifest.backup_id, "is a level 0 and belongs to another chain")
    else:
        _check_base(manifest, base)


def _check_base(manifest: Manifest, base: Base) -> None:
    _require(manifest.level > 0, "is a level 0 and has a base")
    _require(
        _level_of(base.backup_id) == manifest.level - 1,
        f"has the level {manifest.level} and the base {base.backup_id}, which is not one level lower",
    )
    _require(
        manifest.level > 1 or base.backup_id == manifest.chain,
        f"has the base {base.backup_id} and belongs to the chain {manifest.chain}",
    )
    _require(base.guid != manifest.snapshot.guid, "is its own base: both snapshots have one guid")


def _check_parts(manifest: Manifest) -> None:
    parts = manifest.parts
    _require(
        parts.key == manifest.series.part_list_key(manifest.backup_id),
        f"names {parts.key!r} as its list of parts, which is not its own",
    )
    count = count_parts(manifest.stream.bytes, manifest.part_size)
    _require(
        parts.count == count,
        f"has {parts.count} parts, and a stream of {manifest.stream.bytes} bytes is {count} of {manifest.part_size}",
    )
    _require(parts.stored_bytes > manifest.stream.bytes, "has fewer bytes encrypted than plain")
    _require(parts.bytes <= parts.count * MAX_LINE_BYTES, f"has a list of {parts.bytes} bytes for {parts.count} parts")


def _level_of(backup_id: str) -> int:
    return int(backup_id.partition("-L")[2][0])
