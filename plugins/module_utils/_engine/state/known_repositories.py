# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers which repository this machine has seen at each destination. Otherwise a repository that was wiped or
replaced, or is not mounted, would look like a new one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..errors import LocalStateError
from ..values.field_types import Line, RepositoryId
from ..values.json_records import listed, read_record, text, write_record
from ..values.strict_json import canonical_json, parse_object
from .durable_files import replace_durably

_MAX_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class KnownRepository:
    """The repository at a destination, if there is one. ``host`` is the name under which this machine last backed up to
    it, or empty. ``former`` are earlier repositories there, which somebody gave up by hand."""

    destination: Line
    repository_id: RepositoryId | None
    host: Line
    former: Annotated[
        tuple[str, ...], listed(text("the id of a repository", "[0-9a-f]{32}", most=32), least=0, most=99)
    ]


def known_repository(base_dir: Path, destination: str) -> KnownRepository | None:
    """Return what is remembered about ``destination``, or ``None`` if nothing readable is."""
    return _read(_path(base_dir, destination))


def remember_repository(base_dir: Path, known: KnownRepository) -> None:
    """Remember ``known`` from now on. Raises :class:`LocalStateError`."""
    path = _path(base_dir, known.destination)
    try:
        replace_durably(path, canonical_json(write_record(known)).decode() + "\n")
    except OSError as error:
        raise LocalStateError(
            f"The repository at {known.destination} could not be remembered",
            subject=str(path),
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and free some space, then run the same command again",
        ) from error


def replace_repository(base_dir: Path, destination: str, repository_id: str | None) -> None:
    """Forget the repository at ``destination``, and remember another one there, or none.

    Raises :class:`LocalStateError`.
    """
    before = known_repository(base_dir, destination)
    former = dict.fromkeys((*before.former, before.repository_id)) if before else {}
    ids = tuple(one for one in former if one not in (None, repository_id))
    remember_repository(base_dir, KnownRepository(destination, repository_id, "", ids))


def former_repositories(base_dir: Path) -> frozenset[str]:
    """Return the ids of repositories that were given up and are no longer at any destination."""
    known = [one for path in (base_dir / _DIRECTORY).glob("*.json") if (one := _read(path))]
    return frozenset(one for each in known for one in each.former) - {each.repository_id for each in known}


_DIRECTORY = Path("state", "repositories")


def _path(base_dir: Path, destination: str) -> Path:
    return base_dir / _DIRECTORY / f"{hashlib.sha256(destination.encode()).hexdigest()[:16]}.json"


def _read(path: Path) -> KnownRepository | None:
    try:
        return read_record(KnownRepository, parse_object(path.read_bytes(), limit=_MAX_BYTES))
    except (OSError, ValueError):
        return None
