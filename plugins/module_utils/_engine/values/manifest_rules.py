# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold between the fields of a manifest (docs/format.md, "Manifest")."""

from __future__ import annotations

from .manifest import Base, Manifest
from .recipients import kind_of
from .repository import part_name


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
    # A later one may name none too: its series goes on after the repository lost what came before.
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
    data_prefix = manifest.series.data_prefix(manifest.backup_id, manifest.level)
    last = len(manifest.parts) - 1
    for position, part in enumerate(manifest.parts):
        if part.index != position:
            raise ValueError(f"has part {part.index} in the place of part {position}")
        if part.key != f"{data_prefix}{part_name(position)}":
            raise ValueError(f"gives part {position} the key {part.key!r}, which is not its own")
        if not (part.plain_bytes == manifest.part_size or (position == last and part.plain_bytes < manifest.part_size)):
            raise ValueError(f"gives part {position} {part.plain_bytes} bytes, with parts of {manifest.part_size}")
        if part.bytes <= part.plain_bytes:
            raise ValueError(f"gives part {position} fewer bytes encrypted than plain")
    total = sum(part.plain_bytes for part in manifest.parts)
    _require(
        total == manifest.stream.bytes,
        f"has parts of {total} bytes together, and a stream of {manifest.stream.bytes}",
    )


def _level_of(backup_id: str) -> int:
    return int(backup_id.partition("-L")[2][0])
