# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real ZFS: ``protocol.Zfs`` by way of the commands ``zfs`` and ``zpool``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from ..errors import EngineError, ReceiveFailed, SendFailed, UsageError, ZfsDenied, ZfsUnable
from ..values.zfs import (
    Bookmark,
    Capabilities,
    Dataset,
    DatasetType,
    Inventory,
    Pool,
    ResumePoint,
    Snapshot,
    SnapshotFacts,
)
from .capabilities import probe_capabilities
from .child_processes import Ended, ReceiveChild, SendChild
from .names import (
    check_any_name,
    check_base_name,
    check_bookmark_name,
    check_dataset_name,
    check_hold_tag,
    check_pool_name,
    check_property_name,
    check_snapshot_name,
)
from .protected_receive import check_new_target, protect, receive_options
from .reading import (
    list_descendants,
    read_dataset,
    read_described,
    read_inventory,
    read_local_properties,
    read_pool,
    read_properties,
    read_snapshots,
)
from .resume_token import parse_token
from .send_estimate import read_changed_bytes
from .short_commands import ShortCommands
from .snapshotting import take_snapshots
from .zfs_errors import allow_command, says_gone, says_in_use, zfs_failure

_ESTIMATE: Final = re.compile(r"^size\s+(\d+)$", re.MULTILINE)


class RealZfs:
    """The ZFS of this machine. Implements ``protocol.Zfs``."""

    def __init__(self, commands: ShortCommands | None = None) -> None:
        self._commands = commands or ShortCommands()

    @cached_property
    def capabilities(self) -> Capabilities:
        """See the protocol. Raises ``ZfsMissing``."""
        return probe_capabilities(self._commands)

    def pool(self, name: str) -> Pool:
        """See the protocol."""
        return read_pool(self._commands, check_pool_name(name))

    def dataset(self, name: str) -> Dataset:
        """See the protocol."""
        return read_dataset(self._commands, check_dataset_name(name), self.capabilities)

    def inventory(self, dataset: str, *, recursive: bool = False) -> list[Inventory]:
        """See the protocol."""
        return read_inventory(self._commands, check_dataset_name(dataset), self.capabilities, recursive=recursive)

    def exists(self, name: str) -> bool:
        """See the protocol."""
        check_any_name(name)
        if "#" in name and not self.capabilities.bookmarks:
            return False
        ended = self._commands.ask("zfs", "get", "-H", "-p", "-o", "value", "type", name)
        if ended.status and not says_gone(ended.stderr):
            raise zfs_failure(ended, problem=f"Cannot tell whether {name} exists", subject=name)
        return ended.status == 0

    def descendants(self, dataset: str) -> list[str]:
        """See the protocol."""
        return list_descendants(self._commands, check_dataset_name(dataset))

    def snapshots(self, dataset: str) -> list[Snapshot]:
        """See the protocol."""
        return list(self.inventory(dataset)[0].snapshots)

    def bookmarks(self, dataset: str) -> list[Bookmark]:
        """See the protocol."""
        return list(self.inventory(dataset)[0].bookmarks)

    def described(self, snapshots: Sequence[str]) -> dict[str, SnapshotFacts]:
        """See the protocol."""
        return read_described(self._commands, [check_snapshot_name(name) for name in snapshots])

    def local_properties(self, dataset: str) -> dict[str, str]:
        """See the protocol."""
        return read_local_properties(self._commands, check_dataset_name(dataset))

    def take_snapshots(self, names: Sequence[str]) -> None:
        """See the protocol."""
        for name in names:
            check_snapshot_name(name)
        take_snapshots(self._commands, self.capabilities, names)

    def create_snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        """See the protocol."""
        self.take_snapshots(names)
        return read_snapshots(self._commands, names, more=["written"] if self.capabilities.bookmarks else [])

    def hold(self, snapshot: str, tag: str) -> None:
        """See the protocol."""
        self.hold_all([snapshot], tag)

    def hold_all(self, snapshots: Sequence[str], tag: str) -> None:
        """See the protocol."""
        names = [check_snapshot_name(name) for name in snapshots]
        ended = self._commands.ask("zfs", "hold", check_hold_tag(tag), *names)
        complaints = ended.stderr.splitlines() or [""]
        if ended.status and not all("tag already exists" in complaint for complaint in complaints):
            problem = f"Cannot hold {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
            raise self._commands.failure(ended, problem=problem, subject=names[0])

    def release(self, snapshot: str, tag: str) -> bool:
        """See the protocol."""
        problem = f"Cannot release the hold {check_hold_tag(tag)} of {check_snapshot_name(snapshot)}"
        ended = self._commands.ask("zfs", "release", tag, snapshot)
        if ended.status and "no such tag" not in ended.stderr:
            raise self._commands.failure(ended, problem=problem, subject=snapshot)
        return ended.status == 0

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """See the protocol."""
        check_snapshot_name(snapshot)
        check_bookmark_name(bookmark)
        problem = f"Cannot create the bookmark {bookmark}"
        if not self.capabilities.bookmarks:
            raise ZfsUnable(
                f"{problem}: this ZFS ({self.capabilities.version}) has no bookmarks",
                next_step="Keep the snapshot held instead",
                subject=bookmark,
            )
        ended = self._commands.ask("zfs", "bookmark", snapshot, bookmark)
        if not ended.status or (self.exists(bookmark) and self._guid(bookmark) == self._guid(snapshot)):
            return
        raise self._commands.failure(ended, problem=problem, subject=snapshot)

    def estimate_bytes(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        """See the protocol."""
        arguments = self._send_arguments(snapshot, base, flags)
        if not self.capabilities.send_estimate:
            return None
        ended = self._commands.ask("zfs", "send", "-nP", *arguments)
        if ended.status:
            raise self._commands.failure(ended, problem=f"Cannot estimate the stream of {snapshot}", subject=snapshot)
        found = _ESTIMATE.search(ended.stdout) or _ESTIMATE.search(ended.stderr)
        return int(found.group(1)) if found else None

    def changed_bytes(self, name: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        """See the protocol."""
        check_any_name(name)
        if base and not self.capabilities.bookmarks:  # nor the property written, which is as old
            return None
        return read_changed_bytes(self._commands, name, base=base and check_base_name(base), flags=flags)

    def send(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> SendChild:
        """See the protocol."""
        arguments = self._send_arguments(snapshot, base, flags)

        def failure(ended: Ended) -> EngineError:
            return zfs_failure(
                ended,
                problem=f"zfs send of {snapshot} failed",
                subject=snapshot,
                otherwise=SendFailed,
                always=True,
                next_step="Check `zpool status` and that the snapshot still exists, then run the same again",
            )

        return SendChild(["zfs", "send", *arguments], failure=failure)

    def receive(
        self, target: str, *, type: DatasetType, first: bool, token: str = "", resumes: bool = False
    ) -> ReceiveChild:
        """See the protocol."""
        check_dataset_name(target)
        if first and not resumes:
            check_new_target(
                self._commands, target, kind=type, capabilities=self.capabilities, exists=self.exists(target)
            )

        def failure(ended: Ended) -> EngineError:
            return zfs_failure(
                ended,
                problem=f"zfs receive into {target} failed",
                subject=target,
                otherwise=ReceiveFailed,
                always=True,
                next_step="Earlier links are kept; check `zpool status`, then repeat this restore with --continue",
            )

        resumable = self._keeps_what_is_cut_off(target)
        options = receive_options(self.capabilities, kind=type, first=first, token=token, resumable=resumable)
        # Of all that can be asked, a missing -u is what tells zfs-fuse, whose daemon reads the stream.
        in_daemon = not self.capabilities.receive_unmounted
        return ReceiveChild(["zfs", "receive", *options, target], failure=failure, outlives_kill=in_daemon)

    def resume_point(self, dataset: str) -> ResumePoint | None:
        """See the protocol."""
        check_dataset_name(dataset)
        if not self.capabilities.receive_resumable:
            return None
        token = read_properties(self._commands, dataset, "receive_resume_token").get("receive_resume_token", "-")
        return None if token in ("", "-") else parse_token(token, subject=dataset)

    def abort_receive(self, dataset: str) -> None:
        """See the protocol."""
        problem = f"Cannot give up what was received of a stream into {check_dataset_name(dataset)}"
        self._commands.run("zfs", "receive", "-A", dataset, problem=problem, subject=dataset)

    def protect_received(self, target: str, *, type: DatasetType) -> None:
        """See the protocol."""
        protect(self._commands, check_dataset_name(target), kind=type)

    def set_properties(self, dataset: str, properties: dict[str, str]) -> None:
        """See the protocol."""
        check_dataset_name(dataset)
        for name, value in properties.items():
            problem = f"Cannot set {check_property_name(name)} of {dataset}"
            self._commands.run("zfs", "set", f"{name}={value}", dataset, problem=problem, subject=dataset)

    def inherit_property(self, dataset: str, name: str) -> None:
        """See the protocol."""
        problem = f"Cannot reset {check_property_name(name)} of {check_dataset_name(dataset)}"
        self._commands.run("zfs", "inherit", name, dataset, problem=problem, subject=dataset)

    def destroy_snapshot(self, snapshot: str) -> bool:
        """See the protocol."""
        problem = f"Cannot destroy {check_snapshot_name(snapshot)}"
        ended = self._commands.ask("zfs", "destroy", snapshot)
        if ended.status and not says_gone(ended.stderr):
            if says_in_use(ended.stderr):
                return False
            error = self._commands.failure(ended, problem=problem, subject=snapshot)
            if isinstance(error, ZfsDenied):
                error.next_step = f"Let root run `{allow_command('destroy,mount', snapshot)}`"
            raise error
        return True

    def destroy_dataset(self, dataset: str) -> None:
        """See the protocol."""
        problem = f"Cannot destroy {check_dataset_name(dataset)}"
        self._commands.run("zfs", "destroy", dataset, problem=problem, subject=dataset)

    def _keeps_what_is_cut_off(self, target: str) -> bool:
        """Whether ``zfs receive -s`` works there: a pool that is older than it refuses the option."""
        if not self.capabilities.receive_resumable:
            return False
        feature = "feature@extensible_dataset"
        ended = self._commands.ask("zpool", "get", "-H", "-o", "value", feature, target.partition("/")[0])
        return ended.status == 0 and ended.stdout.strip() in ("enabled", "active")

    def _guid(self, name: str) -> str:
        problem = f"Cannot read {name}"
        return self._commands.run("zfs", "get", "-H", "-p", "-o", "value", "guid", name, problem=problem, subject=name)

    def _send_arguments(self, snapshot: str, base: str | None, flags: Sequence[str]) -> list[str]:
        check_snapshot_name(snapshot)
        check_send_flags(flags, self.capabilities)
        return [*flags, *(["-i", check_base_name(base)] if base else []), snapshot]


def check_send_flags(flags: Sequence[str], capabilities: Capabilities) -> None:
    possible = {
        "-L": capabilities.send_large_blocks,
        "-c": capabilities.send_compressed,
        "-w": capabilities.send_raw,
    }
    for flag in flags:
        if flag not in possible:
            raise UsageError(
                f"{flag!r} is not a flag of zfs send that a backup may use",
                next_step=f"Use some of {' '.join(possible)}, or none",
                subject=flag,
            )
        if not possible[flag]:
            raise ZfsUnable(
                f"This ZFS ({capabilities.version}) has no `zfs send {flag}`",
                next_step="Start a new chain with level 0: the flags of a chain never change",
                subject=flag,
            )
