# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers for single values of the configuration. Each returns the value or raises :class:`ConfigError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from ..errors import EngineError, LibraryMissing, UsageError
from .yaml_nodes import Node

T = TypeVar("T")
Reader = Callable[[Node], T]

TEXT = ("str",)
MAX_SIZE = 5 * 1024**4
"""5 TiB, the largest object that every S3 service stores. No size in the configuration may be larger."""

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*B)")


def scalar(convert: Callable[[str], T | None], wanted: str = "", *, kinds: tuple[str, ...] = TEXT) -> Reader[T]:
    """A reader for values of the YAML types ``kinds``.

    ``convert`` turns the text into the value. For a wrong text it returns ``None`` or raises :class:`ValueError`, or
    :class:`EngineError` to say more. ``wanted`` says what to write; the default is the description of the key.
    """

    def read(node: Node) -> T:
        if node.kind not in kinds:
            quotes = "Quote the value if you mean text" if kinds == TEXT else wanted
            raise node.error(f"cannot be {node.described}", quotes)
        text: str = node.yaml.value
        if not text.isprintable():
            raise node.error("contains a control character", "Remove it")
        try:
            value = convert(text)
        except LibraryMissing:
            raise
        except EngineError as error:
            raise node.error(f"is not right: {error.problem}", error.next_step) from None
        except ValueError:
            value = None
        if value is None:
            raise node.error(f"cannot be {text!r}", wanted)
        return value

    return read


def list_of(read_one: Reader[T], *, least: int = 0) -> Reader[tuple[T, ...]]:
    """A reader for lists."""

    def read(node: Node) -> tuple[T, ...]:
        if node.kind != "seq":
            raise node.error(
                f"must be a list, not {node.described}", "Write [one, two], or one entry per line after `- `"
            )
        if len(node.yaml.value) < least:
            raise node.error("is an empty list", f"Give at least {least}, or leave the key out")
        return tuple(read_one(entry) for entry in node.entries())

    return read


def matching(pattern: str, *, kinds: tuple[str, ...] = TEXT) -> Reader[str]:
    """A reader for text that ``pattern`` matches completely."""
    return scalar(lambda value: value if re.fullmatch(pattern, value) else None, kinds=kinds)


def choice(*words: str) -> Reader[str]:
    """A reader for one of these words. YAML 1.1 reads an unquoted `off` as false; here it is a word."""
    return scalar({word: word for word in words}.get, f"Choose one of {', '.join(words)}", kinds=("str", "bool"))


def whole(least: int, most: int) -> Reader[int]:
    """A reader for whole numbers from ``least`` to ``most``."""

    def convert(value: str) -> int | None:
        return int(value) if _WHOLE.fullmatch(value) and least <= int(value) <= most else None

    return scalar(convert, f"Write a decimal number from {least} to {most}, without quotes", kinds=("int",))


def size(least: int = 1) -> Reader[int]:
    """A reader for sizes in bytes, from ``least`` to :data:`MAX_SIZE`."""

    def convert(value: str) -> int | None:
        size_bytes = int(value) if _WHOLE.fullmatch(value) else _bytes_with_unit(value)
        return size_bytes if size_bytes is not None and least <= size_bytes <= MAX_SIZE else None

    wanted = "Write whole bytes, or a size such as 256MiB (binary) or 256MB (decimal; B is bytes, b is bits)"
    return scalar(convert, f"{wanted}, from {least} to 5TiB", kinds=("int", "str"))


def _seconds(value: str) -> int | None:
    matched = re.fullmatch(r"(0|[1-9][0-9]{0,5})(?: ?([smhd]))?", value)
    if not matched or not (matched[2] or matched[1] == "0"):
        return None
    return int(matched[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[matched[2] or "s"]


duration = scalar(_seconds, "Write a number and a unit (s, m, h or d) such as 6h, or 0", kinds=("int", "str"))
"""A reader for durations, in seconds."""


def _bytes_with_unit(value: str) -> int | None:
    matched = _SIZE.fullmatch(value)
    if not matched:
        return None
    try:
        import bitmath
    except ImportError as error:
        raise LibraryMissing.named("bitmath", error) from error
    size_bytes = bitmath.parse_string(matched[1] + matched[2]).bytes
    return int(size_bytes) if size_bytes == int(size_bytes) else None


def _price(value: str) -> float | None:
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", value) else None


def _time_zone(value: str) -> str | None:
    try:
        return value if value == "UTC" or ZoneInfo(value) else None
    except (KeyError, OSError, ValueError):  # not known here, a directory of zones, not a name at all
        return None


def _path(value: str) -> PurePosixPath | None:
    path = PurePosixPath(value)
    return path if path.is_absolute() and ".." not in path.parts else None


def _endpoint(value: str) -> str | None:
    url = urlsplit(value)
    if url.username is not None or url.password is not None:
        raise UsageError(
            "it contains a user name or a password, and credentials are never stored in this file",
            next_step="Move them to /etc/zrb/credentials (mode 0600)",
        )
    nothing_more = not (url.path.strip("/") or url.query or url.fragment)
    fits = url.scheme in ("http", "https") and url.hostname and url.port != 0 and nothing_more
    return value.rstrip("/") if fits else None


def _prefix(value: str) -> str | None:
    stripped = value.strip("/")
    if not stripped:
        return ""
    return None if {"", ".", ".."} & set(stripped.split("/")) else f"{stripped}/"


_whole_path = "Write the whole path from /, without ..: scheduled runs start in another directory"
path = scalar(_path, _whole_path)
path_text = scalar(lambda value: value if _path(value) else None, _whole_path)
text = scalar(lambda value: value or None, "Write some text, or leave the key out")
endpoint = scalar(_endpoint, "Write a URL such as https://s3.example.com:9000, with nothing after the port")
prefix = scalar(_prefix, "Write a prefix such as backups/nas/, without empty parts, `.` or `..`")
price = scalar(_price, "Write a decimal number such as 0.023, without quotes", kinds=("int", "float"))
time_zone = scalar(_time_zone, "Write a name of the IANA database that this machine has, such as Europe/Vienna")
flag = scalar(
    lambda value: value.lower() in {"true", "yes", "on"}, "Write true or false, without quotes", kinds=("bool",)
)
