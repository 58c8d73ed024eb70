# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Records of JSON, each field declared once.

A record is a frozen dataclass. The annotation of a field says what it may hold: a rule, as in
``level: Annotated[int, whole(most=4)]``, another record, ``bool``, a ``Literal``, or one of these or ``None``. The
strict reader, the writer and the JSON Schema are derived from that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from types import NoneType
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from .strict_json import Record, check_names

T = TypeVar("T")
MAX_INT: Final = 2**63 - 1
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"


def read_record(kind: type[T], value: object) -> T:
    """The record of this ``kind`` that parsed JSON stands for.

    Raises :class:`ValueError`, with a reason that completes "it …", for what the rules of its fields do not allow.
    """
    return cast(T, object_of(kind).read(value))


def write_record(record: Any) -> Record:
    """``record`` for JSON. Raises :class:`ValueError` for a time without a time zone, and checks nothing else."""
    return cast(Record, object_of(type(record)).write(record))


def schema_of(kind: type[Any]) -> Record:
    """The JSON Schema of records of this ``kind``."""
    return object_of(kind).schema


class FieldInvalid(ValueError):
    """A reason, with the path of the field it is about."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"has a field {path} that {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, eq=False)
class Rule:
    """What may stand in one place of a document. ``read`` gives what parsed JSON stands for there, or raises
    :class:`ValueError` with a reason that completes "field X …"; ``write`` is the way back."""

    schema: Record
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = lambda value: value


def text(wanted: str, pattern: str, *, most: int, holds: Callable[[str], bool] | None = None) -> Rule:
    """Text of at most ``most`` characters that ``pattern`` matches from end to end; ``wanted`` says in words what that
    is. The pattern has to mean the same to Python and to JavaScript; ``holds`` is what no pattern can say."""
    matches = re.compile(pattern).fullmatch

    def read(value: Any) -> str:
        if not isinstance(value, str) or len(value) > most or not matches(value) or (holds and not holds(value)):
            raise ValueError(f"is not {wanted}{_instead(value)}")
        if not value.isascii() and _SURROGATE.search(value):
            raise ValueError("holds text that is not Unicode")
        return value

    return Rule({"type": "string", "description": wanted, "pattern": f"^{pattern}$", "maxLength": most}, read)


def whole(least: int = 0, most: int = MAX_INT) -> Rule:
    """A whole number from ``least`` to ``most``."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"is not a whole number from {least} to {most}{_instead(value)}")
        return value

    return Rule({"type": "integer", "minimum": least, "maximum": most}, read)


def one_of(*values: str | int) -> Rule:
    """One of these values; ``True`` is not 1."""

    def read(value: Any) -> str | int:
        for one in values:
            if value == one and type(value) is type(one):
                return one
        raise ValueError(f"is not {' or '.join(map(json.dumps, values))}{_instead(value)}")

    return Rule({"const": values[0]} if len(values) == 1 else {"enum": list(values)}, read)


def listed(entry: Rule, *, least: int, most: int) -> Rule:
    """``least`` to ``most`` entries, no two alike, as a tuple."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ValueError(f"is not a list of {least} to {most} entries")
        entries = tuple(_within(str(position), entry, one) for position, one in enumerate(value))
        if len(set(entries)) != len(entries):
            raise ValueError("names something twice")
        return entries

    schema = {"type": "array", "minItems": least, "maxItems": most, "uniqueItems": True, "items": entry.schema}
    return Rule(schema, read, lambda value: [entry.write(one) for one in value])


def by_name(name: Rule, entry: Rule) -> Rule:
    """An object of entries whose names are not known beforehand."""

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"is not an object{_instead(value)}")
        return {name.read(key): _within(key, entry, one) for key, one in value.items()}

    return Rule({"type": "object", "propertyNames": name.schema, "additionalProperties": entry.schema}, read)


def time() -> Rule:
    """UTC in whole seconds, and no other form of RFC 3339."""
    form = text("a time like 2026-01-31T02:00:00Z", _TIME, most=20)

    def read(value: Any) -> datetime:
        digits = form.read(value)
        try:
            return datetime.fromisoformat(digits)
        except ValueError:
            raise ValueError(f"is a time that does not exist{_instead(value)}") from None

    return Rule(form.schema, read, write_time)


def write_time(moment: datetime) -> str:
    """An aware time as RFC 3339 in UTC, in whole seconds. Raises :class:`ValueError` for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("holds a time without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _or_null(rule: Rule) -> Rule:
    return Rule(
        {"oneOf": [{"type": "null"}, rule.schema]},
        lambda value: None if value is None else rule.read(value),
        lambda value: None if value is None else rule.write(value),
    )


def _object(kind: type[Any]) -> Rule:
    hints = get_type_hints(kind, include_extras=True)
    rules = {field.name: _rule_of(hints[field.name]) for field in fields(kind)}

    def read(value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"is not an object{_instead(value)}")
        check_names(value, rules)
        return kind(**{name: _within(name, rule, value[name]) for name, rule in rules.items()})

    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": list(rules),
        "properties": {name: rule.schema for name, rule in rules.items()},
    }
    return Rule(schema, read, lambda record: {name: rule.write(getattr(record, name)) for name, rule in rules.items()})


object_of = cast(Callable[[type[Any]], Rule], cache(_object))
"""An object with exactly the fields of a dataclass."""


def _rule_of(annotation: Any) -> Rule:
    """What the annotation of a field says."""
    for extra in getattr(annotation, "__metadata__", ()):
        if isinstance(extra, Rule):
            return extra
    kinds = get_args(annotation)
    if get_origin(annotation) is Literal:
        return one_of(*kinds)
    if NoneType in kinds:
        return _or_null(_rule_of(next(kind for kind in kinds if kind is not NoneType)))
    return one_of(True, False) if annotation is bool else object_of(annotation)


def _within(name: str, rule: Rule, value: Any) -> Any:
    """``value`` read; what is wrong with it is said of the field ``name``."""
    try:
        return rule.read(value)
    except FieldInvalid as error:
        raise FieldInvalid(f"{name}.{error.path}", error.reason) from None
    except ValueError as error:
        raise FieldInvalid(name, str(error)) from None


def _instead(value: object) -> str:
    """What is there instead, for the end of a reason. Of text it tells only the beginning: it may be a secret."""
    if not isinstance(value, str | int | None):
        return ""
    return f" ({json.dumps(value)[:14]}…)" if isinstance(value, str) and len(value) > 30 else f" ({json.dumps(value)})"
