# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""YAML nodes that know their line, so that every error can name it.

Validation libraries report the path of a mistake, not its line, and accept repeated keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import ConfigError, LibraryMissing

_SECRET_WORDS = ("secret", "access_key", "session_token", "password", "credential")
_KINDS = {"map": "a mapping", "seq": "a list", "null": "empty", "str": "text", "int": "a whole number"}
_KINDS |= {"bool": "true or false", "float": "a fraction", "timestamp": "a date"}


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the YAML file, the keys that lead to it, and the description of the last one."""

    file: Path
    yaml: Any
    path: str = ""
    description: str = ""

    @property
    def line(self) -> int:
        """Number of the node's line, from 1."""
        return int(self.yaml.start_mark.line) + 1

    @property
    def kind(self) -> str:
        """Name of the node's YAML type: ``str``, ``int``, ``map``, ``seq`` …"""
        return str(self.yaml.tag).rpartition(":")[2]

    @property
    def described(self) -> str:
        """The type of the value, in words."""
        return _KINDS.get(self.kind, "something else")

    @property
    def is_empty(self) -> bool:
        """Whether the value is missing or an empty string."""
        return self.kind == "null" or (self.kind == "str" and not self.yaml.value)

    def entries(self) -> list[Node]:
        """The entries of a list."""
        return [replace(self, yaml=one, path=f"{self.path}[{n}]") for n, one in enumerate(self.yaml.value)]

    def items(self) -> Iterator[tuple[str, Node, Node]]:
        """For each key of a mapping: its text, its node, and the node of its value."""
        for name, value in self.yaml.value:
            key = name.value if isinstance(name.value, str) else "?"
            path = f"{self.path}.{key}" if self.path else key
            yield key, Node(self.file, name, path), Node(self.file, value, path)

    def at(self, *keys: str) -> Node:
        """The value of the first of ``keys`` that the mapping has, or the mapping itself."""
        values = {key: value for key, _name, value in self.items()}
        return next((values[key] for key in keys if key in values), self)

    def error(self, problem: str, next_step: str = "") -> ConfigError:
        """An error about this node: ``problem`` completes "the key …". The default ``next_step`` is the description of
        the key."""
        what = f"`{self.path}` {problem}" if self.path else f"the file {problem}"
        next_step = next_step or f"It takes: {self.description}"
        return ConfigError(f"{self.file}:{self.line}: {what}", subject=self.path, next_step=next_step)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the configuration: the reader of its value, and a description for messages and documentation.

    An empty key counts as left out, unless ``empty`` gives the value that it stands for.
    """

    read: Callable[[Node], Any]
    description: str
    empty: Any = None


Keys = Mapping[str, Key]


def read_mapping(node: Node, keys: Keys) -> dict[str, Any]:
    """Return the values of the mapping ``node``. Raises :class:`ConfigError` for unknown or repeated keys and bad
    values."""
    if node.kind != "map":
        raise node.error(f"must be a mapping, not {node.described}", f"Known here: {', '.join(keys)}")
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, name, value in node.items():
        if key not in keys:
            raise _unknown(name, key, keys)
        if key in lines:
            raise name.error(f"is given twice, first in line {lines[key]}", "Remove one of the two")
        lines[key] = name.line
        if not value.is_empty:
            values[key] = keys[key].read(replace(value, description=keys[key].description))
        elif keys[key].empty is not None:
            values[key] = keys[key].empty
    return values


def require(node: Node, keys: Keys, values: Mapping[str, Any], *names: str) -> None:
    """Raise :class:`ConfigError` if the mapping ``node`` lacks one of ``names``."""
    for name in names:
        if name not in values:
            raise node.error(f"lacks the key `{name}`", f"Add it: {keys[name].description}")


def _unknown(name: Node, key: str, keys: Keys) -> ConfigError:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return name.error(
            "is unknown, and credentials are never stored in this file",
            "Move them to /etc/zrb/credentials (mode 0600), or to a file that AWS tools read",
        )
    near = get_close_matches(key, keys, n=1)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    return name.error("is an unknown key", f"{hint}Known here: {', '.join(keys)}")


def parse_yaml(file: Path, data: bytes) -> Node:
    """Return the root of the only YAML document in ``data``. Raises :class:`ConfigError`."""
    try:
        import yaml
    except ImportError as error:
        raise LibraryMissing.named("PyYAML", error) from error
    try:
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _not_yaml(f"{file}:{mark.line + 1}" if mark else str(file), error.problem or str(error)) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _not_yaml(str(file), str(error).splitlines()[0]) from None
    if root is None:
        raise ConfigError(
            f"{file} is empty", subject=str(file), next_step="Add at least `base_dir`, and `s3` or `local`"
        )
    return Node(file, root)


def _not_yaml(where: str, answer: str) -> ConfigError:
    return ConfigError(
        f"{where}: this is not valid YAML",
        answer=answer,
        next_step="Check that line and the one before it: indent with spaces, and quote text that contains `: ` or `#`",
    )
