# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers the highest number seen in each series of backups, outside the repository. A repository that shows less
than before has lost its newest backups, or shows an old state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

from ..values.field_types import Count
from ..values.json_records import listed, read_record, text, write_record
from ..values.repository_names import Series, encode_component
from ..values.strict_json import canonical_json, parse_object
from .durable_files import replace_durably

_MAX_BYTES = 1024 * 1024
_Keys = Annotated[tuple[str, ...], listed(text("the key of a loss", "[ -~]+", most=100), least=0, most=5000)]


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a series: the number of the newest backup, and which losses were told by a backup, and accepted
    by hand."""

    seq: Count = 0
    reported: _Keys = ()
    accepted: _Keys = ()


def read_head(base_dir: Path, repository_id: str, series: Series) -> Head:
    """Return what is remembered of ``series`` of a repository, which is nothing if it cannot be read."""
    try:
        content = _path(base_dir, repository_id, series).read_bytes()
        return read_record(Head, parse_object(content, limit=_MAX_BYTES))
    except (OSError, ValueError):
        return Head()


def highest_seen(base_dir: Path, repository_id: str, series: Series) -> int:
    """Return the highest ``seq`` seen in ``series`` of a repository, or 0 if nothing readable is remembered."""
    return read_head(base_dir, repository_id, series).seq


def series_seen(base_dir: Path, repository_id: str, host: str | None) -> Iterator[Series]:
    """Yield the series of ``host``, or of all hosts, of which something is remembered."""
    root = _directory(base_dir, repository_id)
    for path in sorted((root / encode_component(host) if host else root).rglob(_NAME)):
        owner, *dataset = map(unquote, path.parent.relative_to(root).parts)
        yield Series(owner, "/".join(dataset))


def remember(
    base_dir: Path,
    repository_id: str,
    series: Series,
    seq: int,
    *,
    reported: tuple[str, ...] = (),
    accepted: tuple[str, ...] = (),
) -> None:
    """Remember ``seq`` if it is higher than before, and losses that were reported or accepted.

    Raises :class:`OSError`.
    """
    before = read_head(base_dir, repository_id, series)
    now = replace(
        before,
        seq=max(seq, before.seq),
        reported=tuple(dict.fromkeys((*before.reported, *reported))),
        accepted=tuple(dict.fromkeys((*before.accepted, *accepted))),
    )
    if now != before:
        replace_durably(_path(base_dir, repository_id, series), canonical_json(write_record(now)).decode() + "\n")


_NAME = "seq.json"


def _directory(base_dir: Path, repository_id: str) -> Path:
    return base_dir / "state" / "seen" / repository_id


def _path(base_dir: Path, repository_id: str, series: Series) -> Path:
    return _directory(base_dir, repository_id) / series.path / _NAME
