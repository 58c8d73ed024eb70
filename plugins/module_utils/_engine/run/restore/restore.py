# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore: verify, plan the whole chain, then receive link after link (docs/format.md, "Restore").

Nothing is created before everything was checked that can be checked without the data, and no stream is committed
whose every byte is not covered by a trusted signature.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from ...errors import (
    EngineError,
    IntegrityError,
    LocalStateError,
    ReceiveFailed,
    ThawNeeded,
    WrongIdentity,
)
from ...plan.buffer_layout import plan_restore_buffers
from ...plan.restored_properties import restorable_properties
from ...repository.part_list import open_part_list
from ...seal.age import HEAD_BYTES, AgeOpener
from ...state.highest_seen import remember
from ...state.locks import dataset_locks
from ...state.restore_trail import forget_trail, keep_trail
from ...state.restore_under_way import forget_restore, note_restore
from ...state.spool import Spool
from ...store.protocol import Store
from ...stream.part_downloads import Source
from ...stream.restore_pipeline import RestorePipeline
from ...stream.threads import usable_cores
from ...values.manifest import Manifest
from ...values.recipients import shown
from ...zfs.protected_receive import RECEIVED_BY
from ..context import Context
from .feed_receive import Passage
from .lazy_receive import LazyReceive
from .plan import RestoreLink, RestorePlan, RestoreSelection, read_plan
from .target import check_target, way_on

__all__ = ["RestorePlan", "RestoreResult", "RestoreSelection", "plan_restore", "restore"]


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A dataset that was restored up to its last link. ``links`` were received now, ``present`` ones before;
    ``changed`` says whether anything was left to do."""

    target: str
    links: tuple[str, ...]
    present: tuple[str, ...]
    changed: bool
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
            "present": list(self.present),
            "changed": self.changed,
            "snapshot": self.snapshot,
            "stream_bytes": self.stream_bytes,
            "duration_s": round(self.duration_s, 3),
            "warnings": list(self.warnings),
        }


def plan_restore(
    context: Context, selection: RestoreSelection, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> RestorePlan:
    """What :func:`restore` would do now. Changes nothing, and downloads manifests only.

    Raises what :func:`restore` raises before it begins, but for objects that must be thawed: the plan shows them.
    """
    store = context.store_to_look_at()
    try:
        plan = read_plan(context, store, selection, trusted=tuple(trusted), allow_unsigned=allow_unsigned)
        check_target(context, plan)
        return plan
    finally:
        store.close()


def restore(
    context: Context,
    selection: RestoreSelection,
    *,
    identities: Sequence[str],
    trusted: Sequence[str],
    allow_unsigned: bool = False,
) -> RestoreResult:
    """Receive the chain up to the selected backup into a new dataset, or what is missing of it.

    Raises, before anything is created, ``SignatureInvalid``, ``NoSuchBackup``, ``ChainBroken``, ``PartMissing``,
    ``TargetExists``, ``Locked``, ``ThawNeeded``, ``ZfsUnable``, ``WrongIdentity``; and while a link is received
    ``PartDamaged``, ``StreamDamaged``, ``ReceiveFailed``: that link then leaves nothing behind, and those before it
    stay.
    """
    started = time.monotonic()
    limits = context.config.limits
    layout = plan_restore_buffers(limits, cores=usable_cores())
    opener = AgeOpener(identities)
    pipeline = RestorePipeline(layout, opener=opener, downloaders=limits.workers)
    with Spool(context.base_dir) as spool, dataset_locks(context.base_dir) as locks:
        locks.take(selection.target)
        store = context.patient_store()
        try:
            plan = read_plan(context, store, selection, trusted=tuple(trusted), allow_unsigned=allow_unsigned)
            check_target(context, plan)
            _check_readable(plan)
            if plan.done:
                with suppress(OSError):
                    forget_restore(context.base_dir, plan.target)  # a run that was killed with its last word said
                return _result(plan, started, changed=False, warnings=plan.warnings)
            _check_keys(store, plan, opener)
            return _Restore(context, store, pipeline, spool, plan).run(started)
        finally:
            store.close()


def _result(plan: RestorePlan, started: float, *, changed: bool, warnings: Sequence[str]) -> RestoreResult:
    last = plan.links[-1].manifest
    return RestoreResult(
        target=plan.target,
        links=tuple(link.manifest.backup_id for link in plan.missing),
        present=tuple(link.manifest.backup_id for link in plan.links if link.present),
        changed=changed,
        snapshot=f"{plan.target}@{last.snapshot.name.partition('@')[2]}",
        stream_bytes=plan.stream_bytes,
        duration_s=time.monotonic() - started,
        warnings=tuple(warnings),
    )


def _check_readable(plan: RestorePlan) -> None:
    frozen = [link for link in plan.links if not link.readable]
    if frozen:
        total = sum(link.manifest.parts.stored_bytes for link in frozen)
        first = frozen[0].manifest
        raise ThawNeeded(
            f"{len(frozen)} of {len(plan.links)} backups of this chain ({total} bytes) are in an archive class "
            f"({', '.join(sorted({link.storage_class for link in frozen}))}) and not thawed",
            subject=first.backup_id,
            next_step="Request their thaw with S3 RestoreObject for the keys below "
            f"{first.series.data_prefix(first.backup_id, first.level)}, then run this command again",
        )


def _check_keys(store: Store, plan: RestorePlan, opener: AgeOpener) -> None:
    """Raise :class:`WrongIdentity` if a link is missing that no private key opens: not only after those before it have
    been downloaded. Any other damage of its first part is found when that is downloaded."""
    for link in plan.missing:
        if part := link.first_part:
            head = memoryview(bytearray(min(HEAD_BYTES, part.bytes)))
            with suppress(IntegrityError):
                store.read_into(part.key, 0, head)
                try:
                    opener.begin(head, part_bytes=part.bytes)
                except WrongIdentity as error:
                    _add_way_on(error, plan, link, kept=False)
                    raise


class _Restore:
    """One restore under way."""

    def __init__(
        self, context: Context, store: Store, pipeline: RestorePipeline, spool: Spool, plan: RestorePlan
    ) -> None:
        self._context = context
        self._store = store
        self._pipeline = pipeline
        self._spool = spool
        self._plan = plan
        self._token = context.token()
        self._lock = threading.Lock()
        self._moved = 0

    def run(self, started: float) -> RestoreResult:
        """Receive every link that is missing."""
        plan, progress = self._plan, self._context.progress
        progress.start(
            "restore",
            total=plan.stored_bytes,
            message=f"{plan.links[-1].manifest.backup_id} of {plan.dataset} into {plan.target}",
        )
        for warning in plan.warnings:
            progress.log(warning, level="warning")
        try:
            self._take_over()
            for number, link in enumerate(plan.links):
                if not link.present:
                    self._receive(link)
                    self._context.checkpoint(f"link-{number}-received")
        except EngineError as error:
            progress.finish(status="failed", result=dict(error.facts()))
            raise
        warnings = [*plan.warnings, *self._give()]
        result = _result(plan, started, changed=True, warnings=warnings)
        progress.finish(status="warning" if warnings else "ok", result=result.as_json())
        return result

    def _take_over(self) -> None:
        """Say whose the target is from now on; and if an earlier run left something there, take it as its own."""
        context, plan, zfs = self._context, self._plan, self._context.zfs
        if plan.presence.remains:
            zfs.destroy_dataset(plan.target)
        note_restore(context.base_dir, plan.target, token=self._token)
        if plan.presence.links or plan.links[0].manifest.base is not None:
            zfs.set_properties(plan.target, {RECEIVED_BY: self._token})
            zfs.protect_received(plan.target, type=plan.links[0].manifest.dataset.type)
        context.checkpoint("target-taken-over")

    def _receive(self, link: RestoreLink) -> None:
        context, manifest, target = self._context, link.manifest, self._plan.target
        resumption = link.resumption
        receiver = LazyReceive(context, target, manifest, token=self._token, resumes=resumption is not None)
        try:
            source = Source(self._store, self._spool.directory, self._count)
            with ExitStack() as stack:
                parts = stack.enter_context(open_part_list(self._store, manifest))
                trail = keep_trail(context.base_dir, target, manifest.backup_id, goes_on=link.goes_on)
                passage = Passage(parts, stack.enter_context(trail), receiver.write, resumption=resumption)
                self._pipeline.fetch_stream(manifest, passage.parts, source, passage.take, start=passage.start)
            context.checkpoint("stream-written")
            receiver.finish()
        except BaseException as error:
            kept = receiver.abandon(give_up=isinstance(error, IntegrityError))
            if isinstance(error, EngineError):
                _add_way_on(error, self._plan, link, kept=kept)
            raise
        self._check_received(manifest)
        context.zfs.protect_received(target, type=manifest.dataset.type)
        forget_trail(context.base_dir, target)
        self._remember(manifest)

    def _check_received(self, manifest: Manifest) -> None:
        snapshots = self._context.zfs.snapshots(self._plan.target)
        if not snapshots or snapshots[-1].guid != manifest.snapshot.guid:
            raise ReceiveFailed(
                f"zfs receive ended well, but {self._plan.target} does not have the snapshot of {manifest.backup_id}",
                subject=self._plan.target,
                next_step="Look at `zfs list -t snapshot` of the target; destroy it and restore again",
            )

    def _remember(self, manifest: Manifest) -> None:
        try:
            remember(self._context.base_dir, manifest.repository_id, manifest.series, manifest.seq)
            self._context.remember_repository(manifest.repository_id)
        except (OSError, LocalStateError) as error:
            self._context.progress.log(f"The number of this backup could not be remembered: {error}", level="warning")

    def _give(self) -> list[str]:
        """Between two links nothing may change the dataset; after the last one it is the user's.

        The mark goes last: as long as it is there, the next run does all of this again.
        """
        context, target = self._context, self._plan.target
        warnings = self._reapply_properties(self._plan.links[-1].manifest)
        context.checkpoint("properties-set-again")
        try:
            for name in ("readonly", RECEIVED_BY):
                context.zfs.inherit_property(target, name)
            forget_restore(context.base_dir, target)
        except EngineError as error:
            warnings.append(f"The dataset stayed read-only: {error.explain()}")
        except OSError as error:
            warnings.append(f"The note of this restore could not be removed: {error}")
        return warnings

    def _reapply_properties(self, manifest: Manifest) -> list[str]:
        wanted = restorable_properties(manifest.properties, volume=manifest.dataset.type == "volume")
        warnings = []
        for name, value in wanted.items():
            try:
                self._context.zfs.set_properties(self._plan.target, {name: value})
            except EngineError as error:
                warnings.append(f"The property {name}={value} was not set again: {error.explain()}")
        return warnings

    def _count(self, count: int) -> None:
        with self._lock:
            self._moved += count
            self._context.progress.advance("receive", current=self._moved, total=self._plan.stored_bytes)


def _add_way_on(error: EngineError, plan: RestorePlan, link: RestoreLink, *, kept: bool) -> None:
    if isinstance(error, WrongIdentity):
        error.next_step += f". The backup is encrypted for {', '.join(map(shown, link.manifest.encryption.recipients))}"
    if kept:
        error.next_step += ". What was received is kept: to go on from there, repeat this restore with --continue"
        if plan.links[0].manifest.base is not None:
            error.next_step += " in place of --only"
        if link.resumption:
            error.next_step += f". If that fails again, first give up this link with `zfs receive -A {plan.target}`"
    elif position := plan.links.index(link):
        error.next_step += f". {way_on(plan, position)}"
