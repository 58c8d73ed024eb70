# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML as a tree of nodes that know their line, so that every complaint can name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ConfigError, LibraryMissing

MAX_CONFIG_BYTES = 1024 * 1024
_SECRET_WORDS = ("secret", "access_key", "session_token", "password", "credential")


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the file, and the keys that lead to it."""

    file: Path
    node: Any
    path: str = ""

    @property
    def line(self) -> int:
        """Number of the node's line, from 1."""
        return int(self.node.start_mark.line) + 1

    def below(self, key: str, node: Any) -> Place:
        """The place of ``key`` in this one."""
        return Place(self.file, node, f"{self.path}.{key}" if self.path else key)

    def entry(self, number: int) -> Place:
        """The place of entry ``number`` of this list."""
        return Place(self.file, self.node.value[number], f"{self.path}[{number}]")

    def error(self, problem: str, next_step: str) -> ConfigError:
        """A complaint about this place: ``problem`` completes "the key …"."""
        what = f"`{self.path}` {problem}" if self.path else f"the file {problem}"
        return ConfigError(f"{self.file}:{self.line}: {what}", subject=self.path, next_step=next_step)

    def scalar(self, kind: str) -> str | None:
        """The text of a scalar of this kind (``str``, ``int``, ``bool`` …), ``None`` for any other node."""
        value = self.node.value
        return value if isinstance(value, str) and self.kind == kind else None

    @property
    def kind(self) -> str:
        """Name of the node's YAML type: ``str``, ``int``, ``map``, ``seq`` …"""
        return str(self.node.tag).rpartition(":")[2]


Read = Callable[[Place], Any]
Table = Mapping[str, Read]
"""The keys of a mapping, each with what reads its value or raises :class:`ConfigError`."""


@dataclass(frozen=True, slots=True)
class Section:
    """The values of a mapping's keys that are there, and where they stand."""

    place: Place
    values: dict[str, Any]
    places: dict[str, Place]

    def where(self, *keys: str) -> Place:
        """Where the first of ``keys`` that is there stands, or the section itself."""
        return next((self.places[key] for key in keys if key in self.places), self.place)

    def need(self, key: str, next_step: str) -> Any:
        """The value of a key that has to be there."""
        if self.values.get(key) in (None, ""):
            raise self.place.error(f"lacks the key `{key}`", next_step)
        return self.values[key]


def read_section(place: Place, table: Table) -> Section:
    """The mapping at ``place``. Raises :class:`ConfigError` for unknown and repeated keys and bad values."""
    if place.kind != "map":
        raise place.error(f"has to be a mapping, and is {described(place)}", f"It takes the keys {', '.join(table)}")
    section = Section(place, {}, {})
    for key_node, value_node in place.node.value:
        key = key_node.value if isinstance(key_node.value, str) else "?"
        here = place.below(key, key_node)
        if key not in table:
            raise _unknown(here, key, table)
        if key in section.places:
            raise here.error(
                f"stands twice, first in line {section.places[key].line}",
                "Keep one of the two: the other is never read",
            )
        section.places[key] = place.below(key, value_node)
        section.values[key] = table[key](section.places[key])
    return section


def _unknown(place: Place, key: str, table: Table) -> ConfigError:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return place.error(
            "is unknown, and credentials never stand in this file",
            "Put them into /etc/zrb/credentials (mode 0600), or where the AWS tools look, and take them out here",
        )
    near = get_close_matches(key, table, n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    return place.error("is an unknown key", f"{hint}Known here: {', '.join(table)}")


def described(place: Place) -> str:
    """What stands at ``place``, in words."""
    words = {"map": "a mapping", "seq": "a list", "null": "empty", "str": "text", "int": "a whole number"}
    words |= {"bool": "true or false", "float": "a number", "timestamp": "a date"}
    return words.get(place.kind, "something else")


def parse_yaml(file: Path, data: bytes) -> Place:
    """The root of the one YAML document in ``data``. Raises :class:`ConfigError`."""
    try:
        import yaml
    except ImportError as error:
        raise LibraryMissing.named("PyYAML", error) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(
            f"{file} has {len(data)} bytes, and a configuration is never longer than {MAX_CONFIG_BYTES}",
            subject=str(file),
            next_step="Give the path of the configuration file",
        )
    try:
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        raise _not_yaml(f"{file}{where}", error.problem or str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _not_yaml(str(file), str(error).splitlines()[0]) from None
    if root is None:
        raise ConfigError(
            f"{file} is empty",
            subject=str(file),
            next_step="It needs at least `base_dir`, `age_public_key`, and one of `s3` and `local`",
        )
    return Place(file, root)


def _not_yaml(where: str, answer: str) -> ConfigError:
    return ConfigError(
        f"{where}: this is not valid YAML",
        answer=answer,
        next_step="Look at that line and the one before it: indent with blanks, put text with `: ` or `#` in quotes",
    )
