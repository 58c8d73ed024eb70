# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Takes snapshots of one or several datasets at one instant."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ZfsUnable
from ..values.zfs import Capabilities
from .names import TAKEN_AS, taken_as
from .reading import list_descendants
from .short_commands import ShortCommands
from .zfs_errors import allow_command, missing_object, says_denied


def take_snapshots(commands: ShortCommands, capabilities: Capabilities, names: Sequence[str]) -> None:
    """Take all these snapshots in one transaction group, or take none. They are marked as ours, unless their names
    differ in more than the level, or this user may not mark them."""
    _check_one_pool(names)
    problem = f"Cannot take the snapshot {names[0]}" if len(names) == 1 else f"Cannot take {len(names)} snapshots"
    if len(names) == 1 or capabilities.multiple_snapshots:
        _snapshot(commands, names, names, problem)
    else:
        _take_recursively(commands, names, problem)


def _take_recursively(commands: ShortCommands, names: Sequence[str], problem: str) -> None:
    """For a ZFS whose ``zfs snapshot`` takes one name: ``-r`` is atomic, so use it on the common ancestor, and destroy
    the surplus snapshots. It fails as a whole if any of these names exists, so all of them are ours."""
    short_names = {name.partition("@")[2] for name in names}
    if len(short_names) > 1:
        raise ZfsUnable(
            f"{problem} at one instant: this ZFS needs one name for all, not {', '.join(sorted(short_names))}",
            next_step="Give all the snapshots the same name after the @",
            subject=names[0],
        )
    short_name = short_names.pop()
    wanted = {name.partition("@")[0] for name in names}
    ancestor = common_ancestor(sorted(wanted))
    for dataset in sorted(wanted - set(list_descendants(commands, ancestor))):
        raise missing_object(dataset, problem, answer="", pool_exists=commands.pool_exists)
    _snapshot(commands, ["-r", f"{ancestor}@{short_name}"], names, problem)
    rows = commands.rows(
        "list", "-H", "-r", "-o", "name", "-t", "snapshot", ancestor, problem=problem, subject=ancestor
    )  # fmt: skip
    for (name,) in rows:
        dataset, _at, taken = name.partition("@")
        if taken == short_name and dataset not in wanted:
            commands.run("zfs", "destroy", name, problem=f"Cannot remove the surplus snapshot {name}", subject=name)


def _snapshot(commands: ShortCommands, arguments: Sequence[str], names: Sequence[str], problem: str) -> None:
    marks = {taken_as(name.partition("@")[2]) for name in names}
    options = ["-o", f"{TAKEN_AS}={marks.pop()}"] if len(marks) == 1 else []
    ended = commands.ask("zfs", "snapshot", *options, *arguments)
    if ended.status and options and says_denied(ended.stderr):
        # The mark needs a right of its own, and a backup without it is better than none.
        ended = commands.ask("zfs", "snapshot", *arguments)
    if ended.status:
        datasets = [name.partition("@")[0] for name in names]
        named = (each for each in datasets if f"'{each}'" in ended.stderr or f"'{each}@" in ended.stderr)
        raise commands.failure(ended, problem=problem, subject=next(named, datasets[0]))


def unmarked(snapshot: str) -> str:
    """What the owner must know of a snapshot that was taken without a mark."""
    return (
        f"{snapshot} could not be marked as taken by zrb, so no later backup destroys it. Let root run "
        f"`{allow_command('userprop', snapshot)}`, or keep all such snapshots, with `keep_snapshots: all`."
    )


def common_ancestor(datasets: Sequence[str]) -> str:
    """The deepest dataset that is, or is above, each of these datasets of one pool."""
    shared: list[str] = []
    for components in zip(*(dataset.split("/") for dataset in datasets), strict=False):
        if len(set(components)) > 1:
            break
        shared.append(components[0])
    return "/".join(shared)


def _check_one_pool(names: Sequence[str]) -> None:
    pools = {name.partition("@")[0].partition("/")[0] for name in names}
    if len(pools) != 1:
        raise ZfsUnable(
            f"Snapshots at one instant must be in one pool, not in {', '.join(sorted(pools)) or 'none'}",
            next_step="Make one task for each pool",
            subject=names[0] if names else "",
        )
