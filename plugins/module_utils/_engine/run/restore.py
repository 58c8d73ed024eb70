# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore: verify, plan the whole chain, then receive link after link (docs/format.md, "Restore").

Nothing is created before everything was checked that can be checked without the data, and no stream is committed
whose every byte is not covered by a trusted signature.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import (
    EngineError,
    NoSuchDataset,
    NoSuchSnapshot,
    ReceiveFailed,
    TargetExists,
    ThawNeeded,
    UsageError,
    WrongIdentity,
    ZfsUnable,
)
from ..plan.buffers import plan_restore_buffers
from ..plan.levels import unsupported_flags
from ..plan.properties import restorable_properties
from ..store.protocol import Store
from ..stream.restore import RestorePipeline, Source
from ..values.manifest import Manifest
from ..zfs.protocol import ReceiveProcess
from .environment import Environment
from .high_water import remember
from .restore_plan import RestoreLink, RestorePlan, RestoreSelection, read_plan
from .spool import Spool

__all__ = ["RestorePlan", "RestoreResult", "RestoreSelection", "plan_restore", "restore"]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A dataset that was restored up to its last link."""

    target: str
    links: tuple[str, ...]
    snapshot: str
    stream_bytes: int
    duration_s: float
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0, or 4 with warnings."""
        return 4 if self.warnings else 0

    def as_json(self) -> dict[str, Any]:
        """The result for machines."""
        return {
            "target": self.target,
            "links": list(self.links),
            "snapshot": self.snapshot,
            "stream_bytes": self.stream_bytes,
            "duration_s": round(self.duration_s, 3),
            "warnings": list(self.warnings),
        }


def plan_restore(
    env: Environment, selection: RestoreSelection, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> RestorePlan:
    """What :func:`restore` would do now. Changes nothing, and downloads manifests only.

    Raises what :func:`restore` raises before it begins, but for objects that must be thawed: the plan shows them.
    """
    store = env.open_store()
    try:
        plan = read_plan(env, store, selection, trusted=tuple(trusted), allow_unsigned=allow_unsigned)
        _check_target(env, selection, plan)
        return plan
    finally:
        store.close()


def restore(
    env: Environment,
    selection: RestoreSelection,
    *,
    identities: Sequence[str],
    trusted: Sequence[str],
    allow_unsigned: bool = False,
) -> RestoreResult:
    """Receive the chain up to the selected backup into a new dataset.

    Raises, before anything is created, ``SignatureInvalid``, ``NoSuchBackup``, ``ChainBroken``, ``PartMissing``,
    ``TargetExists``, ``ThawNeeded``, ``ZfsUnable``; and while a link is received ``PartDamaged``, ``StreamDamaged``,
    ``WrongIdentity``, ``ReceiveFailed``: that link then leaves nothing behind, and those before it stay.
    """
    started = time.monotonic()
    limits = env.config.limits
    layout = plan_restore_buffers(limits)
    with (
        RestorePipeline(layout, identities=tuple(identities), downloaders=limits.workers) as pipeline,
        Spool(env.base_dir) as spool,
    ):
        store = env.open_store()
        try:
            plan = read_plan(env, store, selection, trusted=tuple(trusted), allow_unsigned=allow_unsigned)
            _check_target(env, selection, plan)
            _check_readable(plan)
            return _Restore(env, store, pipeline, spool, plan).run(started)
        finally:
            store.close()


def _check_target(env: Environment, selection: RestoreSelection, plan: RestorePlan) -> None:
    target, first = selection.target, plan.links[0].manifest
    if first.base is not None:
        _check_continues(env, target, first)
    elif env.zfs.exists(target):
        raise _target_exists(env, target, plan)
    else:
        parent = target.rpartition("/")[0]
        if not parent:
            raise UsageError(
                f"{target} names a whole pool",
                subject=target,
                next_step=f"Restore into a new dataset below it, such as {target}/restored",
            )
        try:
            env.zfs.dataset(parent)
        except NoSuchDataset as error:
            raise NoSuchDataset(
                f"{parent}, where {target} is to be restored, does not exist",
                subject=parent,
                next_step=f"Create it with `zfs create -o mountpoint=none {parent}`, or choose another --target",
            ) from error
    for link in plan.links:
        if missing := unsupported_flags(env.zfs.capabilities, link.manifest.send.flags):
            raise ZfsUnable(
                f"Backup {link.manifest.backup_id} was sent with {' '.join(missing)}, and "
                f"{env.zfs.capabilities.version} cannot receive such a stream",
                subject=link.manifest.backup_id,
                next_step=f"Restore on a machine with ZFS like the one it came from ({link.manifest.send.zfs_version})",
            )


def _target_exists(env: Environment, target: str, plan: RestorePlan) -> TargetExists:
    snapshots = env.zfs.snapshots(target)
    next_step = "Choose a name that does not exist with --target, or rename the dataset first"
    for position, link in enumerate(plan.links[:-1], start=1):
        if snapshots and snapshots[-1].guid == link.manifest.snapshot.guid:
            next_step = _way_on(plan, position)
    return TargetExists(f"{target} exists already, and a restore never overwrites", subject=target, next_step=next_step)


def _way_on(plan: RestorePlan, position: int) -> str:
    """How to go on at link ``position`` (from 1) of a restore that was cut off."""
    held, following = plan.links[position - 1].manifest, plan.links[position].manifest
    return (
        f"{plan.target} holds this chain up to {held.backup_id}; to go on from there, receive one link after the "
        f"other: `zrb restore --only --backup-id {following.backup_id} --target {plan.target}`"
    )


def _check_continues(env: Environment, target: str, first: Manifest) -> None:
    base = first.base
    snapshots = env.zfs.snapshots(target)
    newest = snapshots[-1] if snapshots else None
    if base is None or newest is None or newest.guid != base.guid:
        raise NoSuchSnapshot(
            f"Backup {first.backup_id} continues {base.snapshot if base else 'nothing'}, which is not the newest "
            f"snapshot of {target}",
            subject=target,
            next_step="Restore the whole chain into a new dataset: leave out --only",
        )


def _check_readable(plan: RestorePlan) -> None:
    frozen = [link for link in plan.links if not link.readable]
    if frozen:
        total = sum(link.manifest.stored_bytes for link in frozen)
        raise ThawNeeded(
            f"{len(frozen)} of {len(plan.links)} backups of this chain ({total} bytes) are in an archive class "
            f"({', '.join(sorted({link.storage_class for link in frozen}))}) and not thawed",
            subject=frozen[0].manifest.backup_id,
            next_step="Request their thaw with S3 RestoreObject for the keys below "
            f"{frozen[0].manifest.line.data_prefix(frozen[0].manifest.backup_id, frozen[0].manifest.level)}, then run "
            "this command again",
        )


class _Restore:
    """One restore under way."""

    def __init__(
        self, env: Environment, store: Store, pipeline: RestorePipeline, spool: Spool, plan: RestorePlan
    ) -> None:
        self._env = env
        self._store = store
        self._pipeline = pipeline
        self._spool = spool
        self._plan = plan
        self._lock = threading.Lock()
        self._moved = 0

    def run(self, started: float) -> RestoreResult:
        """Receive every link."""
        plan, progress = self._plan, self._env.progress
        progress.start(
            "restore",
            total=plan.stored_bytes,
            message=f"{plan.links[-1].manifest.backup_id} of {plan.dataset} into {plan.target}",
        )
        for warning in plan.warnings:
            progress.log(warning, level="warning")
        try:
            for number, link in enumerate(plan.links):
                self._receive(link.manifest)
                self._env.checkpoint(f"link-{number}-received")
        except EngineError as error:
            progress.finish(status="failed", result=dict(error.facts()))
            raise
        warnings = [*plan.warnings, *self._reapply_properties(plan.links[-1])]
        last = plan.links[-1].manifest
        result = RestoreResult(
            target=plan.target,
            links=tuple(link.manifest.backup_id for link in plan.links),
            snapshot=f"{plan.target}@{last.snapshot.name.partition('@')[2]}",
            stream_bytes=plan.stream_bytes,
            duration_s=time.monotonic() - started,
            warnings=tuple(warnings),
        )
        progress.finish(status="warning" if warnings else "ok", result=result.as_json())
        return result

    def _receive(self, manifest: Manifest) -> None:
        receiver = _LazyReceive(self._env, self._plan.target, manifest)
        try:
            self._pipeline.fetch_stream(
                manifest, Source(self._store, self._spool.directory, self._count), receiver.write
            )
            self._env.checkpoint("stream-written")
            receiver.finish()
        except BaseException as error:
            receiver.abandon()
            if isinstance(error, EngineError):
                _add_way_on(error, self._plan, manifest)
            raise
        self._check_received(manifest)
        self._env.zfs.settle_received(self._plan.target, type=manifest.dataset.type)
        self._remember(manifest)

    def _check_received(self, manifest: Manifest) -> None:
        snapshots = self._env.zfs.snapshots(self._plan.target)
        if not snapshots or snapshots[-1].guid != manifest.snapshot.guid:
            raise ReceiveFailed(
                f"zfs receive ended well, but {self._plan.target} does not have the snapshot of {manifest.backup_id}",
                subject=self._plan.target,
                next_step="Look at `zfs list -t snapshot` of the target; destroy it and restore again",
            )

    def _remember(self, manifest: Manifest) -> None:
        try:
            remember(self._env.base_dir, manifest.line, manifest.seq)
        except OSError as error:
            self._env.progress.log(f"The number of this backup could not be remembered: {error}", level="warning")

    def _reapply_properties(self, link: RestoreLink) -> list[str]:
        manifest = link.manifest
        wanted = restorable_properties(manifest.properties, volume=manifest.dataset.type == "volume")
        warnings = []
        for name, value in wanted.items():
            try:
                self._env.zfs.set_properties(self._plan.target, {name: value})
            except EngineError as error:
                warnings.append(f"The property {name}={value} was not set again: {error.explain()}")
        return warnings

    def _count(self, count: int) -> None:
        with self._lock:
            self._moved += count
            self._env.progress.advance("receive", current=self._moved, total=self._plan.stored_bytes)


def _add_way_on(error: EngineError, plan: RestorePlan, manifest: Manifest) -> None:
    if isinstance(error, WrongIdentity):
        error.next_step += f". The backup is encrypted for {', '.join(manifest.encryption.recipients)}"
    position = [link.manifest.backup_id for link in plan.links].index(manifest.backup_id)
    if position:
        error.next_step += f". {_way_on(plan, position)}"


class _LazyReceive:
    """``zfs receive``, started by the first verified bytes: what fails before them creates nothing."""

    def __init__(self, env: Environment, target: str, manifest: Manifest) -> None:
        self._env = env
        self._target = target
        self._manifest = manifest
        self._process: ReceiveProcess | None = None
        self._fd = -1

    def write(self, view: memoryview) -> None:
        """Give ``view`` to ``zfs receive``."""
        if self._process is None:
            self._process = self._env.zfs.receive(
                self._target, type=self._manifest.dataset.type, first=self._manifest.base is None
            )
            self._fd = self._process.fileno()
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            self._process.finish()  # raises what receive said
            raise

    def finish(self) -> None:
        """The stream is whole: let ``zfs receive`` commit it."""
        if self._process is not None:
            self._process.finish()
            self._process = None

    def abandon(self) -> None:
        """End ``zfs receive`` before it sees the end of its stream, and remove a dataset that it alone created."""
        if self._process is None:
            return
        self._process.kill()
        self._process = None
        if self._manifest.base is None:
            try:
                if self._env.zfs.exists(self._target) and not self._env.zfs.snapshots(self._target):
                    self._env.zfs.destroy_dataset(self._target)
            except EngineError as error:
                self._env.progress.log(
                    f"{self._target} was received in part and could not be removed: {error.explain()}", level="warning"
                )
