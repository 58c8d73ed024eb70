# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names inside a repository: backup ids, object keys, levels (docs/format.md, "Keys")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NewType
from urllib.parse import quote, unquote

from ..errors import ManifestInvalid, UsageError

BackupId = NewType("BackupId", str)
"""``{YYYYMMDDTHHMMSSZ}-L{N}-{8 hex digits}``. The time is for people; nothing sorts by it."""

MAX_LEVEL = 4
IDENTITY_KEY = "zrb.json"
MANIFEST_SUFFIX = ".json"
PART_LIST_SUFFIX = ".parts"
RETIREMENT_PREFIX = "retired-"
"""Greater than the digits that a backup id begins with: a listing in key order shows what is removed before it shows
the record that names it, which was written earlier. So it shows at least one of the two."""
RETIREMENT_SUFFIX = ".record"
BACKUP_ID_PATTERN = "[0-9]{8}T[0-9]{6}Z-L[0-4]-[0-9a-f]{8}"
_PART_NAME = re.compile(r"snapshot\.part-([0-9]{6})\.age")
_BACKUP_ID = re.compile(BACKUP_ID_PATTERN)
_DATA_PREFIX = re.compile(rf"data/(.+)/level([0-4])/({BACKUP_ID_PATTERN})/")
_RETIREMENT = re.compile(rf"{RETIREMENT_PREFIX}[0-9]{{4}}-[0-9a-f]{{16}}{re.escape(RETIREMENT_SUFFIX)}")


def new_backup_id(*, now: datetime, level: int, token: str) -> BackupId:
    """The id of a backup made ``now`` (UTC) at ``level``; ``token`` is 8 hex digits of randomness."""
    return parse_backup_id(f"{now:%Y%m%dT%H%M%SZ}-L{level}-{token}")


def parse_backup_id(text: str) -> BackupId:
    """Return ``text`` if it is a backup id. Raises :class:`UsageError` otherwise."""
    if not _BACKUP_ID.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a backup id",
            subject=text,
            next_step="A backup id looks like 20260131T020000Z-L0-5d41402a; `zrb list` shows them",
        )
    return BackupId(text)


def level_of(backup_id: BackupId) -> int:
    """The level in a backup id."""
    return int(backup_id.partition("-L")[2][0])


def time_of(backup_id: BackupId) -> datetime:
    """When the backup with this id was begun. Raises ``ValueError`` for a time that does not exist."""
    return datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%S%z")


def check_level(level: int) -> int:
    """Return ``level`` if it is 0 to 4. Raises :class:`UsageError` otherwise."""
    if not 0 <= level <= MAX_LEVEL:
        raise UsageError(
            f"Level {level} does not exist",
            subject=str(level),
            next_step=f"Choose a level from 0 (full) to {MAX_LEVEL}",
        )
    return level


def encode_component(component: str) -> str:
    """Percent-encode every byte outside ``A-Za-z0-9._-`` in one component of a key; never returns ``.`` or ``..``."""
    encoded = quote(component, safe="").replace("~", "%7E")
    return encoded.replace(".", "%2E") if encoded in {".", ".."} else encoded


def hold_tag(repository_id: str) -> str:
    """The tag of holds on snapshots that backups in this repository need."""
    return f"zrb:{repository_id[:8]}"


def part_name(index: int) -> str:
    """The last component of the key of part ``index`` (from 0)."""
    return f"snapshot.part-{index:06d}.age"


def part_index(name: str) -> int | None:
    """The index in the last component of a part's key, or ``None`` if it is not the name of a part."""
    match = _PART_NAME.fullmatch(name)
    return int(match[1]) if match else None


@dataclass(frozen=True, slots=True)
class Series:
    """The series of backups of one dataset of one host; ``seq`` counts them.

    ``dataset`` is the full ZFS name, pool first.
    """

    host: str
    dataset: str

    @property
    def path(self) -> str:
        """``{host}/{pool}/{dataset…}``, encoded."""
        return "/".join(encode_component(part) for part in (self.host, *self.dataset.split("/")))

    @property
    def manifest_prefix(self) -> str:
        """Prefix of the manifests of this series, with a trailing slash. Those of child datasets begin with it, too."""
        return f"manifests/{self.path}/"

    def manifest_key(self, backup_id: BackupId) -> str:
        """Key of the manifest of one backup, relative to the repository."""
        return f"{self.manifest_prefix}{backup_id}{MANIFEST_SUFFIX}"

    def part_list_key(self, backup_id: BackupId) -> str:
        """Key of the list of parts of one backup."""
        return f"{self.manifest_prefix}{backup_id}{PART_LIST_SUFFIX}"

    def retirement_key(self, count: int, envelope_sha256: str) -> str:
        """Key of a retirement record of ``count`` backups. One that takes the place of another names more, and so comes
        later in key order."""
        return f"{self.manifest_prefix}{RETIREMENT_PREFIX}{count:04d}-{envelope_sha256[:16]}{RETIREMENT_SUFFIX}"

    def data_prefix(self, backup_id: BackupId, level: int) -> str:
        """Prefix of all parts of one backup, with a trailing slash."""
        return f"data/{self.path}/level{level}/{backup_id}/"

    def part_key(self, backup_id: BackupId, level: int, index: int) -> str:
        """Key of part ``index`` (from 0) of one backup."""
        return self.data_prefix(backup_id, level) + part_name(index)


def parse_manifest_key(key: str, *, suffix: str = MANIFEST_SUFFIX) -> tuple[Series, BackupId]:
    """The series and the backup id in a key under ``manifests/`` that ends in ``suffix``.

    Raises :class:`ManifestInvalid` if the format has no such key. Never use these names in a local path.
    """
    series, file_name = _parse_place(key)
    backup_id = file_name.removesuffix(suffix)
    if file_name == f"{backup_id}{suffix}" and _BACKUP_ID.fullmatch(backup_id):
        return series, BackupId(backup_id)
    raise _no_such_key(key)


def parse_data_prefix(prefix: str) -> tuple[str, BackupId] | None:
    """The path of the series, and the id of the backup, whose parts have this prefix. ``None`` if the format has no
    such prefix."""
    match = _DATA_PREFIX.fullmatch(prefix)
    if match is None or level_of(BackupId(match[3])) != int(match[2]):
        return None
    return match[1], BackupId(match[3])


def parse_series(key: str) -> Series:
    """The series that an object under ``manifests/`` is of. Raises :class:`ManifestInvalid` for a key that is none."""
    return _parse_place(key)[0]


def parse_retirement_key(key: str) -> Series:
    """The series that a retirement record under ``key`` is of. Raises :class:`ManifestInvalid` if the key is not one
    that this format writes."""
    series, file_name = _parse_place(key)
    if _RETIREMENT.fullmatch(file_name):
        return series
    raise _no_such_key(key)


def _parse_place(key: str) -> tuple[Series, str]:
    """The series, and the last component."""
    directory, _slash, name = key.rpartition("/")
    series = _series_at(directory)
    if series is None or not name:
        raise _no_such_key(key)
    return series, name


@lru_cache(maxsize=1024)
def _series_at(directory: str) -> Series | None:
    """The series whose manifests lie there. Remembered, since there are many keys of one series."""
    pieces = directory.split("/")
    if len(pieces) < 3 or not all(pieces) or pieces[0] != "manifests":
        return None
    series = Series(host=unquote(pieces[1]), dataset="/".join(unquote(piece) for piece in pieces[2:]))
    return series if series.manifest_prefix == f"{directory}/" else None


def _no_such_key(key: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The object {key!r} is among the manifests, but is not named like one",
        subject=key,
        next_step="zrb did not write it: find out what did, and remove the object",
    )
