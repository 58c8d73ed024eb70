# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes the backups that no rule keeps (docs/format.md, "Retirement"): first a signed record names them, then they
are deleted: manifests, lists of parts, parts. Killed anywhere, the next run finishes: what this signer's records name
and is still there is to be removed. So is what is there of backups that were never finished and that no run goes on
with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from ...config.key_files import read_signing_key
from ...config.tasks import covered_by_any, policies_for
from ...errors import ConfigError, EngineError, LocalStateError, Locked, StoreError, StoreUnavailable, explained
from ...plan.chain import next_place
from ...plan.retention import SeriesPlan
from ...repository.retirement import RecordWriter
from ...seal.signing import SigningKey
from ...state.highest_seen import remember
from ...state.journal import Journal, JournalDamaged, journals_in
from ...state.locks import DatasetLocks, dataset_locks, dataset_state_dir
from ...store.open_store import open_remover
from ...store.protocol import Remover, Store, StoredObject
from ...values.config import Config, Task
from ...values.repository_names import BackupId, Series, encode_component, parse_series
from ..context import Context
from .listing import parts_below
from .results import CleanupOutcome, CleanupPlan
from .survey import Remains, Survey, survey
from .unfinished import LeftUpload

ALL_HOSTS = "*"
_BATCH = 1000
_MOST_REASON = 200


def plan_cleanup(
    context: Context, *, tasks: Sequence[Task] = (), host: str | None = None, pay_early_deletion: bool = False
) -> CleanupPlan:
    """Plan what :func:`clean_up` would do now. Changes nothing."""
    signing_key = _signing_key(context)
    with closing(context.store_to_look_at()) as store:
        return _survey(
            context, store, signing_key, tasks=tasks, host=host, pay_early_deletion=pay_early_deletion, busy={}
        ).plan


def clean_up(
    context: Context,
    *,
    tasks: Sequence[Task] = (),
    host: str | None = None,
    pay_early_deletion: bool = False,
    max_removals: int | None = None,
    open_remover: Callable[[Config], Remover] = open_remover,
) -> CleanupOutcome:
    """Remove what the plan says. ``tasks`` limits it to their datasets; ``host`` names another machine than this one,
    or all with ``*``. A series that fails does not stop the others: the outcome names it.

    ``open_remover`` opens what may delete; a context has nothing that could. Raises ``RemovalsUnconfirmed``, and errors
    that concern everything (key, configuration, the repository).
    """
    signing_key = _signing_key(context)
    with closing(context.patient_store()) as store, dataset_locks(context.base_dir) as locks:
        busy = _lock(context, store, locks, tasks, host)
        found = _survey(
            context, store, signing_key, tasks=tasks, host=host, pay_early_deletion=pay_early_deletion, busy=busy
        )
        found.plan.check_confirmed(max_removals)
        _remember(context, found)
        with closing(open_remover(context.config)) as remover:
            return _CleanupRun(context, store, remover, signing_key, found).run()


def _survey(
    context: Context,
    store: Store,
    signing_key: SigningKey,
    *,
    tasks: Sequence[Task],
    host: str | None,
    pay_early_deletion: bool,
    busy: dict[Series, EngineError],
) -> Survey:
    return survey(
        context,
        store,
        tasks=tasks,
        host=None if host == ALL_HOSTS else host or context.config.host,
        signer=signing_key.public,
        pay_early_deletion=pay_early_deletion,
        busy=busy,
    )


def _signing_key(context: Context) -> SigningKey:
    path = context.config.signing_key
    if path is None:
        raise ConfigError(
            "The configuration names no signing_key, but what a cleanup removes is named in a signed record",
            subject="signing_key",
            next_step="Make one with `zrb signing-key --output /etc/zrb/signing.key`, name it in the configuration, "
            "and let the machines that back up trust it (`trusted_signers`)",
        )
    return read_signing_key(Path(path))


def _lock(
    context: Context, store: Store, locks: DatasetLocks, tasks: Sequence[Task], host: str | None
) -> dict[Series, EngineError]:
    """Lock the datasets of this machine before looking at them, so that no backup here chooses a base that goes. Return
    those that are in use, and why. A backup elsewhere looks itself before it commits."""
    own = context.config.host
    if host not in (None, own, ALL_HOSTS):
        return {}
    busy: dict[Series, EngineError] = {}
    for series in _listed_series(store, own):
        if covered_by_any(tasks, series.dataset) and policies_for(context.config, series.dataset):
            try:
                locks.take(series.dataset)
                _check_no_journal(context, series.dataset)
            except EngineError as error:
                busy[series] = error
    return busy


def _remember(context: Context, found: Survey) -> None:
    """Remember what was there, so that this machine notices next time what has vanished. Raises
    :class:`LocalStateError`."""
    for plan in found.plan.series:
        catalogue = found.catalogues[plan.series]
        if catalogue.identity is not None:
            repository_id = catalogue.identity.repository_id
            context.remember_repository(repository_id)
            newest = next_place(catalogue.manifests, catalogue.retired(plan.series))[0] - 1
            try:
                remember(context.base_dir, repository_id, plan.series, newest)
            except OSError as error:
                raise LocalStateError(
                    f"What is there of {plan.series.dataset} could not be remembered",
                    subject=str(context.base_dir),
                    answer=error.strerror or str(error),
                    next_step="Nothing was changed. Make base_dir writable, free some space, and run the same again",
                ) from error


def _listed_series(store: Store, host: str) -> list[Series]:
    found = set()
    for item in store.list(f"manifests/{encode_component(host)}/"):
        try:
            found.add(parse_series(item.key))
        except EngineError:
            continue  # the survey says what it is
    return sorted(found, key=lambda one: one.dataset)


def _check_no_journal(context: Context, dataset: str) -> None:
    for path in journals_in(dataset_state_dir(context.base_dir, dataset)):
        try:
            if Journal.load(path).binding.repository_id != context.known_id:
                continue
        except JournalDamaged:
            pass
        raise Locked(
            f"An unfinished backup of {dataset} may need what a cleanup removes",
            subject=dataset,
            next_step="Run that backup again: it is finished, or given up. Then run the same command again",
        )


class _CleanupRun:
    """One run, which may change things."""

    def __init__(
        self, context: Context, store: Store, remover: Remover, signing_key: SigningKey, found: Survey
    ) -> None:
        self._context = context
        self._store = store
        self._remover = remover
        self._found = found
        self._writer = RecordWriter(
            store, self._remove_one, signing_key, storage_class=context.config.storage_classes.manifest
        )
        self._removed: list[BackupId] = []
        self._objects = 0
        self._hidden = 0
        self._refused_uploads: list[StoreError] = []

    def run(self) -> CleanupOutcome:
        """Clean up one series after the other."""
        context, plan = self._context, self._found.plan
        context.progress.start("cleanup", total=None, message=f"{plan.removals} backups in {self._store.location}")
        failures: list[tuple[Series, EngineError]] = []
        for one in plan.series:
            try:
                self._clean(one)
            except Exception as error:  # noqa: BLE001 - a bug that one series triggers must not stop the others
                failures.append((one.series, explained(error)))
        outcome = CleanupOutcome(plan, tuple(self._removed), self._objects, tuple(failures), tuple(self._warnings()))
        context.progress.finish(
            status="failed" if failures else "warning" if outcome.warnings else "ok",
            result={"removed": self._removed, "objects": self._objects},
        )
        return outcome

    def _warnings(self) -> Iterator[str]:
        if self._hidden:
            yield (
                f"{self._hidden} objects are only hidden: the bucket keeps what is deleted as older versions. A "
                "lifecycle rule that removes noncurrent versions frees their bytes."
            )
        if self._refused_uploads:
            yield f"{len(self._refused_uploads)} unfinished upload(s) stay. {self._refused_uploads[0].explain()}"
        yield from self._found.plan.warnings

    def _clean(self, plan: SeriesPlan) -> None:
        context, series = self._context, plan.series
        # The youngest first: whoever does not know the record sees no backup without its base.
        leaving = sorted((one.manifest for one in plan.removals), key=lambda one: one.seq, reverse=True)
        if leaving:
            self._writer.retire(
                self._found.catalogues[series],
                series,
                [one.backup_id for one in leaving],
                reason=plan.policy[:_MOST_REASON],
                now=context.clock(),
            )
            self._removed += [one.backup_id for one in leaving]
            context.checkpoint("retired")
        remains = [*(Remains.of(series, one.backup_id) for one in leaving), *self._found.remains.get(series, ())]
        self._remove([key for one in remains for key in one.manifest_keys])
        self._remove([key for one in remains for key in one.part_list_keys])
        self._remove_all(
            item for one in remains if one.data_prefix for item in parts_below(self._store, one.data_prefix)
        )
        for unfinished in self._found.plan.abandoned(series):
            if unfinished.is_as_it_was(self._store):
                self._remove_all(unfinished.there(self._store))
        for left in self._found.plan.ended_uploads:
            if left.series == series and left.is_as_it_was(self._store):
                self._end(left)

    def _end(self, left: LeftUpload) -> None:
        try:
            self._store.abort_upload(left.upload.key, left.upload.upload_id)
        except StoreUnavailable:
            raise
        except StoreError as error:
            self._refused_uploads.append(error)
        else:
            self._objects += 1

    def _remove_all(self, items: Iterable[StoredObject]) -> None:
        batch: list[str] = []
        for item in items:
            batch.append(item.key)
            if len(batch) == _BATCH:
                self._remove(batch)
                batch = []
        self._remove(batch)

    def _remove_one(self, key: str) -> None:
        self._remove([key])

    def _remove(self, keys: list[str]) -> None:
        if not keys:
            return
        done = self._remover.remove(keys)
        self._objects += len(keys) - len(done.failures)
        self._hidden += done.hidden
        for failure in done.failures:
            raise failure
        self._context.checkpoint("removed")
