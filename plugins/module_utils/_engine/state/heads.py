# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers the highest number seen in each series of backups, outside the repository. A repository that shows less
than before has lost its newest backups, or shows an old state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..values.field_types import Positive
from ..values.json_records import read_record, write_record
from ..values.repository import Series
from ..values.strict_json import canonical_json, parse_object
from .durable_files import replace_durably

_MAX_BYTES = 4096


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


def _path(base_dir: Path, repository_id: str, series: Series) -> Path:
    return base_dir / "state" / "seen" / repository_id / series.path / "seq.json"
