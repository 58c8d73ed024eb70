# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers of single values of the configuration: each gives the value, or raises :class:`ConfigError`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..errors import EngineError, LibraryMissing
from .nodes import Place, described

T = TypeVar("T")

STORAGE_CLASSES = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    *("GLACIER_IR", "GLACIER", "DEEP_ARCHIVE", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"),
)
ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
"""Classes whose objects must be thawed before they can be read."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_SIZE_WANTED = "Write a whole number of bytes, or a size with its unit like 256MiB (binary) or 256MB (decimal)"


def text(place: Place) -> str:
    """Text, not empty."""
    value = any_text(place)
    if not value:
        raise place.error("is empty", "Give it a value, or leave the key out")
    return value


def any_text(place: Place) -> str:
    """Text, maybe empty, without control characters."""
    value = "" if place.kind == "null" else place.scalar("str")
    if value is None:
        raise place.error(
            f"has to be text, and is {described(place)}", "Put the value in quotes if it is meant as text"
        )
    if not value.isprintable():
        raise place.error("holds a control character", "Take it out")
    return value


def matching(pattern: str, wanted: str, *, empty: bool = False) -> Callable[[Place], str]:
    """A reader of text that ``pattern`` matches from end to end; ``wanted`` is the sentence that says what that is."""
    compiled = re.compile(pattern)

    def read(place: Place) -> str:
        value = any_text(place)
        if not compiled.fullmatch(value) and not (empty and not value):
            raise place.error(f"cannot be {value!r}", wanted)
        return value

    return read


def flag(place: Place) -> bool:
    """True or false, as YAML 1.1 writes them."""
    value = place.scalar("bool")
    if value is None:
        raise place.error(f"has to be true or false, and is {described(place)}", "Write true or false, without quotes")
    return value.lower() in {"true", "yes", "on"}


def whole(least: int, most: int) -> Callable[[Place], int]:
    """A reader of whole numbers from ``least`` to ``most``."""

    def read(place: Place) -> int:
        value = place.scalar("int") or ""
        if not _WHOLE.fullmatch(value) or not least <= int(value) <= most:
            raise place.error(f"has to be a whole number from {least} to {most}", "Write it in decimal, without quotes")
        return int(value)

    return read


def size(*, zero: bool = False) -> Callable[[Place], int]:
    """A reader of sizes in bytes; ``zero`` says whether 0 is one."""

    def read(place: Place) -> int:
        value = place.scalar("int")
        size_bytes = _plain_size(place, value) if value is not None else _size_with_unit(place)
        if size_bytes == 0 and not zero:
            raise place.error("cannot be 0", _SIZE_WANTED)
        return size_bytes

    return read


def _plain_size(place: Place, value: str) -> int:
    if not _WHOLE.fullmatch(value):
        raise place.error(f"cannot be {value}", _SIZE_WANTED)
    return int(value)


def _size_with_unit(place: Place) -> int:
    value = place.scalar("str")
    matched = _SIZE.fullmatch(value or "")
    if value is None or not matched:
        raise place.error(
            f"has to be a size, and is {described(place) if value is None else repr(value)}", _SIZE_WANTED
        )
    try:
        import bitmath
    except ImportError as error:
        raise LibraryMissing.named("bitmath", error) from error
    unit = matched[2]
    if not unit.endswith("B"):
        raise place.error(
            f"has the unit {unit}, which does not say how many bytes it is", f"{_SIZE_WANTED}; B is bytes, b is bits"
        )
    try:
        size_bytes = bitmath.parse_string(f"{matched[1]}{unit}").bytes
    except ValueError:
        raise place.error(f"has the unknown unit {unit}", _SIZE_WANTED) from None
    if size_bytes != int(size_bytes):
        raise place.error(f"is {value!r}, which is no whole number of bytes", _SIZE_WANTED)
    return int(size_bytes)


def absolute_path(place: Place) -> PurePosixPath:
    """A path from the root, without ``..``."""
    value = PurePosixPath(text(place))
    if not value.is_absolute() or ".." in value.parts:
        raise place.error(
            f"cannot be {str(value)!r}, since a scheduled run starts in another directory than you",
            "Write the whole path, from / on and without ..",
        )
    return value


def optional_path(place: Place) -> PurePosixPath | None:
    """The same, or nothing."""
    return absolute_path(place) if any_text(place) else None


def path_text(place: Place) -> str:
    """The same as text, empty for nothing."""
    return str(optional_path(place) or "")


def choice(*values: str) -> Callable[[Place], str]:
    """A reader of one of these words."""

    def read(place: Place) -> str:
        # YAML 1.1 reads a bare `off` as false; here it is a word.
        value = place.node.value if place.kind in ("str", "bool") else None
        if value not in values:
            raise place.error(
                f"cannot be {value!r}" if value is not None else f"cannot be {described(place)}",
                f"Choose one of {', '.join(values)}",
            )
        return str(value)

    return read


def list_of(read_one: Callable[[Place], T], *, least: int = 0) -> Callable[[Place], tuple[T, ...]]:
    """A reader of lists."""

    def read(place: Place) -> tuple[T, ...]:
        if place.kind != "seq":
            raise place.error(
                f"has to be a list, and is {described(place)}", "Write it as [one, two] or one `- ` a line"
            )
        if len(place.node.value) < least:
            raise place.error("is an empty list", f"Give at least {least}, or leave the key out")
        return tuple(read_one(place.entry(number)) for number in range(len(place.node.value)))

    return read


def checked(check: Callable[[str], str], *, empty: bool = False) -> Callable[[Place], str]:
    """A reader of text that another room of the engine checks."""

    def read(place: Place) -> str:
        value = any_text(place)
        if empty and not value:
            return value
        try:
            return check(value)
        except EngineError as error:
            raise place.error(f"is not right: {error.problem}", error.next_step) from None

    return read


def endpoint(place: Place) -> str:
    """URL of an S3 service, or nothing for AWS."""
    value = any_text(place)
    if not value:
        return value
    wanted = "Write it like https://s3.example.com:9000, with nothing after the port"
    try:
        url = urlsplit(value)
        port_fits = url.port is None or url.port > 0
    except ValueError:
        raise place.error("is not a URL", wanted) from None
    if url.username is not None or url.password is not None:
        raise place.error(
            "holds a user name or a password, and credentials never stand in this file",
            "Put them into /etc/zrb/credentials (mode 0600)",
        )
    extra = url.path.strip("/") or url.query or url.fragment
    if url.scheme not in ("http", "https") or not url.hostname or not port_fits or extra:
        raise place.error(f"cannot be {value!r}", wanted)
    return value.rstrip("/")


def prefix(place: Place) -> str:
    """Prefix of all keys: empty, or components with one slash after each."""
    value = any_text(place).strip("/")
    if any(part in ("", ".", "..") for part in value.split("/")) and value:
        raise place.error(f"cannot be {value!r}", "Write it like backups/nas/, without empty parts, `.` and `..`")
    return f"{value}/" if value else ""


def bucket_owner(place: Place) -> str:
    """Number of an AWS account, or nothing."""
    value: Any = place.node.value
    if place.kind not in ("str", "int", "float") or (value and not re.fullmatch(r"[0-9]{12}", value)):
        raise place.error("is not the number of an AWS account", "Write its 12 digits, in quotes")
    return str(value)


storage_class = choice(*STORAGE_CLASSES)


def manifest_class(place: Place) -> str:
    """Storage class of manifests."""
    value = storage_class(place)
    if value in ARCHIVE_CLASSES:
        raise place.error(
            f"cannot be {value}: whoever wants to restore must read the manifests first, and that class takes hours",
            "Take STANDARD; manifests are small",
        )
    return value
