# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers the highest number seen in each series of backups, outside the repository. A repository that shows less
than before has lost its newest backups, or shows an old state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import BackupsVanished
from ..values.field_types import Positive
from ..values.json_records import read_record, write_record
from ..values.manifest import Manifest
from ..values.repository import Series, series_at
from ..values.strict_json import canonical_json, parse_object
from .durable_files import replace_durably

_MAX_BYTES = 4096
_FILE = "seq.json"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest backup that was seen in a series."""

    seq: Positive


def highest_seen(base_dir: Path, repository_id: str, series: Series) -> int:
    """Return the highest ``seq`` seen in ``series`` of a repository, or 0 if nothing readable is remembered."""
    try:
        content = _path(base_dir, repository_id, series).read_bytes()
        return read_record(Head, parse_object(content, limit=_MAX_BYTES)).seq
    except (OSError, ValueError):
        return 0


def remember(base_dir: Path, repository_id: str, series: Series, seq: int) -> None:
    """Remember ``seq`` if it is higher than before. Raises :class:`OSError`."""
    if seq > highest_seen(base_dir, repository_id, series):
        replace_durably(_path(base_dir, repository_id, series), canonical_json(write_record(Head(seq))).decode() + "\n")


def vanished(
    base_dir: Path, repository_id: str, shown: Iterable[Manifest], *, concerns: Callable[[Series], bool]
) -> list[BackupsVanished]:
    """What this machine has seen of the series that ``concerns`` names, and ``shown``, all that counts in the
    repository now, does not have any longer: a whole series, or its newest backups."""
    newest: dict[Series, int] = {}
    for manifest in shown:
        newest[manifest.series] = max(manifest.seq, newest.get(manifest.series, 0))
    found = []
    directory = base_dir / "state" / "seen" / repository_id
    for path in sorted(directory.rglob(_FILE)):
        series = series_at(path.parent.relative_to(directory).as_posix())
        if series is not None and concerns(series):
            seen, now = highest_seen(base_dir, repository_id, series), newest.get(series, 0)
            if seen > now:
                found.append(_gone(series, seen, now, path))
    return found


def _gone(series: Series, seen: int, now: int, path: Path) -> BackupsVanished:
    left = f"the newest backup that counts is number {now}" if now else "no backup counts any longer"
    return BackupsVanished(
        f"Of {series.dataset} of host {series.host}, backup number {seen} was seen before, and {left}",
        subject=series.dataset,
        next_step="Somebody removed them, or the repository shows an old state: look for who did. If you removed them "
        f"yourself, remove {path}",
    )


def _path(base_dir: Path, repository_id: str, series: Series) -> Path:
    return base_dir / "state" / "seen" / repository_id / series.path / _FILE
