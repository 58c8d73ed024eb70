# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine needs from ZFS. ``real_zfs.py`` implements it for real; tests share one fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

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


class SendProcess(Protocol):
    """A running ``zfs send``, alone in its process group."""

    def fileno(self) -> int:
        """The file descriptor to read the stream from. The process owns it."""

    def wait(self) -> None:
        """Wait for the command after the stream was read to its end. Raises ``SendFailed`` with stderr, status and
        snapshot if the status is not 0."""

    def kill(self) -> None:
        """Kill the process group if it still runs, and reap it. Never raises."""


class ReceiveProcess(Protocol):
    """A running ``zfs receive``, alone in its process group."""

    def fileno(self) -> int:
        """The file descriptor to write the stream to. Writing raises ``BrokenPipeError`` if receive gave up."""

    def finish(self) -> None:
        """Close the pipe and wait. Raises ``ReceiveFailed`` with the stderr if the status is not 0."""

    def kill(self) -> None:
        """Kill it *before* closing the pipe, so that a stream cut short is never committed. Never raises."""


class Zfs(Protocol):
    """One machine's ZFS. Names are full names; every method raises typed errors of ``errors`` only."""

    @property
    def capabilities(self) -> Capabilities:
        """What this ZFS can do; probed once."""

    def pool(self, name: str) -> Pool:
        """The imported pool. Raises ``NoSuchPool``."""

    def dataset(self, name: str) -> Dataset:
        """The filesystem or volume. Raises ``NoSuchPool`` or ``NoSuchDataset``."""

    def inventory(self, dataset: str, *, recursive: bool = False) -> list[Inventory]:
        """The dataset with its snapshots and bookmarks, and if ``recursive``, all datasets below it, in one command."""

    def exists(self, name: str) -> bool:
        """Whether a dataset, snapshot or bookmark of this name exists."""

    def descendants(self, dataset: str) -> list[str]:
        """Names of ``dataset`` and of all filesystems and volumes below it, parents first."""

    def snapshots(self, dataset: str) -> list[Snapshot]:
        """Snapshots of this dataset alone, oldest (lowest createtxg) first."""

    def bookmarks(self, dataset: str) -> list[Bookmark]:
        """Bookmarks of this dataset alone, oldest first; empty if this ZFS has none."""

    def described(self, snapshots: Sequence[str]) -> dict[str, SnapshotFacts]:
        """Snapshots by name, each with the :meth:`local_properties` of its dataset, in one command."""

    def local_properties(self, dataset: str) -> dict[str, str]:
        """Properties set or received on the dataset itself, user properties too, in parseable form."""

    def take_snapshots(self, names: Sequence[str]) -> None:
        """Take snapshots of several datasets of one pool at one instant, or take none."""

    def create_snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        """Take snapshots as :meth:`take_snapshots`, and read them."""

    def hold(self, snapshot: str, tag: str) -> None:
        """Hold a snapshot. It is not an error if it has the tag already."""

    def hold_all(self, snapshots: Sequence[str], tag: str) -> None:
        """Hold several snapshots in one command. If it raises, some may be held."""

    def release(self, snapshot: str, tag: str) -> bool:
        """Release a hold, and return whether it existed."""

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        """Create ``bookmark`` (full name with ``#``) of ``snapshot``. It is not an error if it exists already."""

    def estimate_bytes(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        """Size of the stream that :meth:`send` would give, if this ZFS can tell."""

    def changed_bytes(self, name: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        """Estimate the size of a stream of ``name`` from properties alone, so ``name`` may be a dataset whose snapshot
        is not taken yet. ``None`` if this ZFS cannot tell."""

    def send(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> SendProcess:
        """Start ``zfs send``; ``base`` is a snapshot's or bookmark's full name."""

    def receive(
        self, target: str, *, type: DatasetType, first: bool, token: str = "", resumes: bool = False
    ) -> ReceiveProcess:
        """Start ``zfs receive`` into ``target``, without ``-F``. It mounts and shares nothing. ``first`` says that this
        stream creates the dataset. If this ZFS can, it then sets the user property ``zrb:received-by`` to ``token`` in
        the same moment. If it can resume, it keeps what it has of a stream that is cut off; ``resumes`` says that this
        is the rest of one."""

    def resume_point(self, dataset: str) -> ResumePoint | None:
        """Where a receive into ``dataset`` that was cut off stands, if there is one."""

    def abort_receive(self, dataset: str) -> None:
        """``zfs receive -A``: give up what was received of a stream that was cut off."""

    def protect_received(self, target: str, *, type: DatasetType) -> None:
        """Protect ``target`` after a link was received, also on a ZFS without ``receive -u`` and ``-o``: it is not
        mounted, access times do not change it, and it is ready for the next incremental."""

    def set_properties(self, dataset: str, properties: dict[str, str]) -> None:
        """``zfs set``."""

    def inherit_property(self, dataset: str, name: str) -> None:
        """``zfs inherit``: remove the local value, such as ``readonly`` once a restore is complete."""

    def destroy_snapshot(self, snapshot: str) -> bool:
        """``zfs destroy``, without ``-r``, ``-R`` and ``-d``, of a snapshot. Return whether it is gone: a hold, a clone
        or a running send keeps it. Raises ``ZfsDenied`` if this user may not destroy."""

    def destroy_dataset(self, dataset: str) -> None:
        """``zfs destroy``, without ``-r`` and ``-f``, of a dataset that a failed restore created itself."""
