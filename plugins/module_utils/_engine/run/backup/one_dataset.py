# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backs up one dataset whose snapshot is taken and held: sends it, lists its parts, commits."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ObjectExists, StreamNotReproducible
from ...plan.buffer_layout import plan_backup_buffers
from ...plan.part_proof import check_part_count
from ...report.logs import Logged
from ...repository.identity import RepositoryIdentity
from ...seal.age import AgeSealer
from ...seal.signing import SigningKey
from ...state.journal import Journal
from ...state.locks import dataset_state_dir
from ...state.pending_snapshot import clear_pending
from ...store.protocol import Store
from ...stream.backup_pipeline import BackupPipeline, StoredStream
from ...stream.bandwidth import Bandwidth
from ...stream.first_failure import Failure
from ...stream.part_uploads import Destination
from ...stream.threads import usable_cores
from ...values.config import Limits, Task
from ...values.manifest import PartsSummary
from ...values.progress import Progress
from ...values.repository_names import BackupId
from ...values.zfs import Snapshot
from ..context import Context
from .commit import (
    build_manifest,
    check_stream_edges,
    commit,
    finish_commit,
    list_parts,
    rehearse_manifest,
    sign_manifest,
)
from .recovery import give_up
from .results import BackupResult
from .survey import Decision, Survey, binding_for


@dataclass(frozen=True, slots=True)
class Work:
    """One dataset of a run, ready to be sent."""

    decision: Decision
    snapshot: Snapshot
    properties: dict[str, str]
    journal: Journal
    progress: Logged
    estimate: int | None
    """Bytes of the stream, if known."""
    limits: Limits
    """With the sizes of this backup."""

    @property
    def survey(self) -> Survey:
        return self.decision.survey

    @property
    def dataset(self) -> str:
        """Its full name."""
        return self.survey.dataset.name

    @property
    def is_small(self) -> bool:
        """Whether the stream is known to fit into one request."""
        return self.estimate is not None and self.estimate <= self.limits.chunk_size // 2


@dataclass(frozen=True, slots=True)
class DatasetBackup:
    """Backs up the datasets of one run of ``task``, which fails as a whole by ``end``."""

    context: Context
    store: Store
    signing_key: SigningKey
    sealer: AgeSealer
    bandwidth: Bandwidth
    task: Task
    job: dict[str, str]
    end: Failure

    def new_journal(
        self, identity: RepositoryIdentity, decision: Decision, snapshot: Snapshot, part_size: int
    ) -> Journal:
        """Begin a backup of ``snapshot``."""
        binding = binding_for(
            self.context,
            identity,
            decision.survey,
            decision.choice,
            snapshot=snapshot,
            level_requested=decision.level_requested,
            part_size=part_size,
        )
        directory = state_dir(self.context, decision)
        journal = Journal.create(directory, binding)
        clear_pending(directory)
        self.context.checkpoint("journal-created")
        return journal

    def back_up(self, identity: RepositoryIdentity, work: Work) -> BackupResult:
        """Store the stream, and commit it. Raises what went wrong; the journal stays then, for the next run."""
        started = time.monotonic()
        work.progress.start(
            "backup",
            total=work.estimate,
            message=f"{work.journal.binding.backup_id} of {work.snapshot.name} to {self.store.location}",
        )
        if work.estimate is not None:
            check_part_count(work.estimate, work.journal.binding.part_size)
        for sentence in work.decision.warnings:
            if sentence:
                work.progress.log(sentence, level="warning")
        rehearse_manifest(
            self.context, work.survey, work.journal.binding, work.snapshot, properties=work.properties, job=self.job
        )
        try:
            stored, parts = self._store(work)
        except (StreamNotReproducible, ObjectExists) as error:
            if work.decision.journal is None:
                raise
            work.progress.log(f"The interrupted backup cannot be continued. {error.explain()}", level="warning")
            give_up(self.store, work.journal, work.progress)
            journal = self.new_journal(identity, work.decision, work.snapshot, work.limits.part_size)
            work = replace(work, journal=journal)
            stored, parts = self._store(work)
        return self._commit(work, stored, parts, started)

    def _store(self, work: Work) -> tuple[StoredStream, PartsSummary]:
        """Store the stream, and the list of its parts."""
        binding, journal = work.journal.binding, work.journal
        if gone := journal.reconcile(self.store, work.progress):
            work.progress.log(
                f"{gone} stored parts are no longer in the repository and are sent again. Look for a lifecycle rule, "
                "or for somebody who deletes objects.",
                level="warning",
            )
        if journal.stored_parts:
            work.progress.log(f"Resuming {binding.backup_id}: {journal.stored_parts} parts are stored already")
        moved = _Moved(work.progress, work.estimate)
        series, backup_id = work.survey.series, BackupId(binding.backup_id)
        destination = Destination(
            store=self.store,
            key_of=lambda index: series.part_key(backup_id, binding.level, index),
            storage_class=binding.storage_class,
            part_size=binding.part_size,
            ledger=journal,
            moved=moved.add,
        )
        pipeline = BackupPipeline(
            plan_backup_buffers(work.limits, cores=usable_cores(), stream_bytes=work.estimate),
            sealer=self.sealer,
            uploaders=work.limits.workers,
            bandwidth=self.bandwidth,
            proof=work.limits.proof,
            within=self.end,
        )
        send = self.context.zfs.send(work.snapshot.name, base=work.decision.choice.base_source, flags=binding.flags)

        def at_end(head: bytes, tail: bytes) -> None:
            send.wait()
            check_stream_edges(binding, head, tail)

        try:
            stored = pipeline.store_stream(send.fileno(), destination, at_end=at_end)
        except BaseException:
            send.kill()
            raise
        self.context.checkpoint("stream-stored")
        parts = list_parts(self.context, self.store, journal, stored)
        self.context.checkpoint("parts-listed")
        return stored, parts

    def _commit(self, work: Work, stored: StoredStream, parts: PartsSummary, started: float) -> BackupResult:
        context, survey = self.context, work.survey
        work.progress.advance("commit", current=stored.stream_bytes, total=stored.stream_bytes)
        manifest = build_manifest(
            context,
            survey,
            work.journal.binding,
            work.snapshot,
            stored,
            parts,
            properties=work.properties,
            job=self.job,
        )
        try:
            envelope = sign_manifest(context, self.signing_key, manifest)
            key = commit(context, self.store, survey, manifest, envelope)
        except ObjectExists:
            # Something else took this id, so resuming would only end here again.
            give_up(self.store, work.journal, work.progress)
            raise
        # The survey is older than the snapshot that this run took, and older than its hold.
        held = replace(work.snapshot, user_holds=max(1, work.snapshot.user_holds))
        others = (one for one in survey.snapshots if one.guid != held.guid)
        survey = replace(survey, snapshots=(*others, held))
        warnings = [*work.decision.warnings, *finish_commit(context, survey, manifest.summary, work.journal)]
        warnings += work.progress.warnings
        result = BackupResult(
            task=self.task.name,
            manifest=manifest,
            manifest_key=key,
            reason=work.journal.binding.reason,
            parts_resumed=stored.parts_resumed,
            storage_class=work.journal.binding.storage_class,
            location=self.store.location,
            duration_s=time.monotonic() - started,
            warnings=tuple(warnings),
        )
        work.progress.finish(status="warning" if warnings else "ok", result=result.as_json())
        return result


class _Moved:
    """Counts the bytes that have arrived, for the progress of one stream."""

    def __init__(self, progress: Progress, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._lock = threading.Lock()
        self._bytes = 0

    def add(self, count: int) -> None:
        """``count`` more bytes arrived."""
        with self._lock:
            self._bytes += count
            self._progress.advance("upload", current=self._bytes, total=self._total)


def state_dir(context: Context, decision: Decision) -> Path:
    """Where the state of the dataset is."""
    return dataset_state_dir(context.base_dir, decision.survey.dataset.name)
