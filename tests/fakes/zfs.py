# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one fake of ``zfs.protocol.Zfs``: pools in memory. tests/integration/zfs/test_conformance.py holds it to
what the real one does.

The content of a dataset is one byte string, ``content[NAME]``, for a test to set and compare::

    zfs = FakeZfs()
    zfs.add_dataset("tank/a", content=b"one")
    snapshot = zfs.create_snapshots(["tank/a@first"])[0]
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

from zrb.errors import (
    EngineError,
    NoSuchDataset,
    NoSuchPool,
    NoSuchSnapshot,
    ReceiveFailed,
    SendFailed,
    TargetExists,
    ZfsError,
    ZfsUnable,
)
from zrb.values.zfs import (
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
from zrb.zfs import names as check
from zrb.zfs.child_processes import Ended
from zrb.zfs.protected_receive import AT_REST, RECEIVED_BY
from zrb.zfs.real_zfs import check_send_flags
from zrb.zfs.zfs_errors import zfs_failure

from tests.fakes.zfs_streams import (
    Arrived,
    FakeReceive,
    FakeSend,
    ReceiveFault,
    SendFault,
    arrive,
    make_stream,
)

OPENZFS = Capabilities(
    version="zfs-2.3.2-2",
    platform="Linux 6.12.48",
    send_large_blocks=True,
    send_compressed=True,
    send_raw=True,
    send_estimate=True,
    bookmarks=True,
    multiple_snapshots=True,
    receive_unmounted=True,
    receive_properties=True,
    receive_resumable=True,
    encryption=True,
)
ZFS_FUSE = Capabilities(
    version="pool version 23",
    platform="Linux 6.1.0",
    send_large_blocks=False,
    send_compressed=False,
    send_raw=False,
    send_estimate=False,
    bookmarks=False,
    multiple_snapshots=False,
    receive_unmounted=False,
    receive_properties=False,
    receive_resumable=False,
    encryption=False,
)


@dataclass
class _Dataset:
    value: Dataset
    properties: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


@dataclass
class _Snapshot:
    value: Snapshot
    content: bytes
    tags: set[str] = field(default_factory=set)
    taken_as: str | None = None
    in_use: bool = False


class FakeZfs:
    """Pools in memory, with faults on demand."""

    def __init__(self, *, capabilities: Capabilities = OPENZFS, seed: int = 1) -> None:
        self._capabilities = capabilities
        self._random = Random(seed)
        self._txg = 0
        self._pools: dict[str, Pool] = {}
        self._datasets: dict[str, _Dataset] = {}
        self._snapshots: dict[str, _Snapshot] = {}
        self._bookmarks: dict[str, Bookmark] = {}
        self._cut: dict[str, Arrived] = {}
        self._failures: dict[str, list[BaseException]] = {}
        self._sent = 0
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        """Time of the next snapshot; it moves on by a second with each."""
        self.reproducible = True
        """Whether a second send of a snapshot gives the same bytes."""
        self.referenced_bytes: int | None = 1000
        """What every dataset and snapshot says it refers to."""
        self.written_bytes: int | None = 1000
        self.may_mark = True
        """Whether this user may set user properties."""
        """What every snapshot says was new in it."""
        self.send_fault: SendFault | None = None
        self.receive_fault: ReceiveFault | None = None

    # --- for tests ---------------------------------------------------------------------------------------

    def add_dataset(
        self,
        name: str,
        *,
        type: DatasetType = "filesystem",
        encrypted: bool = False,
        properties: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> Dataset:
        """Make a dataset, its parents and its pool."""
        pool, *below = name.split("/")
        self._pools.setdefault(pool, Pool(pool, self._guid()))
        for depth in range(len(below)):
            self._add(Dataset("/".join([pool, *below[:depth]]), self._guid(), "filesystem"))
        self._datasets.pop(name, None)
        self._add(Dataset(name, self._guid(), type, encrypted))
        self._datasets[name].properties.update(properties or {})
        self._datasets[name].content = content
        return self._datasets[name].value

    def content(self, name: str) -> bytes:
        """What is in a dataset or a snapshot."""
        return self._snapshots[name].content if "@" in name else self._datasets[name].content

    def write(self, dataset: str, content: bytes) -> None:
        """Change what is in a dataset."""
        self._datasets[dataset].content = content

    def tags(self, snapshot: str) -> set[str]:
        """Tags that hold a snapshot."""
        return set(self._snapshots[snapshot].tags)

    def take_foreign(self, name: str) -> Snapshot:
        """A snapshot that somebody else takes, with any name."""
        self.take_snapshots([name])
        self._snapshots[name].taken_as = None
        return self._value(self._snapshots[name])

    def rename_snapshot(self, name: str, new: str) -> None:
        """``zfs rename`` of a snapshot."""
        found = self._snapshots.pop(name)
        found.value = replace(found.value, name=new)
        self._snapshots[new] = found

    def remove_snapshot(self, name: str) -> None:
        """``zfs destroy`` of a snapshot by somebody else."""
        del self._snapshots[name]

    def use(self, snapshot: str) -> None:
        """Let a clone depend on a snapshot."""
        self._snapshots[snapshot].in_use = True

    def fail(self, method: str, error: BaseException, *, times: int = 1) -> None:
        """Make the next calls of a method of the protocol raise ``error``."""
        self._failures[method] = [error] * times

    # --- the protocol ------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        self._maybe_fail("capabilities")
        return self._capabilities

    def pool(self, name: str) -> Pool:
        self._maybe_fail("pool")
        check.check_pool_name(name)
        if name not in self._pools:
            raise self._missing(name)
        return self._pools[name]

    def dataset(self, name: str) -> Dataset:
        self._maybe_fail("dataset")
        return self._get(name).value

    def exists(self, name: str) -> bool:
        self._maybe_fail("exists")
        check.check_any_name(name)
        return name in self._datasets or name in self._snapshots or name in self._bookmarks

    def descendants(self, dataset: str) -> list[str]:
        self._maybe_fail("descendants")
        self._get(dataset)
        return sorted(name for name in self._datasets if name == dataset or name.startswith(f"{dataset}/"))

    def snapshots(self, dataset: str) -> list[Snapshot]:
        self._maybe_fail("snapshots")
        self._get(dataset)
        found = [self._value(each) for each in self._snapshots.values() if each.value.dataset_name == dataset]
        return sorted(found, key=lambda snapshot: snapshot.createtxg)

    def bookmarks(self, dataset: str) -> list[Bookmark]:
        self._maybe_fail("bookmarks")
        self._get(dataset)
        found = [each for each in self._bookmarks.values() if each.name.partition("#")[0] == dataset]
        return sorted(found, key=lambda bookmark: bookmark.createtxg)

    def inventory(self, dataset: str, *, recursive: bool = False) -> list[Inventory]:
        names = self.descendants(dataset) if recursive else [dataset]
        return [
            Inventory(self.dataset(name), tuple(self.snapshots(name)), tuple(self.bookmarks(name))) for name in names
        ]

    def described(self, snapshots: Sequence[str]) -> dict[str, SnapshotFacts]:
        self._maybe_fail("described")
        return {
            name: SnapshotFacts(self._value(self._snapshot(name)), self.local_properties(name.partition("@")[0]))
            for name in snapshots
        }

    def local_properties(self, dataset: str) -> dict[str, str]:
        self._maybe_fail("local_properties")
        return dict(self._get(dataset).properties)

    def create_snapshots(self, names: Sequence[str]) -> list[Snapshot]:
        self.take_snapshots(names)
        return [self._value(self._snapshots[name]) for name in names]

    def take_snapshots(self, names: Sequence[str]) -> None:
        self._maybe_fail("create_snapshots")
        if len({name.partition("@")[0].partition("/")[0] for name in names}) != 1:
            raise ZfsUnable("Snapshots at one instant must be in one pool", next_step="None: a fake")
        for name in names:
            dataset = check.check_snapshot_name(name).partition("@")[0]
            self._get(dataset)
            if name in self._snapshots:
                raise self._error(f"Cannot take the snapshot {name}", "dataset already exists", name)
        self._txg += 1
        marks = {check.taken_as(name.partition("@")[2]) for name in names}
        mark = marks.pop() if self.may_mark and len(marks) == 1 else None
        for name in names:
            content = self._get(name.partition("@")[0]).content
            taken = Snapshot(name, self._guid(), self._txg, self.now)
            self._snapshots[name] = _Snapshot(taken, content, taken_as=mark)
        self.now += timedelta(seconds=1)

    def hold(self, snapshot: str, tag: str) -> None:
        self._maybe_fail("hold")
        self._snapshot(snapshot).tags.add(check.check_hold_tag(tag))

    def hold_all(self, snapshots: Sequence[str], tag: str) -> None:
        for snapshot in snapshots:
            self.hold(snapshot, tag)

    def release(self, snapshot: str, tag: str) -> bool:
        self._maybe_fail("release")
        tags = self._snapshot(snapshot).tags
        was_there = check.check_hold_tag(tag) in tags
        tags.discard(tag)
        return was_there

    def bookmark(self, snapshot: str, bookmark: str) -> None:
        self._maybe_fail("bookmark")
        check.check_bookmark_name(bookmark)
        if not self._capabilities.bookmarks:
            raise ZfsUnable("This ZFS has no bookmarks", next_step="None: a fake", subject=bookmark)
        source = self._snapshot(snapshot).value
        made = Bookmark(bookmark, source.guid, source.createtxg, source.creation)
        if self._bookmarks.setdefault(bookmark, made) != made:
            raise self._error(f"Cannot create the bookmark {bookmark}", "bookmark exists", bookmark)

    def estimate_bytes(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        self._maybe_fail("estimate_bytes")
        check_send_flags(flags, self._capabilities)
        self._snapshot(snapshot)
        return len(self._stream(snapshot, base)) if self._capabilities.send_estimate else None

    def changed_bytes(self, name: str, *, base: str | None, flags: Sequence[str]) -> int | None:
        self._maybe_fail("changed_bytes")
        return None if base else self.referenced_bytes

    def send(self, snapshot: str, *, base: str | None, flags: Sequence[str]) -> FakeSend:
        self._maybe_fail("send")
        check.check_snapshot_name(snapshot)
        check_send_flags(flags, self._capabilities)
        self._sent += 1
        fault = self.send_fault
        try:
            stream = self._stream(snapshot, base)
        except EngineError as failure:
            stream, fault = b"", SendFault(0, stderr=failure.problem)
        return FakeSend(stream, fault, failure=self._stream_failure(SendFailed, f"zfs send of {snapshot}", snapshot))

    def receive(
        self, target: str, *, type: DatasetType, first: bool, token: str = "", resumes: bool = False
    ) -> FakeReceive:
        self._maybe_fail("receive")
        check.check_dataset_name(target)
        if first and not resumes:
            if target in self._datasets:
                raise TargetExists(f"{target} exists already", next_step="None: a fake", subject=target)
            self._get(target.rpartition("/")[0] or target)

        failure = self._stream_failure(ReceiveFailed, f"zfs receive into {target}", target)

        def commit(stream: bytes) -> None:
            try:
                self._receive(target, type, stream)
                if first:
                    self._mark(target, token)
            except ValueError as refusal:
                raise failure(Ended(1, "", str(refusal))) from refusal

        def cut(stream: bytes) -> None:
            if self._capabilities.receive_resumable and stream:
                self._keep_cut(target, type, stream)
                if first:
                    self._mark(target, token)

        return FakeReceive(commit, self.receive_fault, failure=failure, cut=cut)

    def resume_point(self, dataset: str) -> ResumePoint | None:
        self._maybe_fail("resume_point")
        self._get(dataset)
        cut = self._cut.get(dataset)
        return ResumePoint(cut.begin.to_guid, cut.begin.from_guid, *cut.position) if cut else None

    def abort_receive(self, dataset: str) -> None:
        self._maybe_fail("abort_receive")
        self._cut.pop(dataset)
        if not self.snapshots(dataset):
            del self._datasets[dataset]

    def protect_received(self, target: str, *, type: DatasetType) -> None:
        self._maybe_fail("protect_received")
        self._get(target).properties.update(AT_REST[type])

    def set_properties(self, dataset: str, properties: dict[str, str]) -> None:
        self._maybe_fail("set_properties")
        for name in properties:
            check.check_property_name(name)
        self._get(dataset).properties.update(properties)

    def inherit_property(self, dataset: str, name: str) -> None:
        self._maybe_fail("inherit_property")
        self._get(dataset).properties.pop(check.check_property_name(name), None)

    def destroy_snapshot(self, snapshot: str) -> bool:
        self._maybe_fail("destroy_snapshot")
        check.check_snapshot_name(snapshot)
        found = self._snapshots.get(snapshot)
        if found is not None and (found.tags or found.in_use):
            return False
        assert found is None or self._value(found).ours, f"{snapshot} is not of zrb"
        self._snapshots.pop(snapshot, None)
        return True

    def destroy_dataset(self, dataset: str) -> None:
        self._maybe_fail("destroy_dataset")
        if self.descendants(dataset) != [dataset] or self.snapshots(dataset):
            raise self._error(f"Cannot destroy {dataset}", "filesystem has children", dataset)
        del self._datasets[dataset]

    # --- inside ------------------------------------------------------------------------------------------

    def _guid(self) -> str:
        return str(self._random.getrandbits(64) | 1 << 63)

    def _add(self, dataset: Dataset) -> None:
        self._datasets.setdefault(dataset.name, _Dataset(dataset))

    def _maybe_fail(self, method: str) -> None:
        if self._failures.get(method):
            raise self._failures[method].pop()

    def _get(self, name: str) -> _Dataset:
        check.check_dataset_name(name)
        if name not in self._datasets:
            raise self._missing(name)
        return self._datasets[name]

    def _snapshot(self, name: str) -> _Snapshot:
        check.check_snapshot_name(name)
        if name not in self._snapshots:
            raise self._missing(name)
        return self._snapshots[name]

    def _value(self, snapshot: _Snapshot) -> Snapshot:
        return replace(
            snapshot.value,
            user_holds=len(snapshot.tags),
            written=self.written_bytes if self._capabilities.bookmarks else None,
            ours=snapshot.taken_as == check.taken_as(snapshot.value.short_name),
        )

    def _missing(self, name: str) -> EngineError:
        pool = name.partition("@")[0].partition("#")[0].partition("/")[0]
        kind = NoSuchPool if pool not in self._pools else NoSuchSnapshot if "@" in name else NoSuchDataset
        return kind(f"{name!r}: dataset does not exist", next_step="None: a fake", subject=name)

    def _error(self, problem: str, answer: str, subject: str) -> ZfsError:
        return ZfsError(problem, answer=answer, next_step="None: a fake", subject=subject)

    def _stream_failure(
        self, kind: builtins.type[EngineError], what: str, subject: str
    ) -> Callable[[Ended], EngineError]:
        def failure(ended: Ended) -> EngineError:
            return zfs_failure(ended, problem=f"{what} failed", subject=subject, otherwise=kind, always=True)

        return failure

    def _stream(self, snapshot: str, base: str | None) -> bytes:
        source = self._snapshot(snapshot)
        base_guid, base_content = self._base(source.value, base) if base else (None, b"")
        return make_stream(
            to_name=snapshot,
            to_guid=source.value.guid,
            from_guid=base_guid,
            content=source.content,
            base_content=base_content,
            nonce=0 if self.reproducible else self._sent,
        )

    def _base(self, source: Snapshot, base: str) -> tuple[str, bytes]:
        check.check_base_name(base)
        if "#" in base:
            if base not in self._bookmarks:
                raise self._missing(base)
            return self._bookmarks[base].guid, b""
        found = self._snapshot(base)
        if found.value.dataset_name != source.dataset_name or found.value.createtxg >= source.createtxg:
            raise self._error(f"cannot send {source.name!r}: not an earlier snapshot from the same fs", "", base)
        return found.value.guid, found.content

    def _mark(self, target: str, token: str) -> None:
        if token and self._capabilities.receive_properties:
            self._datasets[target].properties[RECEIVED_BY] = token

    def _receive(self, target: str, type: DatasetType, stream: bytes) -> None:
        arrived = self._arrive(target, stream)
        if not arrived.ended:
            raise ValueError("cannot receive: incomplete stream")
        self._cut.pop(target, None)
        self._add(Dataset(target, self._guid(), type))
        self._datasets[target].content = arrived.whole
        self._txg += 1
        name = f"{target}@{arrived.begin.to_name.partition('@')[2]}"
        self._snapshots[name] = _Snapshot(Snapshot(name, arrived.begin.to_guid, self._txg, self.now), arrived.whole)

    def _keep_cut(self, target: str, type: DatasetType, stream: bytes) -> None:
        """What ``receive -s`` keeps of a stream that was cut off, if it accepts it at all."""
        try:
            self._cut[target] = self._arrive(target, stream)
        except ValueError:
            return
        self._add(Dataset(target, self._guid(), type))

    def _arrive(self, target: str, stream: bytes) -> Arrived:
        known = self.snapshots(target) if target in self._datasets else []
        newest = known[-1] if known else None
        base_content = self._snapshots[newest.name].content if newest else b""
        arrived = arrive(stream, base_content, deepcopy(self._cut.get(target)))
        if arrived.begin.from_guid != (newest.guid if newest else None):
            raise ValueError(f"most recent snapshot of {target} does not match incremental source")
        if newest and self._datasets[target].content != base_content:
            raise ValueError(f"destination {target} has been modified since most recent snapshot")
        return arrived
