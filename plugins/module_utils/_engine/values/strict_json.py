# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads JSON from others strictly: refuses all that two readers could understand differently."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

Record = dict[str, Any]


class _Refused(ValueError):
    """A reason of this file, as opposed to one of the parser."""


def parse_object(data: bytes, *, limit: int) -> Record:
    """Parse ``data`` as one JSON object of at most ``limit`` bytes; each kind of document has its own limit.

    Raises :class:`ValueError`, with a reason that completes "it …", for longer data, invalid UTF-8, a byte order
    mark, duplicate names, floats, NaN and infinities, nesting too deep for the parser, and anything but an object.
    For any ``data``, the work is linear in the length, and memory stays below some thirty times the length.
    """
    if len(data) > limit:
        raise ValueError(f"has {len(data)} bytes, but may have at most {limit}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not valid UTF-8 at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark")
    try:
        value = _DECODER.decode(text)
    except _Refused:
        raise
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON at character {error.pos}: {error.msg}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError:  # Python refuses numbers with more digits, because parsing them takes quadratic time.
        raise ValueError("holds a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


def canonical_json(record: Mapping[str, object]) -> bytes:
    """Write ``record`` in its only form: UTF-8, names sorted, no spaces. Raises :class:`ValueError` for text that is
    not Unicode."""
    try:
        return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
            "utf-8"
        )
    except UnicodeEncodeError as error:
        raise ValueError(f"holds text that is not Unicode ({error.object[error.start : error.end][:20]!r})") from None


def check_names(record: Mapping[str, object], wanted: Collection[str]) -> None:
    """Raise :class:`ValueError` unless ``record`` has exactly the ``wanted`` names."""
    if record.keys() == set(wanted):
        return
    if missing := [name for name in wanted if name not in record]:
        raise ValueError(f"lacks {', '.join(map(repr, missing[:5]))}")
    unknown = next(name for name in record if name not in wanted)
    raise ValueError(f"has the unknown field {unknown[:80]!r}")


def _pairs(pairs: list[tuple[str, Any]]) -> Record:
    record = dict(pairs)
    if len(record) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _value in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _Refused(f"names {twice[:80]!r} twice in one object")
    return record


def _no_float(text: str) -> NoReturn:
    raise _Refused(f"holds the number {text[:40]}, but only whole numbers are allowed")


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_no_float, parse_constant=_no_float)
