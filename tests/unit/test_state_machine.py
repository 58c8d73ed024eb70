# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Anything may happen, in any order: what must hold after every step (docs/reliability.md, "Invariants").

Two machines back up into one repository, two tasks on each for the same dataset. They clean up by policies that change,
and so does a third one, whose key is another. Runs are killed at any call, the store loses and damages objects and
denies requests, the repository is wiped, exchanged for another or set back, clocks jump, snapshots are destroyed.
``ZRB_TEST_STEPS`` says how many steps are taken; `make test-long` takes 100,000.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from zrb.config.key_files import read_signing_key
from zrb.errors import BackupsVanished, EngineError, ManifestInvalid, RepositoryChanged, StoreDenied
from zrb.plan import chain
from zrb.plan.level_choice import base_candidates
from zrb.repository.catalogue import Catalogue, read_catalogue
from zrb.repository.part_list import open_part_list
from zrb.repository.retirement import RecordWriter
from zrb.repository.signed_objects import read_manifest
from zrb.run.cleanup import CleanupPlan, plan_cleanup
from zrb.run.list import list_backups
from zrb.run.restore import RestoreSelection, restore
from zrb.run.verify import verify
from zrb.state.journal import Journal
from zrb.values.config import KIB
from zrb.values.manifest import Manifest
from zrb.values.retention import Retention

from tests.fakes.fleet import DATASET
from tests.fakes.machine import Machine
from tests.fakes.store import MemoryStore

STEPS = int(os.environ.get("ZRB_TEST_STEPS", "1200"))
STEPS_OF_A_LIFE = 20
MOMENTS = st.one_of(st.none(), st.integers(min_value=1, max_value=120))
"""When a run is killed; most have some eighty moments."""
NUMBERS = st.integers(min_value=0, max_value=1)
LEVELS = st.sampled_from((0, 0, 0, 1, 1, 2, 3, 4))
SEEDS = st.integers(min_value=0, max_value=9)
"""Of what is written before a backup; 0 for nothing."""
NTH = st.integers(min_value=0, max_value=1 << 16)
"""Which of those that there are. Threads decide how many that is, so that nothing is drawn from them."""
OPERATIONS = ("put", "open_upload", "put_chunk", "complete", "holds", "head", "get", "read_into", "list")
POLICIES = st.one_of(
    st.just(Retention()),
    st.builds(Retention, keep_last=st.integers(min_value=1, max_value=3)),
    st.builds(Retention, keep_daily=st.integers(min_value=1, max_value=2)),
)
BACKUP_ID = re.compile(r"\d{8}T\d{6}Z-L\d-[0-9a-f]{8}")
LOSSES = (RepositoryChanged, BackupsVanished)
"""What a run may end with until somebody accepts it by hand."""


class AnythingMayHappen(RuleBasedStateMachine):
    """See the head of this file."""

    @initialize()
    def begin(self) -> None:
        """A repository of nobody, two machines with data, and one that only cleans up."""
        self.root = Path(tempfile.mkdtemp(prefix="zrbtest-machine-"))
        self.store = MemoryStore()
        self.cleaners = [
            Machine(self.root / host, host, self.store, number=number)
            for number, host in enumerate(("nas1", "nas2", "management"), start=1)
        ]
        self.machines = self.cleaners[:2]
        signers = tuple(signer for machine in self.cleaners for signer in machine.fleet.context().trusted_signers())
        for machine in self.cleaners:
            machine.fleet.change_config(trusted_signers=signers)
        self.former: list[MemoryStore] = []
        self.readings: dict[str, tuple[dict[str, bytes], Catalogue, list[Manifest]]] = {}
        self.retired: set[str] = set()
        """Ids of backups that a record named that is still there, or that others have replaced."""
        self.damaged: set[str] = set()
        self.rotten: set[str] = set()
        """What the store still describes as it was: only who reads it can know."""

    def use(self, store: MemoryStore) -> None:
        """From now on this is what lies at the destination."""
        self.store = store
        self.retired.clear()
        for machine in self.cleaners:
            machine.fleet.store = store

    @contextmanager
    def on_a_copy(self, machine: Machine) -> Iterator[None]:
        """Let ``machine`` work on a copy of the repository that has no faults, in no time."""
        now, machine.fleet.store = machine.fleet.now, _copy(self.store)
        try:
            yield
        finally:
            machine.fleet.now, machine.fleet.store = now, self.store

    # --- what people do -----------------------------------------------------------------------------------

    @rule(number=NUMBERS, task=NUMBERS, level=LEVELS, seed=SEEDS, killed_at=MOMENTS)
    def back_up(self, number: int, task: int, level: int, seed: int, killed_at: int | None) -> None:
        """What is called a success is one: the bytes are there, and they are those that were to be stored."""
        machine = self.machines[number]
        if seed:
            machine.fleet.write(seed, length=(160, 200, 330)[seed % 3] * KIB)
        results, _errors = machine.back_up(machine.tasks[task], level, killed_at=killed_at)
        for result in results:
            (manifest,) = [one for one in self.manifests(machine) if one.backup_id == result.manifest.backup_id]
            self.check_parts(machine, manifest)

    @rule(number=NUMBERS, level=LEVELS, seed=SEEDS, killed_at=st.integers(40, 90))
    def interrupt(self, number: int, level: int, seed: int, killed_at: int) -> None:
        """A run is killed while it stores parts."""
        self.back_up(number, 0, level, seed, killed_at)

    @rule(number=NUMBERS, depth=st.sampled_from(("signature", "exists", "checksum", "decrypt")))
    def verify(self, number: int, depth: Any) -> None:
        """What is damaged and looked at is found."""
        machine = self.machines[number]
        identities = [machine.fleet.identity] if depth == "decrypt" else []
        try:
            report = machine.run(lambda context: verify(context, depth=depth, identities=identities))
        except EngineError:
            return
        if depth in {"checksum", "decrypt"} and not report.problems:
            for manifest in self.manifests(machine):
                assert not self.damaged & self.keys_of(machine, manifest), manifest.backup_id

    @rule(number=NUMBERS, killed_at=MOMENTS)
    def restore_newest(self, number: int, killed_at: int | None) -> None:
        """What is restored is the youngest that can be, with the content that it had; or an error says why not."""
        machine = self.machines[number]
        usable = bool(self.manifests(machine)) and not self.store.has_faults
        try:
            restored = self.restore(machine, killed_at=killed_at)
        except EngineError:
            assert self.damaged or not usable, "everything that is listed is whole"
            return
        if restored is None:
            return
        youngest = max(self.manifests(machine), key=lambda manifest: manifest.snapshot.createtxg)
        assert restored == machine.contents[youngest.snapshot.guid]

    def restore(self, machine: Machine, *, killed_at: int | None = None, **which: Any) -> bytes | None:
        """The content of the newest backup, or of the one that is asked for; ``None`` if the run was killed."""
        machine.targets += 1
        target = f"tank/restore/copy{machine.targets}"
        selection = RestoreSelection(dataset=DATASET, target=target, **which)
        identities = [machine.fleet.identity]

        def action(context: Any) -> Any:
            return restore(context, selection, identities=identities, trusted=context.trusted_signers())

        result = machine.run(action, killed_at=killed_at)
        return None if result is None else machine.fleet.zfs.content(target)

    @rule(
        number=st.integers(min_value=0, max_value=2),
        host=st.sampled_from(("nas1", "nas2", "*")),
        levels=st.lists(LEVELS, max_size=3),
        policy=POLICIES,
        denied=st.booleans(),
        killed_at=MOMENTS,
        nth=NTH,
    )
    def clean_up(
        self,
        number: int,
        host: str,
        levels: Sequence[int],
        policy: Retention,
        denied: bool,
        killed_at: int | None,
        nth: int,
    ) -> None:
        """After some backups. What goes, the plan said, and a record with the own key names; what it keeps is as it
        was, and restores; and nothing goes a second time."""
        for seed, level in enumerate(levels, start=nth % 5):
            self.back_up(host == "nas2", 0, level, seed, None)
        cleaner = self.cleaners[number]
        cleaner.fleet.change_config(retention=policy)
        if number == 2:
            cleaner.fleet.now = max(machine.fleet.now for machine in self.cleaners)
        before, own_before = self.store.contents, self.retired_by(cleaner)
        plan = self.plan_of(cleaner, host)
        if denied:
            self.store.denied.add("delete")
        try:
            outcome = cleaner.clean_up(host=host, killed_at=killed_at)
        except EngineError:
            outcome = None
        self.store.denied.discard("delete")
        leaving = {one.manifest.backup_id for series in plan.series for one in series.removals} if plan else set()
        assert self.retired_by(cleaner) - own_before <= leaving
        self.check_what_is_gone(cleaner, before)
        if plan:
            self.check_what_stays(plan, nth)
        if outcome and not outcome.exit_code:
            again = self.plan_of(cleaner, host)
            assert again
            assert (again.removals, again.remains, again.refused) == (0, 0, ())

    @rule(number=NUMBERS, signer=st.integers(min_value=0, max_value=2), nth=NTH)
    def retire(self, number: int, signer: int, nth: int) -> None:
        """Somebody with any of the keys retires a backup and what needs it, and removes nothing."""
        manifests = self.manifests(self.machines[number])
        if not manifests:
            return
        chosen = {manifests[nth % len(manifests)].backup_id}
        for manifest in sorted(manifests, key=lambda one: one.level):
            if manifest.base and manifest.base.backup_id in chosen:
                chosen.add(manifest.backup_id)
        key = read_signing_key(self.cleaners[signer].fleet.signing_key)
        with suppress(EngineError):
            RecordWriter(self.store, self.store.remove, key).retire(
                self.catalogue(self.machines[number]),
                manifests[0].series,
                chosen,
                reason="by hand",
                now=self.machines[number].fleet.now,
            )

    @rule(number=NUMBERS)
    def accept(self, number: int) -> None:
        """Somebody looked at the losses and goes on with what is there."""
        machine = self.machines[number]
        with suppress(EngineError):
            machine.accept()

    # --- what happens to them -----------------------------------------------------------------------------

    @rule(nth=NTH, how=st.sampled_from(("remove", "corrupt", "truncate", "replace")), unfinished=st.booleans())
    def lose_object(self, nth: int, how: str, unfinished: bool) -> None:
        """The store loses an object, or changes it: one of a backup that is not committed yet, or any."""
        keys = self.store.keys
        if unfinished:
            committed = {
                key
                for machine in self.machines
                for one in self.manifests(machine)
                for key in self.keys_of(machine, one)
            }
            keys = [key for key in keys if key.startswith("data/") and key not in committed]
        if not keys:
            return
        key = keys[nth % len(keys)]
        self.damaged.add(key)
        if key.endswith(".record"):
            self.retired.clear()  # what it alone named is no longer retired
        if how == "remove":
            self.store.remove(key)
        elif how == "truncate":
            self.store.truncate(key, 7)
        elif how == "replace":
            self.store.replace(key, bytes(len(_copy(self.store).get(key, limit=1 << 30))))
        else:
            self.store.corrupt(key)
            self.rotten.add(key)

    @rule(operation=st.sampled_from(OPERATIONS), nth=st.integers(1, 9), lost=st.booleans(), denied=st.booleans())
    def fail(self, operation: Any, nth: int, lost: bool, denied: bool) -> None:
        """A request that comes fails, or its reply is lost."""
        if lost:
            self.store.lose_reply(operation, nth=nth)
        else:
            error = StoreDenied("Not for you", subject="fake", next_step="Expect it") if denied else None
            self.store.fail(operation, nth=nth, error=error)

    @rule(how=st.sampled_from(("identity", "identity", "wipe", "remember", "set back", "deny")))
    def change_repository(self, how: str) -> None:
        """Its one unsigned object is lost; another repository is there, or an older state of this one; these
        credentials may never abort an upload, which is a right that a backup does not need."""
        if how not in {"remember", "deny"}:
            self.damaged.add("zrb.json")  # what is there is not what the machines know, and they say so
        if how == "identity" and "zrb.json" in self.store.keys:
            self.store.remove("zrb.json")
        elif how == "wipe":
            self.use(MemoryStore())
        elif how == "remember":
            self.former.append(_copy(self.store))
        elif how == "deny":
            self.store.denied.add("abort_upload")
        elif self.former:
            self.use(_copy(self.former[-1]))

    @rule(number=NUMBERS, how=st.sampled_from(("clock", "destroy", "rename", "take", "memory")), nth=NTH)
    def change_machine(self, number: int, how: str, nth: int) -> None:
        """Somebody sets its clock, destroys or renames a snapshot that nothing holds, or takes one like ours.
        Or it is set up again and its dataset received from elsewhere: no hold, nothing remembered."""
        machine = self.machines[number]
        zfs = machine.fleet.zfs
        if how == "clock":
            machine.fleet.now += timedelta(hours=nth % 97 - 48)
            zfs.now += timedelta(hours=nth % 97 - 48)
        elif how == "take":
            name = f"{DATASET}@zrb_level{nth % 5}_{machine.fleet.clock():%Y%m%dT%H%M%SZ}"
            if not zfs.exists(name):
                machine.foreign.add(zfs.take_foreign(name).guid)
        elif how != "memory":
            free = [one for one in zfs.snapshots(DATASET) if one.ours and not one.user_holds]
            if free and how == "destroy":
                zfs.destroy_snapshot(free[nth % len(free)].name)
            elif free:
                zfs.rename_snapshot(free[nth % len(free)].name, f"{DATASET}@kept{len(machine.foreign)}")
                machine.foreign.add(free[nth % len(free)].guid)
        else:
            shutil.rmtree(machine.state, ignore_errors=True)
            for snapshot in zfs.snapshots(DATASET):
                for tag in zfs.tags(snapshot.name):
                    zfs.release(snapshot.name, tag)

    # --- what holds after every step ----------------------------------------------------------------------

    @invariant()
    def listed_as_complete_is_complete(self) -> None:
        """Every part of what the list calls complete is there, in every link. Nothing is missed that nobody lost."""
        for machine in getattr(self, "machines", ()):
            with self.on_a_copy(machine):
                try:
                    listing = list_backups(machine.fleet.context())
                except EngineError:
                    continue
            assert self.damaged or not listing.problems
            manifests = {manifest.backup_id: manifest for manifest in self.manifests(machine)}
            for entry in listing.entries:
                manifest = manifests.get(entry.backup_id)
                if entry.complete and manifest and manifest.parts.key not in self.damaged:
                    assert self.keys_of(machine, manifest) <= set(self.store.keys)

    @invariant()
    def what_is_not_ours_stays(self) -> None:
        for machine in getattr(self, "machines", ()):
            assert machine.foreign <= {snapshot.guid for snapshot in machine.fleet.zfs.snapshots(DATASET)}

    @invariant()
    def what_is_whole_is_known(self) -> None:
        """No signed manifest is refused that is as it was written."""
        for machine in getattr(self, "machines", ()):
            catalogue = self.catalogue(machine)
            known = {entry.key for entry in catalogue.manifests}
            for series, backups in catalogue.retired_backups.items():
                known |= {series.manifest_key(one.backup_id) for one in backups}
            prefix = f"manifests/{machine.fleet.config.host}/"
            there = {key for key in self.store.keys if key.startswith(prefix) and key.endswith(".json")}
            assert there - self.damaged <= known

    @invariant()
    def what_is_retired_does_not_come_back(self) -> None:
        """However records are merged. And what is listed has its base."""
        for machine in getattr(self, "machines", ()):
            listed = {manifest.backup_id: manifest for manifest in self.manifests(machine)}
            assert not self.retired & listed.keys()
            for manifest in listed.values():
                if manifest.base and manifest.base.backup_id not in listed:
                    assert manifest.series.manifest_key(manifest.base.backup_id) in self.damaged
            retired = self.catalogue(machine).retired_backups.values()
            self.retired |= {one.backup_id for backups in retired for one in backups}

    @invariant()
    def the_newest_backup_has_the_youngest_data(self) -> None:
        """Whatever was committed last."""
        for machine in getattr(self, "machines", ()):
            if manifests := self.manifests(machine):
                newest = chain.select_backup(manifests)
                assert newest.snapshot.createtxg == max(one.snapshot.createtxg for one in manifests)

    def teardown(self) -> None:
        """Nothing is blocked for ever: without any more faults, and with the losses accepted, every task backs up, what
        it backed up restores, and what is held has an owner."""
        try:
            for machine in getattr(self, "machines", ()):
                self.check_way_out(machine)
        finally:
            shutil.rmtree(getattr(self, "root", Path("/nonexistent")), ignore_errors=True)

    def check_way_out(self, machine: Machine) -> None:
        """See :meth:`teardown`."""
        self.use(_copy(self.store))
        for task in machine.tasks:
            results, errors = machine.back_up(task, 0)
            if any(isinstance(error, ManifestInvalid) and error.subject == "zrb.json" for error in errors):
                self.store.remove("zrb.json")
                results, errors = machine.back_up(task, 0)
            if any(isinstance(error, LOSSES) for error in errors):
                self.accept_all(machine)
                results, errors = machine.back_up(task, 0)
            for error in errors:
                raise error
        (result,) = results
        assert self.restore(machine, backup_id=result.manifest.backup_id) == machine.fleet.zfs.content(DATASET)
        needed = {manifest.snapshot.guid for manifest in base_candidates(self.manifests(machine))}
        bound = {Journal.load(path).binding.snapshot for path in machine.state.rglob("*.journal")}
        readable = not self.catalogue(machine).problems  # a hold of what cannot be read stays until it is gone
        for snapshot in machine.fleet.zfs.snapshots(DATASET):
            if machine.fleet.zfs.tags(snapshot.name) and readable:
                assert snapshot.guid in needed or snapshot.name in bound, f"{snapshot.name} is held for nobody"

    def plan_of(self, cleaner: Machine, host: str) -> CleanupPlan | None:
        """What a cleanup would do if nothing came in between; ``None`` if it would refuse everything."""
        with self.on_a_copy(cleaner):
            try:
                return plan_cleanup(cleaner.fleet.context(), host=host)
            except EngineError:
                return None

    def check_what_is_gone(self, cleaner: Machine, before: dict[str, bytes]) -> None:
        """A cleanup writes records, and removes nothing but what its own records name, and records that it replaced;
        nor does it take the base from what only another key retired."""
        own, now = self.retired_by(cleaner), self.store.contents
        assert all(key.endswith(".record") for key in now.keys() - before.keys())
        assert all(now[key] == before[key] for key in now.keys() & before.keys())
        for key in before.keys() - now.keys():
            if not key.endswith(".record"):
                assert set(BACKUP_ID.findall(key)) <= own, key
        if any(key.endswith(".record") for key in self.damaged):
            return
        trusted = cleaner.fleet.context().trusted_signers()
        for hidden in read_catalogue(_copy(self.store), trusted=trusted).hidden:
            base = hidden.manifest.base
            if base and hidden.manifest.backup_id not in own:
                key = hidden.manifest.series.manifest_key(base.backup_id)
                assert key in now or key not in before

    def check_what_stays(self, plan: CleanupPlan, nth: int) -> None:
        """One of the backups that ``plan`` keeps restores to what it was made of."""
        kept = [one.manifest for series in plan.series for one in series.backups if one.fate != "remove"]
        if not kept:
            return
        chosen = kept[nth % len(kept)]
        machine = next(one for one in self.machines if one.fleet.config.host == chosen.series.host)
        with self.on_a_copy(machine):
            try:
                restored = self.restore(machine, backup_id=chosen.backup_id)
            except EngineError:
                assert self.damaged, "what stays is whole"
                return
        assert restored == machine.contents[chosen.snapshot.guid]

    def accept_all(self, machine: Machine) -> None:
        """Accept what is there. If neither the identity nor one manifest can be read, what is damaged goes first."""
        try:
            machine.accept()
        except RepositoryChanged:
            for problem in read_catalogue(self.store, trusted=machine.fleet.context().trusted_signers()).problems:
                if problem.subject in self.damaged:
                    self.store.remove(problem.subject)
            machine.accept()

    # --- what is true -------------------------------------------------------------------------------------

    def read(self, machine: Machine) -> tuple[Catalogue, list[Manifest]]:
        """What the machine would believe, read past all faults, and again only if the repository has changed."""
        host, contents = machine.fleet.config.host, self.store.contents
        before = self.readings.get(host)
        if before is None or before[0] != contents:
            store = _copy(self.store)
            catalogue = read_catalogue(store, trusted=machine.fleet.context().trusted_signers(), host=host)
            manifests = [read_manifest(store, entry) for entry in catalogue.manifests]
            before = self.readings[host] = contents, catalogue, manifests
        return before[1:]

    def catalogue(self, machine: Machine) -> Catalogue:
        """What there is of its host."""
        return self.read(machine)[0]

    def retired_by(self, cleaner: Machine) -> set[str]:
        """Ids of all backups that its key retired."""
        trusted = cleaner.fleet.context().trusted_signers()
        own = read_signing_key(cleaner.fleet.signing_key).public
        records = read_catalogue(_copy(self.store), trusted=trusted).records
        return {one.backup_id for record in records if record.signer == own for one in record.record.backups}

    def manifests(self, machine: Machine) -> list[Manifest]:
        """The manifests of its host."""
        return self.read(machine)[1]

    def keys_of(self, machine: Machine, manifest: Manifest) -> set[str]:
        """Every object that a backup consists of."""
        with suppress(EngineError), open_part_list(_copy(self.store), manifest) as parts:
            return {part.key for part in parts}
        return set()

    def check_parts(self, machine: Machine, manifest: Manifest) -> None:
        """The bytes of every part are those that the list says."""
        store = _copy(self.store)
        with open_part_list(store, manifest) as parts:
            for part in parts:
                content = store.get(part.key, limit=1 << 30)
                if part.key not in self.rotten:
                    assert hashlib.sha256(content).hexdigest() == part.sha256
                    self.damaged.discard(part.key)


def _copy(store: MemoryStore) -> MemoryStore:
    """The same objects, and none of the faults that are to come."""
    return store.copy_objects()


def take(steps: int) -> None:
    """So many steps, or until something does not hold."""
    run_state_machine_as_test(
        AnythingMayHappen,
        settings=settings(
            max_examples=max(1, steps // STEPS_OF_A_LIFE),
            stateful_step_count=STEPS_OF_A_LIFE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # what fails is not made smaller: threads take turns as they like
            database=None,
        ),
    )


def test_anything_may_happen() -> None:
    take(STEPS)
