# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads datasets, snapshots and bookmarks with ``zfs get -H -p``, whose output is the same in every ZFS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ..errors import UsageError
from ..values.zfs import Bookmark, Capabilities, Dataset, Inventory, Pool, Snapshot, SnapshotFacts
from .names import TAKEN_AS, taken_as
from .short_commands import ShortCommands, not_understood

_POINT_PROPERTIES: Final = f"type,guid,createtxg,creation,userrefs,{TAKEN_AS}"
_NUMBERS: Final = ("guid", "createtxg", "creation", "userrefs")


def read_pool(commands: ShortCommands, name: str) -> Pool:
    """The imported pool."""
    output = commands.run(
        "zpool", "list", "-H", "-o", "name,guid", name, problem=f"Cannot read pool {name}", subject=name
    )
    facts = output.rstrip("\n").split("\t")
    if len(facts) != 2 or facts[0] != name or not facts[1].isdecimal():
        raise not_understood(output, problem=f"Cannot read pool {name}", subject=name)
    return Pool(*facts)


def read_dataset(commands: ShortCommands, name: str, capabilities: Capabilities) -> Dataset:
    """The filesystem or volume."""
    properties = "type,guid,encryption" if capabilities.encryption else "type,guid"
    facts = read_properties(commands, name, properties)
    return _dataset(name, facts)


def _dataset(name: str, facts: dict[str, str]) -> Dataset:
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


def read_properties(commands: ShortCommands, name: str, properties: str) -> dict[str, str]:
    """Read some properties. Their values must not have newlines."""
    rows = commands.rows(
        "get", "-H", "-p", "-o", "property,value", properties, name, problem=f"Cannot read {name}", subject=name
    )
    return {row[0]: row[1] for row in rows}


def read_snapshots(commands: ShortCommands, names: Sequence[str], *, more: Sequence[str] = ()) -> list[Snapshot]:
    """Snapshots by name, in the order of the names, with ``more`` properties than every ZFS has."""
    facts = _points(commands, list(names), options=(), subject=names[0], more=more)
    if missing := [name for name in names if name not in facts]:
        raise not_understood(f"nothing of {missing[0]}", problem=f"Cannot read {missing[0]}", subject=missing[0])
    return [_snapshot(name, facts[name]) for name in names]


def read_inventory(
    commands: ShortCommands, dataset: str, capabilities: Capabilities, *, recursive: bool
) -> list[Inventory]:
    """The dataset, and all below it if ``recursive``, each with its own snapshots and bookmarks."""
    # zfs-fuse has neither -t for get nor the property written. Every ZFS with bookmarks has both.
    options = [] if recursive else ["-d", "1"]
    options += ["-t", "filesystem,volume,snapshot,bookmark"] if capabilities.bookmarks else []
    properties = ["written"] if capabilities.bookmarks else []
    properties += ["encryption"] if capabilities.encryption else []
    facts = _points(commands, [dataset], options=("-r", *options), subject=dataset, more=properties)
    found: dict[str, tuple[Dataset, list[Snapshot], list[Bookmark]]] = {}
    for name, each in facts.items():
        owner = name.replace("#", "@").partition("@")[0]
        if owner != dataset and not owner.startswith(f"{dataset}/"):
            raise not_understood(name, problem=f"Cannot list the contents of {dataset}", subject=dataset)
        if owner == name:
            if recursive or name == dataset:
                found[name] = (_dataset(name, each), [], [])
        elif owner in found and each.get("type") == "snapshot":
            found[owner][1].append(_snapshot(name, each))
        elif owner in found and each.get("type") == "bookmark":
            found[owner][2].append(_bookmark(name, each))
    if dataset not in found:
        raise not_understood(f"nothing of {dataset}", problem=f"Cannot read {dataset}", subject=dataset)
    return [
        Inventory(
            each,
            tuple(sorted(snapshots, key=lambda snapshot: snapshot.createtxg)),
            tuple(sorted(bookmarks, key=lambda bookmark: bookmark.createtxg)),
        )
        for each, snapshots, bookmarks in found.values()
    ]


def list_descendants(commands: ShortCommands, dataset: str) -> list[str]:
    """Names of the dataset and all filesystems and volumes below it, parents first."""
    rows = commands.rows(
        "list", "-H", "-r", "-o", "name", "-t", "filesystem,volume", dataset,
        problem=f"Cannot list the datasets below {dataset}",
        subject=dataset,
    )  # fmt: skip
    for (name,) in rows:
        if name != dataset and not name.startswith(f"{dataset}/"):
            raise not_understood(name, problem=f"Cannot list the datasets below {dataset}", subject=dataset)
    return [name for (name,) in rows]


def read_described(commands: ShortCommands, names: Sequence[str]) -> dict[str, SnapshotFacts]:
    """Snapshots by name, with the local properties of their datasets."""
    datasets = [name.partition("@")[0] for name in names]
    facts = _all_properties(commands, [*names, *datasets])
    if facts is None:
        properties = [read_local_properties(commands, dataset) for dataset in datasets]
    else:
        properties = [
            {key: value for key, (source, value) in facts[dataset].items() if source in {"local", "received"}}
            for dataset in datasets
        ]
    if facts is None or not all({*_NUMBERS} <= facts[name].keys() for name in names):
        snapshots = read_snapshots(commands, names)  # in zfs-fuse, "all" leaves out guid and createtxg
    else:
        points = {
            name: {key: value for key, (source, value) in facts[name].items() if key != TAKEN_AS or source == "local"}
            for name in names
        }
        _check_points(points, names[0])
        snapshots = [_snapshot(name, points[name]) for name in names]
    return {
        snapshot.name: SnapshotFacts(snapshot, local) for snapshot, local in zip(snapshots, properties, strict=True)
    }


def _all_properties(commands: ShortCommands, names: Sequence[str]) -> dict[str, dict[str, tuple[str, str]]] | None:
    """Source and value of every property, or ``None`` if a value may have a newline in it.

    Text after a newline can look like another property. But zfs prints every native property, so a forged one shows up
    twice. Forging a user property gains nothing: whoever can set one can set any of them.
    """
    printed = commands.run(
        "zfs", "get", "-H", "-p", "-o", "name,property,source,value", "all", *names,
        problem=f"Cannot read {names[0]}",
        subject=names[0],
    )  # fmt: skip
    facts: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in names}
    for row in printed.removesuffix("\n").split("\n"):
        columns = row.split("\t", 3)
        if len(columns) < 4 or columns[0] not in facts or columns[1] in facts[columns[0]]:
            return None
        facts[columns[0]][columns[1]] = (columns[2], columns[3])
    return facts


def read_local_properties(commands: ShortCommands, dataset: str) -> dict[str, str]:
    """Properties set or received on the dataset itself."""
    problem = f"Cannot read the properties of {dataset}"
    rows = commands.rows(
        "get", "-H", "-p", "-s", "local,received", "-o", "property", "all", dataset, problem=problem, subject=dataset
    )
    names = [row[0] for row in rows]
    if not names:
        return {}
    output = _values(commands, dataset, ",".join(names), problem)
    values = output.removesuffix("\n").split("\n")
    if len(values) != len(names):
        # A value has a newline, and the text after it must not pass for another property.
        values = [_values(commands, dataset, name, problem).removesuffix("\n") for name in names]
    return dict(zip(names, values, strict=True))


def _values(commands: ShortCommands, dataset: str, properties: str, problem: str) -> str:
    return commands.run("zfs", "get", "-H", "-p", "-o", "value", properties, dataset, problem=problem, subject=dataset)


def _points(
    commands: ShortCommands, names: Sequence[str], *, options: Sequence[str], subject: str, more: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    facts: dict[str, dict[str, str]] = {}
    rows = commands.rows(
        "get", "-H", "-p", *options, "-o", "name,property,value,source", ",".join([_POINT_PROPERTIES, *more]), *names,
        problem=f"Cannot read {subject}",
        subject=subject,
    )  # fmt: skip
    seen: set[tuple[str, str]] = set()
    for name, key, value, source in rows:
        if (name, key) in seen:  # a value with a newline can look like other properties
            raise not_understood(f"{name}: {key} twice", problem=f"Cannot read {subject}", subject=subject)
        seen.add((name, key))
        if key != TAKEN_AS or source == "local":  # what a dataset passes on says nothing about its snapshots
            facts.setdefault(name, {})[key] = value
    _check_points(facts, subject)
    return facts


def _check_points(facts: Mapping[str, dict[str, str]], subject: str) -> None:
    for name, known in facts.items():
        numbers = [known.get(key, "") for key in _NUMBERS if key != "userrefs" or known.get("type") == "snapshot"]
        if known.get("type") in {"snapshot", "bookmark"} and not all(number.isdecimal() for number in numbers):
            raise not_understood(f"{name}: {known}", problem=f"Cannot read {subject}", subject=subject)


def _snapshot(name: str, facts: dict[str, str]) -> Snapshot:
    return Snapshot(
        name=name,
        guid=facts["guid"],
        createtxg=int(facts["createtxg"]),
        creation=_time(facts["creation"]),
        user_holds=int(facts["userrefs"]),
        written=int(facts["written"]) if facts.get("written", "").isdecimal() else None,
        ours=facts.get(TAKEN_AS) == taken_as(name.partition("@")[2]),
    )


def _bookmark(name: str, facts: dict[str, str]) -> Bookmark:
    return Bookmark(name=name, guid=facts["guid"], createtxg=int(facts["createtxg"]), creation=_time(facts["creation"]))


def _time(seconds: str) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
