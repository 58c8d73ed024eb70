# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backs up: snapshot, send, encrypt, upload, commit (docs/format.md, "Commit"). After an interruption at any point, the
next run of the same command continues or starts clean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...config.key_files import read_signing_key
from ...config.tasks import task_datasets
from ...config.value_readers import ALL
from ...errors import ConfigError, EngineError, explained, without_frames
from ...plan.buffer_layout import plan_lanes
from ...report.logs import Logged
from ...report.progress_queue import Held
from ...repository.identity import RepositoryIdentity, ensure_identity, find_identity
from ...seal.age import AgeSealer
from ...seal.signing import SigningKey
from ...state.locks import DatasetLocks, dataset_locks
from ...state.pending_snapshot import note_pending
from ...store.protocol import Store
from ...stream.bandwidth import Bandwidth
from ...stream.first_failure import Failure
from ...stream.threads import Threads, usable_cores
from ...values.config import Task
from ...values.part_list_json import count_parts
from ...values.progress import Progress
from ...values.repository_names import check_level, hold_tag
from ...values.zfs import SnapshotFacts
from ...zfs.snapshotting import unmarked
from ..context import Context
from .estimate import estimate_stream, sizes_for
from .one_dataset import DatasetBackup, Work, state_dir
from .recovery import recover
from .results import BackupOutcome, BackupPlan, BackupResult
from .survey import Decision, decide, look, survey_dataset

__all__ = ["BackupOutcome", "BackupPlan", "BackupResult", "back_up", "plan_backup"]


def plan_backup(context: Context, *, task: Task, level: int, strict_level: bool = False) -> list[BackupPlan]:
    """Plan what :func:`back_up` would do now, for every dataset of ``task``. Changes nothing."""
    check_level(level)
    _signing_key(context)
    store = context.store_to_look_at()
    try:
        # A repository without an identity has no backups either, so no journal fits this empty one.
        identity = find_identity(store, known=context.known_id) or RepositoryIdentity(
            repository_id="", created=context.clock()
        )
        plans = []
        at_once = _at_one_time(context)
        names = task_datasets(context.zfs, task)
        landscape = look(context, store, task)
        for name in names:
            survey = survey_dataset(context, landscape, name)
            decision = decide(at_once, identity, task, survey, level=level, strict=strict_level)
            plans.append(_plan(context, store, decision))
        return plans
    finally:
        store.close()


def back_up(
    context: Context, *, task: Task, level: int, strict_level: bool = False, job: dict[str, str] | None = None
) -> BackupOutcome:
    """Run ``task`` once at ``level``. A dataset that fails does not stop the others: the outcome names it.

    Raises errors that concern all datasets (keys, configuration, the repository), and :class:`Interrupted`.
    """
    check_level(level)
    signing_key = _signing_key(context)
    sealer = AgeSealer(context.config.recipients)
    store = context.patient_store()
    try:
        run = _TaskRun(context, store, signing_key, task, sealer, job or {})
        return run.run(level, strict=strict_level)
    finally:
        store.close()


def _at_one_time(context: Context) -> Context:
    """``context`` with a stopped clock. Snapshots taken at one instant need one name (``zfs snapshot -r`` allows no
    other), but its time in seconds may change while zrb looks at the datasets."""
    now = context.clock()
    return replace(context, clock=lambda: now)


def _signing_key(context: Context) -> SigningKey:
    path = context.config.signing_key
    if path is None:
        raise ConfigError(
            "The configuration names no signing_key, but a backup without a signature cannot be trusted later",
            subject="signing_key",
            next_step="Make one with `zrb signing-key --output /etc/zrb/signing.key` and name it in the configuration",
        )
    return read_signing_key(Path(path))


def _plan(context: Context, store: Store, decision: Decision) -> BackupPlan:
    estimate = estimate_stream(context, decision, decision.snapshot)
    limits = sizes_for(context, decision, estimate)
    return BackupPlan(
        task=decision.task.name,
        dataset=decision.survey.dataset.name,
        level_requested=decision.level_requested,
        choice=decision.choice,
        snapshot=decision.snapshot_name,
        estimated_bytes=estimate,
        parts=None if estimate is None else count_parts(estimate, limits.part_size),
        part_size=limits.part_size,
        chunk_size=limits.chunk_size,
        storage_class=context.config.storage_classes.for_level(decision.choice.level),
        destination=store.location,
        resumes=decision.journal.binding.backup_id if decision.journal else None,
        warnings=decision.warnings,
    )


class _TaskRun:
    """One run of one task."""

    def __init__(
        self,
        context: Context,
        store: Store,
        signing_key: SigningKey,
        task: Task,
        sealer: AgeSealer,
        job: dict[str, str],
    ) -> None:
        self.context = context
        self.task = task
        self.job = job
        self.results: list[BackupResult] = []
        self.failures: list[tuple[str, EngineError]] = []
        self._end = Failure()
        """A failure of the whole run."""
        self.store = store.until(self._end)
        bandwidth = Bandwidth(context.config.limits.bandwidth_limit)
        self._datasets = DatasetBackup(context, self.store, signing_key, sealer, bandwidth, task, job, self._end)

    def run(self, level: int, *, strict: bool) -> BackupOutcome:
        """Decide for every dataset, take all snapshots at one instant, then send them."""
        with closing(self._end), dataset_locks(self.context.base_dir) as locks:
            context = self.context
            identity = ensure_identity(
                self.store, now=context.clock(), new_id=self._new_repository_id(), known=context.known_id
            )
            context.remember_repository(identity.repository_id)
            decisions = self._decide_all(locks, identity, level, strict)
            self._back_up_all(identity, self._begin_all(identity, decisions))
            if self.results:
                context.remember_repository(identity.repository_id, host=context.config.host)
        place = {decision.survey.dataset.name: number for number, decision in enumerate(decisions)}
        self.results.sort(key=lambda result: place[result.manifest.dataset.name])
        self.failures.sort(key=lambda failure: place.get(failure[0], -1))
        return BackupOutcome(tuple(self.results), tuple(self.failures))

    def _back_up_all(self, identity: RepositoryIdentity, works: Sequence[Work]) -> None:
        """Small streams run beside each other, so that a slow one does not delay the others. Large ones use the whole
        machine, so they run one after another in a lane of their own."""
        small = [work for work in works if work.is_small]
        large = [work for work in works if not work.is_small]
        if len(works) < 2 or not small:
            for work in works:
                self._attempt(identity, work)
            return
        widest = max((work.limits for work in works), key=lambda limits: limits.chunk_size)
        lanes, of_small, of_large = plan_lanes(widest, cores=usable_cores(), small=len(small), large=bool(large))
        jobs = [[replace(work, limits=replace(work.limits, memory_limit=of_large.memory_limit)) for work in large]]
        one_at_a_time = threading.Lock()
        for work in small:
            progress = self._progress_for(work.dataset, Held(self.context.progress, one_at_a_time))
            jobs.append([replace(work, limits=replace(work.limits, workers=of_small.workers), progress=progress)])
        done: list[list[Work]] = []

        def carry_out(job: list[Work]) -> None:
            for work in job:
                self._end.check()
                self._attempt(identity, work)
            with self._end.changed:
                done.append(job)
                self._end.changed.notify_all()

        threads = Threads(lanes, self._end, name="dataset")
        try:
            for job in jobs:
                threads.submit(partial(carry_out, job))
            with self._end.changed:
                self._end.wait_until(lambda: len(done) == len(jobs))
        except BaseException as error:
            self._end.set(error)
            raise
        finally:
            threads.stop()

    def _attempt(self, identity: RepositoryIdentity, work: Work) -> None:
        with self._failing_alone(work.dataset, work.progress):
            self.results.append(self._datasets.back_up(identity, work))

    def _new_repository_id(self) -> str:
        return "".join(self.context.token() for _piece in range(4))

    def _progress_for(self, dataset: str, progress: Progress | None = None) -> Logged:
        context = self.context
        return Logged(
            progress or context.progress,
            log_dir=Path(context.config.log_dir),
            dataset=dataset,
            job_id=self.job.get("id", ""),
            clock=context.clock,
        )

    @contextmanager
    def _failing_alone(self, dataset: str, progress: Progress | None = None) -> Iterator[None]:
        """Turn any error inside into a failure of ``dataset``, which stops no other. Interrupts pass."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a bug that one dataset triggers must not stop the others
            self._failed(dataset, explained(error), progress)

    def _failed(self, dataset: str, error: EngineError, progress: Progress | None = None) -> None:
        self.failures.append((dataset, without_frames(error)))
        (progress or self._progress_for(dataset)).finish(status="failed", result=dict(error.facts()))

    def _decide_all(
        self, locks: DatasetLocks, identity: RepositoryIdentity, level: int, strict: bool
    ) -> list[Decision]:
        locked, decisions = [], []
        for name in task_datasets(self.context.zfs, self.task) if self.task.recursive else [self.task.dataset_name]:
            with self._failing_alone(name):
                locks.take(name)
                locked.append(name)
        if not locked:
            return []
        at_once = _at_one_time(self.context)
        landscape = look(self.context, self.store, self.task)
        for name in locked:
            with self._failing_alone(name):
                survey = survey_dataset(self.context, landscape, name)
                decision = decide(at_once, identity, self.task, survey, level=level, strict=strict)
                decision = decision.with_warnings(recover(self.context, self.store, decision))
                if decision.journal is None:
                    tag = hold_tag(identity.repository_id)
                    note_pending(state_dir(self.context, decision), decision.snapshot_name, hold_tag=tag)
                decisions.append(decision)
        return decisions

    def _begin_all(self, identity: RepositoryIdentity, decisions: Sequence[Decision]) -> list[Work]:
        zfs, tag = self.context.zfs, hold_tag(identity.repository_id)
        decisions = self._take_snapshots(decisions)
        self.context.checkpoint("snapshot-taken")
        facts: dict[str, SnapshotFacts] = {}
        decisions = self._together(lambda names: facts.update(zfs.described(names)), decisions)
        decisions = self._together(lambda names: zfs.hold_all(names, tag), decisions)
        works = []
        for decision in decisions:
            snapshot, properties = facts[decision.snapshot_name].snapshot, facts[decision.snapshot_name].properties
            progress = self._progress_for(decision.survey.dataset.name)
            with self._failing_alone(decision.survey.dataset.name, progress):
                self.context.checkpoint("snapshot-held")
                estimate = estimate_stream(self.context, decision, snapshot)
                limits = sizes_for(self.context, decision, estimate)
                journal = decision.journal or self._datasets.new_journal(identity, decision, snapshot, limits.part_size)
                if not self.task.take_snapshot:
                    zfs.release(snapshot.name, self.task.hold_tag)
                stays = decision.snapshot is None and not snapshot.ours and self.context.config.keep_snapshots != ALL
                told = decision.with_warnings([unmarked(snapshot.name)] if stays else [])
                works.append(Work(told, snapshot, properties, journal, progress, estimate, limits))
        return works

    def _take_snapshots(self, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Take all missing snapshots at one instant, or none. Return the decisions whose snapshot exists."""
        missing = [decision for decision in decisions if decision.snapshot is None]
        try:
            if missing:
                self.context.zfs.take_snapshots([decision.snapshot_name for decision in missing])
        except Exception as error:  # noqa: BLE001 - those whose snapshot exists can be sent all the same
            for decision in missing:
                self._failed(decision.survey.dataset.name, explained(error))
            return [decision for decision in decisions if decision.snapshot]
        return decisions

    def _together(self, action: Callable[[Sequence[str]], None], decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Apply ``action`` to all snapshots at once. If that fails, apply it to each alone, so that one bad snapshot
        does not stop the others. Return the decisions for which it worked."""
        if len(decisions) > 1:
            with suppress(Exception):
                action([decision.snapshot_name for decision in decisions])
                return decisions
        done = []
        for decision in decisions:
            with self._failing_alone(decision.survey.dataset.name):
                action([decision.snapshot_name])
                done.append(decision)
        return done
