# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers which repository this machine has seen at each destination. One that was wiped, exchanged or is not mounted
would otherwise look like a new one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalStateError
from ..values.field_types import Line, RepositoryId
from ..values.json_records import read_record, write_record
from ..values.strict_json import canonical_json, parse_object
from .durable_files import replace_durably

_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """The repository at a destination. ``host`` is the name under which this machine last backed up to it, or empty."""

    destination: Line
    repository_id: RepositoryId
    host: Line


def known_repository(base_dir: Path, destination: str) -> KnownRepository | None:
    """Return what is remembered of ``destination``, if that is anything readable."""
    return _read(_path(base_dir, destination))


def remember_repository(base_dir: Path, known: KnownRepository) -> None:
    """Remember ``known`` from now on. Raises :class:`LocalStateError`."""
    path = _path(base_dir, known.destination)
    try:
        replace_durably(path, canonical_json(write_record(known)).decode() + "\n")
    except OSError as error:
        raise LocalStateError(
            f"Which repository is at {known.destination} could not be remembered",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and free some space, then run the same command again",
        ) from error


def forget_repository(base_dir: Path, destination: str) -> None:
    """Know nothing of ``destination`` any more."""
    _path(base_dir, destination).unlink(missing_ok=True)


def former_repositories(base_dir: Path) -> frozenset[str]:
    """Return the ids of repositories that were backed up to or read, and are at no destination any more."""
    known = {one.repository_id for path in (base_dir / _DIRECTORY).glob("*.json") if (one := _read(path))}
    return frozenset(path.name for path in (base_dir / "state" / "seen").glob("*")) - known


_DIRECTORY = Path("state", "repositories")


def _path(base_dir: Path, destination: str) -> Path:
    return base_dir / _DIRECTORY / f"{hashlib.sha256(destination.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> KnownRepository | None:
    try:
        return read_record(KnownRepository, parse_object(path.read_bytes(), limit=_MAX_BYTES))
    except (OSError, ValueError):
        return None
