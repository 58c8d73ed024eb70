# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore that goes on: whatever stopped the last one, and whenever, the next one ends where it would have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import EngineError, Locked, PartDamaged, ReceiveFailed, TargetExists, UsageError, ZfsError
from zrb.run.backup import BackupResult
from zrb.run.context import Context
from zrb.run.restore import RestorePlan, RestoreResult, RestoreSelection, plan_restore, restore, restored_guid
from zrb.state.locks import dataset_locks, dataset_state_dir
from zrb.state.restore_under_way import note_restore, noted_token
from zrb.values.config import KIB
from zrb.zfs.protected_receive import RECEIVED_BY

from tests.fakes.fleet import DATASET, LIMITS, Fleet, random_bytes
from tests.fakes.zfs import OPENZFS, ZFS_FUSE, FakeZfs, ReceiveFault

TARGET = "tank/restore/copy"
ABILITIES = {"OpenZFS": OPENZFS, "zfs-fuse": ZFS_FUSE}


@dataclass
class Chain:
    """Levels 0, 1 and 2."""

    fleet: Fleet
    results: list[BackupResult]
    contents: list[bytes]

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the backups."""
        return tuple(result.manifest.backup_id for result in self.results)

    def plan(self, **selection: Any) -> RestorePlan:
        """The plan of a restore that goes on."""
        context = self.fleet.context()
        selected = RestoreSelection(**{"dataset": DATASET, "target": TARGET, "continues": True, **selection})
        return plan_restore(context, selected, trusted=context.trusted_signers())

    def go_on(self, context: Context | None = None, **selection: Any) -> RestoreResult:
        """A restore that goes on."""
        context = context or self.fleet.context()
        selected = RestoreSelection(**{"dataset": DATASET, "target": TARGET, "continues": True, **selection})
        return restore(context, selected, identities=[self.fleet.identity], trusted=context.trusted_signers())

    def refused(self, **selection: Any) -> EngineError:
        """The error of a restore that must not go on, and changes nothing."""
        before = self.state()
        with pytest.raises(EngineError) as caught:
            self.go_on(**selection)
        with pytest.raises(type(caught.value)):
            self.plan(**selection)
        assert self.state() == before
        return caught.value

    def state(self, target: str = TARGET) -> Any:
        """All that a restore may change."""
        zfs = self.fleet.zfs
        if not zfs.exists(target):
            return zfs.descendants("tank")
        guids = [snapshot.guid for snapshot in zfs.snapshots(target)]
        return guids, zfs.content(target), zfs.local_properties(target)

    def downloaded(self) -> set[str]:
        """Ids of the backups of which parts were fetched since the calls were cleared."""
        keys = [key for call, key in self.fleet.store.calls if call == "read_into" and key.startswith("data/")]
        return {backup_id for backup_id in self.ids if any(backup_id in key for key in keys)}


def make_chain(root: Path, able: str = "OpenZFS") -> Chain:
    fleet = Fleet(root, zfs=FakeZfs(capabilities=ABILITIES[able]))
    fleet.change_limits(part_size=128 * KIB, chunk_size=64 * KIB)  # few calls, since each is the last one once
    fleet.zfs.set_properties(DATASET, {"recordsize": "65536", "org.example:note": "kept"})
    results, contents = [], []
    for level in (0, 1, 2):
        contents.append(fleet.write(level))
        results.append(fleet.back_up(level))
    fleet.store.calls.clear()
    return Chain(fleet, results, contents)


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    return make_chain(tmp_path)


class TestWhatIsThereIsNotFetched:
    @pytest.mark.parametrize("present", [0, 1, 2, 3])
    def test_links(self, chain: Chain, present: int) -> None:
        if present:
            chain.fleet.restore(level=present - 1)
        chain.fleet.store.calls.clear()
        result = chain.go_on()
        assert (result.present, result.links) == (chain.ids[:present], chain.ids[present:])
        assert result.changed is (present < 3)
        assert chain.downloaded() == set(chain.ids[present:])
        assert chain.fleet.zfs.content(TARGET) == chain.contents[-1]
        uninterrupted = chain.fleet.restore("tank/restore/other")
        assert chain.state() == chain.state("tank/restore/other")
        assert result.snapshot.partition("@")[2] == uninterrupted.snapshot.partition("@")[2]
        assert result.stream_bytes == sum(one.manifest.stream.bytes for one in chain.results[present:])

    @pytest.mark.parametrize("present", [0, 1, 2, 3])
    def test_the_plan_says_so(self, chain: Chain, present: int) -> None:
        if present:
            chain.fleet.restore(level=present - 1)
        before = chain.state()
        plan = chain.plan()
        assert [link.present for link in plan.links] == [number < present for number in range(3)]
        missing = [result.manifest for result in chain.results[present:]]
        assert plan.stored_bytes == sum(manifest.parts.stored_bytes for manifest in missing)
        assert plan.stream_bytes == sum(manifest.stream.bytes for manifest in missing)
        assert plan.done is (present == 3)
        assert chain.state() == before

    def test_parts_that_are_not_needed_may_be_gone_or_archived(self, chain: Chain) -> None:
        chain.fleet.restore(level=1)
        chain.fleet.store.archive(chain.fleet.parts(chain.results[0].manifest)[0].key)
        chain.fleet.store.remove(chain.fleet.parts(chain.results[1].manifest)[0].key)
        assert chain.go_on().links == chain.ids[2:]

    def test_the_second_time_nothing_is_left_to_do(self, chain: Chain) -> None:
        assert chain.go_on().changed
        before = chain.state()
        chain.fleet.zfs.set_properties(TARGET, {"mountpoint": "/mnt/home"})
        again = chain.go_on()
        assert (again.changed, again.links, again.present) == (False, (), chain.ids)
        assert chain.fleet.zfs.local_properties(TARGET)["mountpoint"] == "/mnt/home", "it is the user's"
        assert chain.state()[:2] == before[:2]

    def test_names_and_clocks_prove_nothing(self, chain: Chain) -> None:
        """Snapshots with the names of the links and other guids."""
        chain.fleet.zfs.add_dataset(TARGET, content=chain.contents[0])
        short = chain.results[0].manifest.snapshot.name.partition("@")[2]
        chain.fleet.zfs.create_snapshots([f"{TARGET}@{short}"])
        assert type(chain.refused()) is TargetExists


class TestRefused:
    def test_a_newer_snapshot(self, chain: Chain) -> None:
        chain.fleet.restore(level=1)
        chain.fleet.zfs.create_snapshots([f"{TARGET}@mine"])
        error = chain.refused()
        assert (type(error), error.subject) == (TargetExists, TARGET)
        assert f"{TARGET}@mine" in error.explain()
        assert chain.ids[1] in error.explain()

    def test_another_backup_of_the_same_level(self, chain: Chain) -> None:
        """The target holds levels 0 and 1; a newer level 1 starts from level 0, which is not the newest there."""
        chain.fleet.restore(level=1)
        chain.fleet.write(7)
        chain.fleet.back_up(1)
        error = chain.refused()
        assert type(error) is TargetExists
        assert chain.ids[0] in error.explain()

    def test_an_older_state_than_the_one_there(self, chain: Chain) -> None:
        chain.fleet.restore()
        assert type(chain.refused(level=0)) is TargetExists

    def test_changes_since(self, chain: Chain) -> None:
        chain.fleet.restore(level=1)
        chain.fleet.zfs.write(TARGET, b"mine")
        with pytest.raises(ZfsError, match="failed") as caught:
            chain.go_on()
        assert "modified" in caught.value.answer
        assert "zfs rollback" in caught.value.next_step
        assert chain.fleet.zfs.content(TARGET) == b"mine"

    def test_a_dataset_with_nothing_of_it(self, chain: Chain) -> None:
        assert type(chain.refused(target="tank/restore")) is TargetExists

    def test_the_dataset_that_was_backed_up(self, chain: Chain) -> None:
        chain.fleet.zfs.write(DATASET, chain.contents[1])
        for tag in chain.fleet.zfs.tags(chain.results[2].manifest.snapshot.name):
            chain.fleet.zfs.release(chain.results[2].manifest.snapshot.name, tag)
        chain.fleet.zfs.destroy_snapshot(chain.results[2].manifest.snapshot.name)
        error = chain.refused(target=DATASET)
        assert type(error) is TargetExists
        with pytest.raises(TargetExists) as caught:
            chain.fleet.restore(DATASET)
        assert "--continue" not in caught.value.next_step

    @pytest.mark.parametrize("mark", [None, "another run"])
    def test_a_dataset_without_snapshots_of_somebody_else(self, chain: Chain, mark: str | None) -> None:
        chain.fleet.zfs.add_dataset(TARGET, properties={RECEIVED_BY: mark} if mark else {})
        note_restore(chain.fleet.context().base_dir, TARGET, token="ours")
        assert type(chain.refused()) is TargetExists
        assert chain.fleet.zfs.exists(TARGET)

    def test_together_with_only(self, chain: Chain) -> None:
        assert type(chain.refused(only=True)) is UsageError

    def test_while_another_run_is_at_it(self, chain: Chain) -> None:
        with dataset_locks(chain.fleet.context().base_dir) as locks:
            locks.take(TARGET)
            with pytest.raises(Locked):
                chain.go_on()

    @pytest.mark.parametrize("present", [1, 2, 3])
    def test_without_the_option_the_next_step_names_it(self, chain: Chain, present: int) -> None:
        chain.fleet.restore(level=present - 1)
        with pytest.raises(TargetExists) as caught:
            chain.fleet.restore()
        assert ("--continue" in caught.value.next_step) is (present < 3)


class TestRemains:
    def test_what_our_own_receive_left_is_removed_and_received_again(self, chain: Chain) -> None:
        chain.fleet.zfs.add_dataset(TARGET, properties={RECEIVED_BY: "ours"})
        note_restore(chain.fleet.context().base_dir, TARGET, token="ours")
        with pytest.raises(TargetExists) as caught:
            chain.fleet.restore()
        assert "--continue" in caught.value.next_step
        assert not chain.plan().done
        assert chain.fleet.zfs.exists(TARGET), "a plan changes nothing"
        assert chain.go_on().links == chain.ids
        assert chain.fleet.zfs.content(TARGET) == chain.contents[-1]


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """Lets calls happen until one is due, which fails; and if that kills, so does every one after it."""

    due: int
    kills: bool
    after: bool
    """Whether the call that is due happens all the same."""
    calls: int = 0
    met: bool = field(default=False)

    def call(self, action: Callable[[], Any]) -> Any:
        """Let a call happen, or not."""
        if self.met and self.kills:
            raise Killed
        self.calls += 1
        if self.calls != self.due:
            return action()
        self.met = True
        if self.after:
            action()
        raise Killed if self.kills else ZfsError("It fails", next_step="Look")

    def checkpoint(self, _name: str) -> None:
        """A moment in which a process can be killed."""
        if self.kills:
            self.call(lambda: None)


class Doomed:
    """Hands calls on as fate allows; and of what ``receive`` returns, the end of it."""

    def __init__(self, thing: Any, fate: Fate, methods: set[str]) -> None:
        self._thing = thing
        self._fate = fate
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in self._methods:
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            result = self._fate.call(lambda: found(*arguments, **named))
            return Doomed(result, self._fate, {"finish"}) if name == "receive" else result

        return call


ZFS_CALLS = {
    "exists", "dataset", "snapshots", "local_properties", "receive", "protect_received", "set_properties",
    "inherit_property", "destroy_dataset", "resume_point", "abort_receive",
}  # fmt: skip
STORE_CALLS = {"get", "read_into", "head"}


def doomed(chain: Chain, fate: Fate) -> Context:
    """Surroundings in which each call to ZFS, or to the store, may be the last one."""
    fleet = chain.fleet
    return fleet.context(
        zfs=Doomed(fleet.zfs, fate, ZFS_CALLS),
        open_store=lambda: Doomed(fleet.store, fate, STORE_CALLS),
        checkpoint=fate.checkpoint,
    )


def fates(kills: bool, after: bool) -> Iterator[Fate]:
    """One after the other, until a run has met none."""
    due = 0
    fate = Fate(due, kills, after, met=True)
    while fate.met:
        due += 1
        fate = Fate(due, kills, after)
        yield fate


@pytest.mark.parametrize("able", ABILITIES)
@pytest.mark.parametrize(
    ("kills", "after"), [(True, False), (True, True), (False, False)], ids=["before", "after", "fails"]
)
@pytest.mark.parametrize("present", [0, 1, 3], ids=["from-nothing", "from-level-0", "all-but-the-last-word"])
def test_stopped_at_any_call(tmp_path: Path, able: str, kills: bool, after: bool, present: int) -> None:
    """Whatever call is the last one, or fails: the next run ends as if it had never happened."""
    chain = make_chain(tmp_path, able)
    zfs, base_dir = chain.fleet.zfs, chain.fleet.context().base_dir
    chain.fleet.restore("tank/restore/expected")
    expected = chain.state("tank/restore/expected")
    for fate in fates(kills, after):
        if present == 3:
            with pytest.raises(Killed):
                chain.go_on(chain.fleet.context(checkpoint=_dies_at("link-2-received")))
        elif present:
            chain.fleet.restore(level=present - 1)
        complaints: tuple[str, ...] = ()
        try:
            complaints = chain.go_on(doomed(chain, fate)).warnings
        except (Killed, EngineError):
            assert fate.met
        last = chain.go_on()
        # A property that a ZFS refuses is a warning and no unfinished restore: it would refuse it the next time too.
        if not any("not set again" in complaint for complaint in complaints):
            assert chain.state() == expected, fate
        assert last.present + last.links == chain.ids
        assert not chain.go_on().changed, fate
        assert noted_token(base_dir, TARGET) is None
        for snapshot in zfs.snapshots(TARGET):
            zfs.remove_snapshot(snapshot.name)
        zfs.destroy_dataset(TARGET)
    assert fate.calls > 10, "it was under way when it was stopped"


def _dies_at(point: str) -> Callable[[str], None]:
    def checkpoint(name: str) -> None:
        if name == point:
            raise Killed

    return checkpoint


class TestTheModulesQuestion:
    """Whether a restore need not be run again."""

    def guid(self, chain: Chain) -> str | None:
        context = chain.fleet.context()
        selected = RestoreSelection(dataset=DATASET, target=TARGET)
        return restored_guid(context, selected, trusted=context.trusted_signers())

    @pytest.mark.parametrize("able", ABILITIES)
    def test_not_before_the_last_word(self, tmp_path: Path, able: str) -> None:
        chain = make_chain(tmp_path, able)
        with pytest.raises(Killed):
            chain.go_on(chain.fleet.context(checkpoint=_dies_at("properties-set-again")))
        assert self.guid(chain) is None
        with pytest.raises(TargetExists) as caught:
            chain.fleet.restore()
        assert "--continue" in caught.value.next_step
        result = chain.go_on()
        assert (result.changed, result.links) == (True, ())
        assert self.guid(chain) == chain.results[-1].manifest.snapshot.guid


PARTS = 40


@pytest.fixture
def long_link(tmp_path: Path) -> Chain:
    """One backup that is longer than all pipes and buffers together."""
    fleet = Fleet(tmp_path)
    content = fleet.write(0, length=PARTS * LIMITS.part_size)
    result = fleet.back_up(0)
    fleet.store.calls.clear()
    return Chain(fleet, [result], [content])


def cut_off(chain: Chain) -> None:
    """A run that is killed when most of its stream has arrived."""
    with pytest.raises(Killed):
        chain.go_on(chain.fleet.context(checkpoint=_dies_at("stream-written")))
    chain.fleet.store.calls.clear()


class TestCutOffInTheMiddleOfALink:
    def parts_fetched(self, chain: Chain) -> int:
        keys = {key for call, key in chain.fleet.store.calls if call == "read_into" and key.startswith("data/")}
        return len(keys)

    def trail(self, chain: Chain) -> Path:
        return dataset_state_dir(chain.fleet.context().base_dir, TARGET) / ".restore-trail"

    def test_only_what_is_missing_is_downloaded(self, long_link: Chain) -> None:
        cut_off(long_link)
        (link,) = long_link.plan().links
        assert link.resumption is not None
        assert 0 < link.fetched_bytes < link.manifest.parts.stored_bytes / 2
        assert long_link.plan().stream_bytes < link.manifest.stream.bytes / 2
        result = long_link.go_on()
        assert self.parts_fetched(long_link) == PARTS + 1 - link.resumption.first_part
        assert (result.links, result.present) == (long_link.ids, ())
        assert long_link.fleet.zfs.content(TARGET) == long_link.contents[0]
        long_link.fleet.restore("tank/restore/expected")
        assert long_link.state() == long_link.state("tank/restore/expected")
        assert not self.trail(long_link).exists()

    @pytest.mark.parametrize("damage", ["gone", "empty", "no json", "another backup", "last line torn", "a directory"])
    def test_without_a_trail_everything_is_downloaded_and_little_received(self, long_link: Chain, damage: str) -> None:
        cut_off(long_link)
        path = self.trail(long_link)
        lines = path.read_text().splitlines(keepends=True)
        assert len(lines) > PARTS / 2
        path.unlink()
        match damage:
            case "empty":
                path.touch()
            case "no json":
                path.write_bytes(b"\0" * 500)
            case "another backup":
                path.write_text("".join([lines[0].replace(long_link.ids[0], "other"), *lines[1:]]))
            case "last line torn":
                path.write_text("".join(lines)[:-7])
            case "a directory":
                path.mkdir()
        assert (long_link.plan().links[0].fetched_bytes < long_link.results[0].manifest.parts.stored_bytes) is (
            damage == "last line torn"
        )
        long_link.go_on()
        assert long_link.fleet.zfs.content(TARGET) == long_link.contents[0]
        assert (self.parts_fetched(long_link) == PARTS + 1) is (damage != "last line torn")

    @pytest.mark.parametrize("calls", [15, 31, 60])
    def test_again_and_again(self, long_link: Chain, calls: int) -> None:
        """Each run is killed after so many calls, and the last one is not."""
        for _ in range(100):
            fate = Fate(calls, kills=True, after=False)
            try:
                long_link.go_on(doomed(long_link, fate))
                break
            except Killed:
                calls += 25
        assert long_link.fleet.zfs.content(TARGET) == long_link.contents[0]
        assert not long_link.go_on().changed

    def test_an_increment(self, long_link: Chain) -> None:
        content = random_bytes(PARTS * LIMITS.part_size, 5)
        long_link.fleet.zfs.write(DATASET, content)
        long_link.results.append(long_link.fleet.back_up(1))
        long_link.contents.append(content)
        long_link.go_on(level=0)
        cut_off(long_link)
        plan = long_link.plan()
        assert [link.present for link in plan.links] == [True, False]
        assert plan.stored_bytes < long_link.results[1].manifest.parts.stored_bytes / 2
        assert long_link.go_on().links == long_link.ids[1:]
        assert long_link.fleet.zfs.content(TARGET) == content

    def test_damage_gives_up_what_was_received(self, long_link: Chain) -> None:
        """The next run begins the link again."""
        last = long_link.fleet.parts(long_link.results[0].manifest)[-1].key
        long_link.fleet.store.corrupt(last)
        with pytest.raises(PartDamaged):
            long_link.go_on()
        assert not long_link.fleet.zfs.exists(TARGET)
        long_link.fleet.store.corrupt(last)
        long_link.go_on()
        assert long_link.fleet.zfs.content(TARGET) == long_link.contents[0]

    def test_a_single_link_is_cut_off(self, long_link: Chain) -> None:
        """As with ``--only``; the whole chain up to it goes on."""
        content = random_bytes(PARTS * LIMITS.part_size, 5)
        long_link.fleet.zfs.write(DATASET, content)
        long_link.results.append(long_link.fleet.back_up(1))
        long_link.fleet.restore(level=0)
        long_link.fleet.zfs.receive_fault = ReceiveFault(PARTS * LIMITS.part_size // 2)
        with pytest.raises(ReceiveFailed) as caught:
            long_link.fleet.restore(backup_id=long_link.ids[1], only=True)
        assert "--continue in place of --only" in caught.value.next_step
        long_link.fleet.zfs.receive_fault = None
        with pytest.raises(ReceiveFailed) as caught:
            long_link.fleet.restore(backup_id=long_link.ids[1], only=True)
        assert "--continue" in caught.value.next_step
        assert long_link.go_on().links == long_link.ids[1:]
        assert long_link.fleet.zfs.content(TARGET) == content

    def test_without_the_option_the_next_step_names_it(self, long_link: Chain) -> None:
        cut_off(long_link)
        with pytest.raises(TargetExists) as caught:
            long_link.fleet.restore()
        assert "--continue" in caught.value.next_step

    def test_a_part_of_another_stream(self, long_link: Chain) -> None:
        cut_off(long_link)
        long_link.fleet.back_up(0)
        error = long_link.refused()
        assert type(error) is TargetExists
        assert f"zfs receive -A {TARGET}" in error.next_step

    def test_parts_that_are_not_needed_may_be_gone(self, long_link: Chain) -> None:
        cut_off(long_link)
        long_link.fleet.store.remove(long_link.fleet.parts(long_link.results[0].manifest)[0].key)
        assert long_link.go_on().changed


def test_damage_gives_up_the_link_and_keeps_those_before(chain: Chain) -> None:
    chain.fleet.write(9, length=900 * KIB)
    longer = chain.fleet.back_up(3)
    parts = chain.fleet.parts(longer.manifest)
    chain.fleet.store.corrupt(parts[-1].key)
    with pytest.raises(PartDamaged):
        chain.go_on()
    chain.fleet.store.corrupt(parts[-1].key)
    assert chain.go_on().links == (longer.manifest.backup_id,)
    assert chain.fleet.zfs.content(TARGET) == chain.fleet.zfs.content(DATASET)
