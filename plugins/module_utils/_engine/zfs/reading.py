# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads datasets, snapshots and bookmarks with ``zfs get -H -p``, the one output that every ZFS prints alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..errors import UsageError
from ..values.zfs import Bookmark, Capabilities, Dataset, Pool, Snapshot
from .command_line import CommandLine, not_understood

_POINT_PROPERTIES: Final = "type,guid,createtxg,creation,userrefs"
_NUMBERS: Final = ("guid", "createtxg", "creation", "userrefs")


def read_pool(line: CommandLine, name: str) -> Pool:
    """The imported pool."""
    output = line.run("zpool", "list", "-H", "-o", "name,guid", name, problem=f"Cannot read pool {name}", subject=name)
    facts = output.rstrip("\n").split("\t")
    if len(facts) != 2 or facts[0] != name or not facts[1].isdecimal():
        raise not_understood(output, problem=f"Cannot read pool {name}", subject=name)
    return Pool(*facts)


def read_dataset(line: CommandLine, name: str, capabilities: Capabilities) -> Dataset:
    """The filesystem or volume."""
    properties = "type,guid,encryption" if capabilities.encryption else "type,guid"
    facts = read_properties(line, name, properties)
    if missing := {"type", "guid"} - set(facts):
        raise not_understood(f"no {', '.join(sorted(missing))}", problem=f"Cannot read {name}", subject=name)
    kind = facts["type"]
    if kind not in ("filesystem", "volume"):
        raise UsageError(f"{name} is a {kind}", next_step="Name a filesystem or volume", subject=name)
    return Dataset(
        name=name,
        guid=facts["guid"],
        type="volume" if kind == "volume" else "filesystem",
        encrypted=facts.get("encryption", "off") not in ("off", "-"),
    )


def read_properties(line: CommandLine, name: str, properties: str) -> dict[str, str]:
    """Values of some properties whose values have no newline."""
    rows = line.rows(
        "get", "-H", "-p", "-o", "property,value", properties, name, problem=f"Cannot read {name}", subject=name
    )
    return {row[0]: row[1] for row in rows}


def read_snapshots(line: CommandLine, names: Sequence[str]) -> list[Snapshot]:
    """Snapshots by name, in the order of the names."""
    facts = _points(line, list(names), options=(), subject=names[0])
    if missing := [name for name in names if name not in facts]:
        raise not_understood(f"nothing of {missing[0]}", problem=f"Cannot read {missing[0]}", subject=missing[0])
    return [_snapshot(name, facts[name]) for name in names]


def list_snapshots(line: CommandLine, dataset: str, capabilities: Capabilities) -> list[Snapshot]:
    """Snapshots of the dataset alone, oldest first."""
    # zfs-fuse has no -t for get; whoever knows bookmarks has it.
    options = ("-d", "1", "-t", "snapshot") if capabilities.bookmarks else ("-r", "-d", "1")
    facts = _points(line, [dataset], options=options, subject=dataset)
    found = [_snapshot(name, each) for name, each in facts.items() if each["type"] == "snapshot"]
    _check_owner([snapshot.name for snapshot in found], f"{dataset}@")
    return sorted(found, key=lambda snapshot: snapshot.createtxg)


def list_bookmarks(line: CommandLine, dataset: str, capabilities: Capabilities) -> list[Bookmark]:
    """Bookmarks of the dataset alone, oldest first."""
    if not capabilities.bookmarks:
        return []
    facts = _points(line, [dataset], options=("-d", "1", "-t", "bookmark"), subject=dataset)
    found = [_bookmark(name, each) for name, each in facts.items() if each["type"] == "bookmark"]
    _check_owner([bookmark.name for bookmark in found], f"{dataset}#")
    return sorted(found, key=lambda bookmark: bookmark.createtxg)


def _check_owner(names: Sequence[str], beginning: str) -> None:
    for name in names:
        if not name.startswith(beginning):
            raise not_understood(name, problem=f"Cannot list {beginning}…", subject=beginning[:-1])


def list_descendants(line: CommandLine, dataset: str) -> list[str]:
    """Names of the dataset and all filesystems and volumes below it, parents first."""
    rows = line.rows(
        "list", "-H", "-r", "-o", "name", "-t", "filesystem,volume", dataset,
        problem=f"Cannot list what is below {dataset}",
        subject=dataset,
    )  # fmt: skip
    for (name,) in rows:
        if name != dataset and not name.startswith(f"{dataset}/"):
            raise not_understood(name, problem=f"Cannot list what is below {dataset}", subject=dataset)
    return [name for (name,) in rows]


def read_local_properties(line: CommandLine, dataset: str) -> dict[str, str]:
    """Properties set or received on the dataset itself."""
    problem = f"Cannot read the properties of {dataset}"
    rows = line.rows(
        "get", "-H", "-p", "-s", "local,received", "-o", "property", "all", dataset, problem=problem, subject=dataset
    )
    names = [row[0] for row in rows]
    if not names:
        return {}
    output = _values(line, dataset, ",".join(names), problem)
    values = output.removesuffix("\n").split("\n")
    if len(values) != len(names):
        # A value has a newline in it: it must not pass for the values of other properties.
        values = [_values(line, dataset, name, problem).removesuffix("\n") for name in names]
    return dict(zip(names, values, strict=True))


def _values(line: CommandLine, dataset: str, properties: str, problem: str) -> str:
    return line.run("zfs", "get", "-H", "-p", "-o", "value", properties, dataset, problem=problem, subject=dataset)


def _points(
    line: CommandLine, names: Sequence[str], *, options: Sequence[str], subject: str
) -> dict[str, dict[str, str]]:
    facts: dict[str, dict[str, str]] = {}
    rows = line.rows(
        "get", "-H", "-p", *options, "-o", "name,property,value", _POINT_PROPERTIES, *names,
        problem=f"Cannot read {subject}",
        subject=subject,
    )  # fmt: skip
    for name, key, value in rows:
        facts.setdefault(name, {})[key] = value
    for name, known in facts.items():
        numbers = [known.get(key, "") for key in _NUMBERS if key != "userrefs" or known.get("type") == "snapshot"]
        if known.get("type") in {"snapshot", "bookmark"} and not all(number.isdecimal() for number in numbers):
            raise not_understood(f"{name}: {known}", problem=f"Cannot read {subject}", subject=subject)
    return facts


def _snapshot(name: str, facts: dict[str, str]) -> Snapshot:
    return Snapshot(
        name=name,
        guid=facts["guid"],
        createtxg=int(facts["createtxg"]),
        creation=_time(facts["creation"]),
        user_holds=int(facts["userrefs"]),
    )


def _bookmark(name: str, facts: dict[str, str]) -> Bookmark:
    return Bookmark(name=name, guid=facts["guid"], createtxg=int(facts["createtxg"]), creation=_time(facts["creation"]))


def _time(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
