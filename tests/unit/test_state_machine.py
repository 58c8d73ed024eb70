# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Anything may happen, in any order: what must hold after every step (docs/reliability.md, "Invariants").

Two machines back up into one repository, two tasks on each for the same dataset. Runs are killed at any call, the store
loses and damages objects and denies requests, the repository is wiped, exchanged for another or set back, clocks jump,
snapshots are destroyed. ``ZRB_TEST_STEPS`` says how many steps are taken; `make test-long` takes 100,000.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from zrb.errors import BackupsVanished, EngineError, ManifestInvalid, RepositoryChanged, StoreDenied
from zrb.plan import chain
from zrb.plan.levels import base_candidates
from zrb.repository.catalogue import Catalogue, read_catalogue, read_manifest
from zrb.repository.part_list import open_part_list
from zrb.run.backup import BackupResult, back_up
from zrb.run.list import list_backups
from zrb.run.restore import RestoreSelection, restore
from zrb.run.verify import verify
from zrb.state.journal import Journal
from zrb.store.protocol import free_flow
from zrb.values.config import KIB, Task
from zrb.values.manifest import Manifest

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.mortal import Killed, Life
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
LOSSES = (RepositoryChanged, BackupsVanished)
"""What a run may end with until somebody accepts it by hand."""


class Machine:
    """A NAS, and what it knows to be true."""

    def __init__(self, root: Path, host: str, store: MemoryStore) -> None:
        root.mkdir()
        self.fleet = Fleet(root, store=store, tick=timedelta(seconds=1))
        self.fleet.tokens = count(int(host[-1]) << 24)  # no two machines choose the same id
        self.fleet.change_config(host=host, patience_s=0)
        self.tasks = [Task(name=name, pool="tank", dataset="data") for name in ("nightly", "weekly")]
        self.contents: dict[str, bytes] = {}
        """What each snapshot holds, by its guid, also if it was destroyed since."""
        self.targets = 0

    @property
    def state(self) -> Path:
        """Where this machine remembers."""
        return Path(self.fleet.config.base_dir)

    def note_snapshots(self) -> None:
        """Remember what is in every snapshot."""
        for snapshot in self.fleet.zfs.snapshots(DATASET):
            self.contents.setdefault(snapshot.guid, self.fleet.zfs.content(snapshot.name))

    def run(self, action: Callable[[Any], Any], *, killed_at: int | None = None) -> Any:
        """``action`` with a context; ``None`` if it was killed."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.fleet.store.regulate(free_flow)  # a process opens a store of its own
        life = Life(killed_at, self.state)
        try:
            return action(life.context(self.fleet.context()))
        except Killed:
            return None
        finally:
            life.bury()
            self.note_snapshots()

    def back_up(
        self, task: Task, level: int, *, killed_at: int | None = None
    ) -> tuple[Sequence[BackupResult], Sequence[EngineError]]:
        """A run of ``task``: what it calls a success, and what it says otherwise. Neither if it was killed."""
        try:
            outcome = self.run(lambda context: back_up(context, task=task, level=level), killed_at=killed_at)
        except EngineError as error:
            return (), (error,)
        if outcome is None:
            return (), ()
        return outcome.results, [error for _, error in outcome.failures]

    def accept(self) -> None:
        """Accept what is lost, by hand."""
        self.run(lambda context: verify(context, depth="signature", accept_losses=True))


class AnythingMayHappen(RuleBasedStateMachine):
    """See the head of this file."""

    @initialize()
    def begin(self) -> None:
        """A repository of nobody, and two machines."""
        self.root = Path(tempfile.mkdtemp(prefix="zrbtest-machine-"))
        self.store = MemoryStore()
        self.machines = [Machine(self.root / host, host, self.store) for host in ("nas1", "nas2")]
        signers = tuple(signer for machine in self.machines for signer in machine.fleet.context().trusted_signers())
        for machine in self.machines:
            machine.fleet.change_config(trusted_signers=signers)
        self.former: list[MemoryStore] = []
        self.damaged: set[str] = set()
        self.rotten: set[str] = set()
        """What the store still describes as it was: only who reads it can know."""

    def use(self, store: MemoryStore) -> None:
        """From now on this is what lies at the destination."""
        self.store = store
        for machine in self.machines:
            machine.fleet.store = store

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
        machine.targets += 1
        target = f"tank/restore/copy{machine.targets}"
        selection = RestoreSelection(dataset=DATASET, target=target)
        identities = [machine.fleet.identity]
        usable = bool(self.manifests(machine)) and not self.store.has_faults

        def action(context: Any) -> Any:
            return restore(context, selection, identities=identities, trusted=context.trusted_signers())

        try:
            result = machine.run(action, killed_at=killed_at)
        except EngineError:
            assert self.damaged or not usable, "everything that is listed is whole"
            return
        if result is None:
            return
        youngest = max(self.manifests(machine), key=lambda manifest: manifest.snapshot.createtxg)
        assert machine.fleet.zfs.content(target) == machine.contents[youngest.snapshot.guid]

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

    @rule(number=NUMBERS, how=st.sampled_from(("clock", "snapshot", "memory")), nth=NTH)
    def change_machine(self, number: int, how: str, nth: int) -> None:
        """Somebody sets its clock, or destroys a snapshot that nothing holds. Or it is set up again and its dataset
        received from elsewhere: no hold, nothing remembered."""
        machine = self.machines[number]
        zfs = machine.fleet.zfs
        if how == "clock":
            machine.fleet.now += timedelta(hours=nth % 97 - 48)
        elif how == "snapshot":
            free = [snapshot.name for snapshot in zfs.snapshots(DATASET) if not zfs.tags(snapshot.name)]
            if free:
                zfs.destroy_snapshot(free[nth % len(free)])
        else:
            shutil.rmtree(machine.state, ignore_errors=True)
            for snapshot in zfs.snapshots(DATASET):
                for tag in zfs.tags(snapshot.name):
                    zfs.release(snapshot.name, tag)

    # --- what holds after every step ----------------------------------------------------------------------

    @invariant()
    def listed_as_complete_is_complete(self) -> None:
        """Every part of what the list calls complete is there, in every link."""
        for machine in getattr(self, "machines", ()):
            store, self.store = self.store, _copy(self.store)
            machine.fleet.store = self.store
            try:
                listed = list_backups(machine.fleet.context()).entries
            except EngineError:
                listed = ()
            finally:
                self.store = machine.fleet.store = store
            manifests = {manifest.backup_id: manifest for manifest in self.manifests(machine)}
            for entry in listed:
                manifest = manifests.get(entry.backup_id)
                if entry.complete and manifest and manifest.parts.key not in self.damaged:
                    assert self.keys_of(machine, manifest) <= set(store.keys)

    @invariant()
    def what_is_whole_is_known(self) -> None:
        """No signed manifest is refused that is as it was written."""
        for machine in getattr(self, "machines", ()):
            listed = {entry.key for entry in self.catalogue(machine).manifests}
            prefix = f"manifests/{machine.fleet.config.host}/"
            there = {key for key in self.store.keys if key.startswith(prefix) and key.endswith(".json")}
            assert there - self.damaged <= listed

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
        machine.targets += 1
        target = f"tank/restore/copy{machine.targets}"
        machine.fleet.restore(target=target, backup_id=result.manifest.backup_id)
        assert machine.fleet.zfs.content(target) == machine.fleet.zfs.content(DATASET)
        needed = {manifest.snapshot.guid for manifest in base_candidates(self.manifests(machine))}
        bound = {Journal.load(path).binding.snapshot for path in machine.state.rglob("*.journal")}
        readable = not self.catalogue(machine).problems  # a hold of what cannot be read stays until it is gone
        for snapshot in machine.fleet.zfs.snapshots(DATASET):
            if machine.fleet.zfs.tags(snapshot.name) and readable:
                assert snapshot.guid in needed or snapshot.name in bound, f"{snapshot.name} is held for nobody"

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

    def catalogue(self, machine: Machine) -> Catalogue:
        """What the machine would believe, read past all faults."""
        config = machine.fleet.config
        return read_catalogue(_copy(self.store), trusted=machine.fleet.context().trusted_signers(), host=config.host)

    def manifests(self, machine: Machine) -> list[Manifest]:
        """The manifests of its host."""
        store = _copy(self.store)
        return [read_manifest(store, entry) for entry in self.catalogue(machine).manifests]

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
