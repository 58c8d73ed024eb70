# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Receives into a dataset that nothing mounts, shares or changes.

A filesystem is received with ``canmount=noauto``, ``mountpoint=none``, ``readonly=on``, ``sharenfs=off`` and
``sharesmb=off``, a volume with ``readonly=on``: so no path of the machine is covered, nothing is shared as the parent
may be, and no access time makes the target differ from the snapshot that the next incremental starts from. They stay
after the last link: it is the caller's to say which mountpoint the dataset should have, and to inherit or set
``readonly`` then.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import NoSuchDataset, TargetExists, ZfsUnable
from ..values.zfs import Capabilities, DatasetType
from .reading import read_properties
from .short_commands import ShortCommands

AT_REST: Final[dict[DatasetType, dict[str, str]]] = {
    "filesystem": {
        "canmount": "noauto",
        "mountpoint": "none",
        "readonly": "on",
        "sharenfs": "off",  # else its parent's would share it as soon as somebody mounts it
        "sharesmb": "off",
    },
    "volume": {"readonly": "on"},
}
"""Local properties of a target between links and after the last."""


RECEIVED_BY: Final = "zrb:received-by"
"""The user property with the token of the run that received a dataset."""


def receive_options(
    capabilities: Capabilities, *, kind: DatasetType, first: bool, token: str = "", resumable: bool = False
) -> list[str]:
    """Options of ``zfs receive``. What the first link sets is local to the target, so later links keep it."""
    options = ["-s"] if resumable else []
    options += ["-u"] if capabilities.receive_unmounted else []
    if capabilities.receive_properties:
        settings = AT_REST[kind] | ({RECEIVED_BY: token} if token else {}) if first else {}
        for name, value in settings.items():
            options += ["-o", f"{name}={value}"]
    return options


def check_new_target(
    commands: ShortCommands, target: str, *, kind: DatasetType, capabilities: Capabilities, exists: bool
) -> None:
    """Refuse a target that the first link of a chain cannot create, or that would cover files of the machine."""
    if exists:
        raise TargetExists(
            f"{target} exists already, and a restore never overwrites a dataset",
            next_step="Choose a target that does not exist, or rename the dataset with `zfs rename` first",
            subject=target,
        )
    parent = target.rpartition("/")[0]
    if not parent:
        raise NoSuchDataset(
            f"{target} names a pool; a stream is received into a new dataset of a pool",
            next_step=f"Name a dataset that does not exist in a pool that does, as in {target}/restored",
            subject=target,
        )
    try:
        mountpoint = read_properties(commands, parent, "mountpoint").get("mountpoint", "none")
    except NoSuchDataset as failure:
        raise NoSuchDataset(
            f"{target} cannot be received: its parent {parent} does not exist",
            next_step=f"Create it with `zfs create -p {parent}`, or choose another target",
            subject=parent,
        ) from failure
    if kind == "filesystem" and not (capabilities.receive_unmounted and capabilities.receive_properties):
        _check_mountpoint(target, parent, mountpoint)


def _check_mountpoint(target: str, parent: str, mountpoint: str) -> None:
    """This ZFS mounts what it receives at once: only where nothing is covered by it."""
    if not mountpoint.startswith("/"):
        return
    covered = Path(mountpoint, target.rpartition("/")[2])
    if covered.is_symlink() or (covered.exists() and not covered.is_dir()) or _has_entries(covered):
        raise ZfsUnable(
            f"This ZFS mounts what it receives at once, and {target} would cover {covered}, which is not empty",
            next_step=f"Receive below a dataset that is not mounted: `zfs create -o mountpoint=none {parent}/restore`",
            subject=target,
        )


def _has_entries(directory: Path) -> bool:
    return directory.is_dir() and any(directory.iterdir())


def protect(commands: ShortCommands, target: str, *, kind: DatasetType) -> None:
    """Unmount the target and set what :func:`receive_options` could not."""
    problem = f"Cannot make {target} ready for the next link"
    wanted = AT_REST[kind]
    if kind == "filesystem" and read_properties(commands, target, "mounted")["mounted"] == "yes":
        commands.run("zfs", "unmount", target, problem=problem, subject=target)
    found = _local_values(commands, target, list(wanted), problem)
    for name, value in wanted.items():
        if found.get(name) != value:
            commands.run("zfs", "set", f"{name}={value}", target, problem=problem, subject=target)


def _local_values(commands: ShortCommands, target: str, names: Sequence[str], problem: str) -> dict[str, str]:
    rows = commands.rows(
        "get", "-H", "-p", "-s", "local", "-o", "property,value", ",".join(names), target,
        problem=problem,
        subject=target,
    )  # fmt: skip
    return {row[0]: row[1] for row in rows}
