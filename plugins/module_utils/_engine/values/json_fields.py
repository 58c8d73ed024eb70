# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single values of strictly read JSON.

Every reader takes a parsed value and gives what it stands for, or raises :class:`ValueError` with a reason that
completes "field X …"; :func:`field` puts the path of the field in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from .strict_json import Record, check_names

MAX_INT: Final = 2**63 - 1
MAX_NAME: Final = 1024
"""Characters of a name: the longest object key of S3, and four times the longest name of ZFS."""

_HASH = re.compile(r"[0-9a-f]{64}")
_GUID = re.compile(r"[1-9][0-9]{0,19}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
T = TypeVar("T")


class FieldInvalid(ValueError):
    """A reason, with the path of the field it is about."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"has a field {path} that {reason}")
        self.path = path
        self.reason = reason


def field(record: Record, name: str, read: Callable[[Any], T]) -> T:
    """``read`` of the field ``name``. Raises :class:`FieldInvalid`."""
    try:
        return read(record[name])
    except FieldInvalid as error:
        raise FieldInvalid(f"{name}.{error.path}", error.reason) from None
    except ValueError as error:
        raise FieldInvalid(name, str(error)) from None


def object_of(value: object, names: tuple[str, ...]) -> Record:
    """A JSON object with exactly these names."""
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    check_names(value, names)
    return value


def array_of(read: Callable[[Any], T], *, least: int, most: int) -> Callable[[object], tuple[T, ...]]:
    """A reader of arrays with ``least`` to ``most`` entries."""

    def read_array(value: object) -> tuple[T, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError(f"is not a list of {least} to {most} entries")
        entries: list[T] = []
        try:
            for entry in value:
                entries.append(read(entry))
        except FieldInvalid as error:
            raise FieldInvalid(f"{len(entries)}.{error.path}", error.reason) from None
        except ValueError as error:
            raise FieldInvalid(str(len(entries)), str(error)) from None
        return tuple(entries)

    return read_array


def optional(read: Callable[[Any], T]) -> Callable[[object], T | None]:
    """A reader that also takes null."""
    return lambda value: None if value is None else read(value)


def matching(pattern: re.Pattern[str], wanted: str) -> Callable[[object], str]:
    """A reader of text that ``pattern`` matches from end to end; ``wanted`` says in words what that is."""

    def read_matching(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"is not {wanted}")
        return value

    return read_matching


def integer(value: object) -> int:
    """A whole number from 0 to 2^63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INT:
        raise ValueError("is not a whole number from 0 to 2^63 - 1")
    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("is not true or false")
    return value


def line(value: object) -> str:
    """Text without control characters, maybe empty."""
    if not isinstance(value, str) or len(value) > MAX_NAME or _CONTROL.search(value):
        raise ValueError(f"is not text of at most {MAX_NAME} characters without control characters")
    return value


def name(value: object) -> str:
    """The same, not empty."""
    if not line(value):
        raise ValueError("is empty")
    return str(value)


def texts(value: object) -> dict[str, str]:
    """An object of texts by name; the texts may hold what they like, but for what is not Unicode."""
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    for key, entry in value.items():
        name(key)
        if not isinstance(entry, str) or _SURROGATE.search(entry):
            raise FieldInvalid(key, "is not text")
    return value


def _decimal_guid(value: object) -> str:
    if not isinstance(value, str) or not _GUID.fullmatch(value) or int(value) >= 2**64:
        raise ValueError("is not a guid: a 64-bit number, written in decimal as text")
    return value


def write_time(moment: datetime) -> str:
    """An aware time as RFC 3339 in UTC, in whole seconds. Raises :class:`ValueError` for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("holds a time without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def read_time(value: object) -> datetime:
    """RFC 3339 in UTC: ``2026-01-31T02:00:00Z``, and no other form of it."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("is not a time like 2026-01-31T02:00:00Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is a time that does not exist") from None


guid = _decimal_guid
sha256 = blake3 = matching(_HASH, "64 lowercase hex digits")
