# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Retirement: what a trusted key removed is silence, and nobody else can hide anything."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from zrb.errors import EngineError, ManifestInvalid, NoSuchBackup, SignatureInvalid, UsageError
from zrb.plan.chain import check_series
from zrb.repository.catalogue import Catalogue, read_catalogue
from zrb.seal.signing import RETIREMENT, SigningKey
from zrb.values.repository_names import BackupId, Series
from zrb.values.retirement_json import RetiredBackup, RetirementRecord, encode_retirement

from tests.fixtures.committed_repository import CommittedRepository
from tests.fixtures.retired_repository import KEY, SERIES, RetiredRepository
from tests.fixtures.sample_manifests import BEGINNING, retired_from


def live(catalogue: Catalogue) -> list[int]:
    return [found.manifest.seq for found in catalogue.manifests]


def retired(catalogue: Catalogue) -> list[int]:
    return [one.seq for one in catalogue.retired(SERIES)]


def losses(catalogue: Catalogue, *, highest_seen: int = 0) -> list[str]:
    return [
        loss.key for loss in check_series(catalogue.manifests, catalogue.retired(SERIES), highest_seen=highest_seen)
    ]


def test_a_retired_backup_is_no_longer_there_and_not_missed() -> None:
    repository = RetiredRepository([0, 1, 0, 1])
    repository.retire(1, 2, reason="older than 30 days")
    for step in range(4):
        catalogue = repository.read()
        assert (live(catalogue), retired(catalogue), catalogue.problems) == ([3, 4], [1, 2], ())
        assert losses(catalogue, highest_seen=4) == []
        for entry in repository.entries[:2]:
            if step < 3:
                repository.remove(repository.keys_of(entry)[step])
    one = catalogue.retired(SERIES)[0]
    assert one == retired_from(repository.entries[0], at=BEGINNING)
    assert catalogue.retired(Series("nas2", SERIES.dataset)) == ()


def test_the_newest_backup_can_be_retired() -> None:
    repository = RetiredRepository([0, 1, 2])
    repository.retire(3, 2)
    for entry in repository.entries[1:]:
        repository.remove(entry.key)
    assert losses(repository.read(), highest_seen=3) == []
    assert losses(repository.read(), highest_seen=4) == ["4 to 4"]


def put_record(
    repository: RetiredRepository,
    *backups: RetiredBackup,
    key: SigningKey = KEY,
    series: Series = SERIES,
    under: Series | None = None,
    count: int | None = None,
    kind: Any = RETIREMENT,
    change: Callable[[bytes], bytes] = lambda envelope: envelope,
    **fields: Any,
) -> str:
    record = RetirementRecord(repository.entries[0].manifest.repository_id, series.host, series.dataset, backups)
    envelope = change(key.sign(encode_retirement(replace(record, **fields)), kind))
    digest = hashlib.sha256(envelope).hexdigest()
    name = (under or series).retirement_key(count or len(backups), digest)
    repository.store.put(name, envelope)
    return name


STRANGER = SigningKey.generate()
OTHER = Series("nas2", SERIES.dataset)


@pytest.mark.parametrize(
    ("forgery", "error"),
    [
        ({"key": STRANGER}, SignatureInvalid),
        ({"change": lambda envelope: envelope.replace(b'"sig":"', b'"sig":"AAAA')[:-1]}, ManifestInvalid),
        ({"change": lambda envelope: STRANGER.sign(b"{}", RETIREMENT)}, SignatureInvalid),
        ({"change": lambda _envelope: b"{}"}, ManifestInvalid),
        ({"repository_id": "f" * 32}, ManifestInvalid),
        ({"series": OTHER, "under": SERIES}, ManifestInvalid),
        ({"series": Series("nas1", "tank/data/child"), "under": SERIES}, ManifestInvalid),
        ({"under": OTHER}, ManifestInvalid),
        ({"series": OTHER}, None),
        ({"count": 7}, ManifestInvalid),
    ],
)
def test_a_record_that_is_not_proven_or_of_something_else_hides_nothing(
    forgery: dict[str, Any], error: type[EngineError] | None
) -> None:
    repository = RetiredRepository([0, 0, 0])
    key = put_record(repository, retired_from(repository.entries[1]), **forgery)
    catalogue = repository.read()
    assert (live(catalogue), retired(catalogue)) == ([1, 2, 3], [])
    assert [type(problem) for problem in catalogue.problems] == ([error] if error else [])
    assert all(problem.subject == key for problem in catalogue.problems)
    repository.remove(repository.entries[1].key)
    assert losses(repository.read()) == ["2 to 2"]
    assert [type(problem) for problem in repository.read().problems] == ([error] if error else [])


def test_a_record_of_another_manifest_than_the_one_that_is_there_hides_nothing() -> None:
    repository = RetiredRepository([0, 0, 0])
    put_record(repository, replace(retired_from(repository.entries[1]), manifest_sha256="f" * 64))
    catalogue = repository.read()
    assert (live(catalogue), retired(catalogue), catalogue.problems, losses(catalogue)) == ([1, 2, 3], [], (), [])


def test_a_record_under_another_name_hides_nothing() -> None:
    repository = RetiredRepository([0])
    key = put_record(repository, retired_from(repository.entries[0]))
    envelope = repository.store.get(key, limit=10**6)
    repository.remove(key)
    for name in ("retired-0001-0123456789abcdef.record", "retired-1-0.record", "x.record"):
        repository.store.put(f"{SERIES.manifest_prefix}{name}", envelope)
    catalogue = repository.read()
    assert live(catalogue) == [1]
    assert [type(problem) for problem in catalogue.problems] == [ManifestInvalid] * 3


def test_a_manifest_in_the_place_of_a_record_hides_nothing_and_neither_the_other_way_round() -> None:
    repository = RetiredRepository([0, 0])
    first, second = repository.entries
    put_record(repository, retired_from(first), change=lambda _record: repository.store.get(first.key, limit=10**6))
    assert live(repository.read()) == [1, 2]
    key = put_record(repository, retired_from(first))
    repository.store.replace(second.key, repository.store.get(key, limit=10**6))
    catalogue = repository.read()
    assert live(catalogue) == []
    assert {problem.subject for problem in catalogue.problems} >= {second.key}


def test_unsigned_records_hide_nothing_where_unsigned_manifests_count() -> None:
    repository = RetiredRepository([0, 0])
    repository.retire(1)
    put_record(repository, retired_from(repository.entries[1]), key=STRANGER)
    for trusted, shown in (([], [1, 2]), ([KEY.public], [2]), ([STRANGER.public], [1])):
        catalogue = repository.read(trusted=trusted, allow_unsigned=True)
        assert (live(catalogue), catalogue.problems) == (shown, ())


def test_a_record_counts_for_manifests_of_its_repository_where_the_identity_is_lost() -> None:
    repository = RetiredRepository([0, 0])
    repository.retire(1)
    put_record(repository, retired_from(repository.entries[1]), repository_id="f" * 32)
    repository.remove("zrb.json")
    assert live(repository.read()) == [2]


def test_only_the_records_of_the_datasets_that_are_read_count() -> None:
    repository = RetiredRepository([0])
    child = Series("nas1", f"{SERIES.dataset}/retired-child")
    put_record(repository, retired_from(repository.entries[0]), series=child)
    choice = {"host": SERIES.host, "dataset": SERIES.dataset}
    assert repository.read(**choice).records == ()
    assert repository.read(**choice, records_only=True).records == ()
    assert [found.record.series for found in repository.read(**choice, recursive=True).records] == [child]
    assert repository.read(**choice).problems == ()


def test_reading_costs_a_request_for_each_record_and_none_besides() -> None:
    repository = RetiredRepository([0, 0, 0])

    def calls(**choice: Any) -> list[str]:
        repository.store.calls.clear()
        repository.read(**choice)
        return [operation for operation, _key in repository.store.calls]

    without = calls()
    assert sorted(without) == ["get"] * 4 + ["list"]
    repository.retire(1)
    assert sorted(calls()) == ["get"] * 5 + ["list"]
    alone = calls(host=SERIES.host, dataset=SERIES.dataset, records_only=True)
    assert sorted(alone) == ["get"] * 2 + ["list"]


# --- what may be retired ---


def test_what_another_backup_needs_is_not_retired() -> None:
    repository = RetiredRepository([0, 1, 2, 1])
    for numbers, needed in (([1], 1), ([2], 2), ([1, 2, 4], 2), ([1, 3], 1)):
        with pytest.raises(UsageError) as caught:
            repository.retire(*numbers)
        assert caught.value.subject == repository.ids(needed)[0]
    assert repository.records == []
    repository.retire(3)
    repository.retire(2, 3)
    repository.retire(1, 4)
    assert retired(repository.read()) == [1, 2, 3, 4]


def test_only_what_is_there_is_retired() -> None:
    repository = RetiredRepository([0])
    with pytest.raises(NoSuchBackup):
        repository.writer().retire(
            repository.read(), SERIES, [BackupId("20260201T020000Z-L0-ffffffff")], reason="x", now=BEGINNING
        )
    with pytest.raises(ManifestInvalid):
        repository.retire(1, reason="two\nlines")
    assert repository.records == []


def test_nothing_is_retired_beside_what_cannot_be_read() -> None:
    repository = RetiredRepository([0, 1])
    repository.store.corrupt(repository.entries[1].key, 100)
    with pytest.raises(ManifestInvalid):
        repository.retire(1)
    repository.store.put("manifests/nas1/tank/other/20260201T020000Z-L0-00000001.json", b"{}")
    repository.remove(repository.entries[1].key)
    repository.retire(1)


def test_what_is_retired_already_is_not_written_again() -> None:
    repository = RetiredRepository([0, 0])
    repository.retire(1, 2, reason="the first")
    before = repository.store.keys
    repository.retire(2, 1, reason="the second")
    assert repository.store.keys == before
    assert {one.reason for one in repository.read().retired(SERIES)} == {"the first"}


# --- merging ---


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=9), st.integers(2, 7))
def test_there_are_few_records_however_often_somebody_cleans_up(sizes: list[int], most: int) -> None:
    repository = RetiredRepository([0] * sum(sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zrb.repository.retirement.MAX_RETIRED", most)
        for end, size in zip(itertools.accumulate(sizes), sizes, strict=True):
            repository.retire(*range(end - size + 1, end + 1))
            assert retired(repository.read()) == list(range(1, end + 1))
            # Any two that no other covers do not fit into one; and what was covered by the last run is still there.
            assert len(repository.records) <= 2 * (2 * end // most + 1) + 1
    assert max(len(found.record.backups) for found in repository.read().records) <= most


def test_of_two_records_that_say_the_same_one_stays() -> None:
    """Two cleaners retire one backup at once, and each knows another reason."""
    repository = RetiredRepository([0, 0, 0])
    before = repository.read()
    for reason in ("old", "too many"):
        repository.writer().retire(before, SERIES, repository.ids(1), reason=reason, now=BEGINNING)
    assert len(repository.records) == 2
    greater = max(repository.records)
    for _again in range(2):
        repository.retire(1)
        assert (repository.records, retired(repository.read())) == ([greater], [1])


def test_records_of_another_signer_are_left_alone() -> None:
    repository = RetiredRepository([0] * 6)
    trusted = {"trusted": [KEY.public, STRANGER.public]}
    for number, key in enumerate([STRANGER, KEY, KEY, KEY, STRANGER], start=1):
        catalogue = repository.read(**trusted)
        repository.writer(key=key).retire(catalogue, SERIES, repository.ids(number), reason="old", now=BEGINNING)
    assert retired(repository.read()) == [2, 3, 4]
    assert retired(repository.read(trusted=[STRANGER.public])) == [1, 5]
    assert retired(repository.read(**trusted)) == [1, 2, 3, 4, 5]


class Killed(BaseException):
    """The end of a process."""


class Mortal:
    """A store whose process ends before or after its ``nth`` change."""

    def __init__(self, repository: RetiredRepository, nth: int, *, after: bool) -> None:
        self.repository, self.left, self.after = repository, nth, after

    def put(self, key: str, data: bytes, **facts: Any) -> Any:
        return self.change(lambda: self.repository.store.put(key, data, **facts))

    def remove(self, key: str) -> None:
        self.change(lambda: self.repository.remove(key))

    def change(self, action: Callable[[], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        answer = action()
        if self.left == 0:
            raise Killed
        return answer


@pytest.mark.parametrize("after", [False, True])
def test_a_cleaner_can_be_killed_anywhere(after: bool) -> None:
    """Two batches, two runs before, so that there are records to merge and to remove, and every object of a backup."""
    killed = 0
    for nth in itertools.count(1):
        repository = RetiredRepository([0, 0, 0, 0, 1, 2, 1, 0])
        repository.retire(1)
        repository.retire(2)
        wanted = [3, 4, 5, 6, 7]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("zrb.repository.retirement.MAX_RETIRED", 4)
            mortal = Mortal(repository, nth, after=after)
            try:
                repository.clean(wanted, writer=repository.writer(store=mortal, remove=mortal.remove))
                break
            except Killed:
                killed += 1
            assert_sound(repository, before=[1, 2], wanted=wanted)
            repository.clean(wanted, writer=repository.writer())
        assert_sound(repository, before=[1, 2], wanted=wanted)
        assert (live(repository.read()), retired(repository.read())) == ([8], [1, 2, 3, 4, 5, 6, 7])
        assert {key for key in repository.store.keys if "00000008" not in key} == {"zrb.json", *repository.records}
    assert killed == 2 + 1 + 3 * 7, "two records, one that is covered, three objects of each backup"


def assert_sound(repository: RetiredRepository, *, before: list[int], wanted: list[int]) -> None:
    catalogue = repository.read()
    assert catalogue.problems == ()
    assert losses(catalogue, highest_seen=len(repository.entries)) == []
    gone = set(retired(catalogue)) - set(before)
    # A batch is retired as a whole: the youngest first.
    assert gone in (set(), {4, 5, 6, 7}, set(wanted))
    for found in catalogue.manifests:
        assert {found.key, *repository.keys_of(found)} <= set(repository.store.keys), "what is offered is whole"
        base = found.manifest.base
        assert base is None or base.backup_id in {other.manifest.backup_id for other in catalogue.manifests}


@pytest.mark.parametrize("later", [1, 100])
@pytest.mark.parametrize("runs_before", [[1, 2], [1], []])
def test_whoever_reads_meanwhile_sees_all_of_it_or_nothing(runs_before: list[int], later: int) -> None:
    """A cleaner merges and removes: some of it at one step of a reader, and the rest ``later`` steps on, or never."""
    for reached, together in ((step, count) for step in itertools.count(1) for count in (1, 2, 3, 5, 99)):
        repository = RetiredRepository([0, 0, 0, 1, 0])
        for number in runs_before:
            repository.retire(number)
        changes: list[Callable[[], object]] = []
        recorder = Recorder(repository, changes)
        repository.writer(store=recorder, remove=recorder.remove).retire(
            repository.read(), SERIES, repository.ids(3, 4), reason="old", now=BEGINNING
        )
        for position, number in itertools.product(range(3), (*runs_before, 3, 4)):
            recorder.remove(repository.keys_of(repository.entries[number - 1])[position])
        bursts = {reached: changes[:together], reached + later: changes[together:]}
        steps = itertools.count(1)

        def meanwhile(bursts: Any = bursts, steps: Any = steps) -> None:
            for change in bursts.pop(next(steps), ()):
                change()

        repository.store.meanwhile = meanwhile
        catalogue = repository.read()
        repository.store.meanwhile = None
        if reached in bursts:
            break  # the reader has fewer steps
        assert catalogue.problems == ()
        assert losses(catalogue, highest_seen=5) == []
        assert (live(catalogue), retired(catalogue)) in (
            (sorted({1, 2, 3, 4, 5}.difference(runs_before)), runs_before),
            (sorted({1, 2, 5}.difference(runs_before)), [*runs_before, 3, 4]),
        )
    assert reached > 15


class Recorder:
    """A store that notes what is to be changed."""

    def __init__(self, repository: RetiredRepository, steps: list[Callable[[], object]]) -> None:
        self.repository, self.steps = repository, steps

    def put(self, key: str, data: bytes, **facts: Any) -> None:
        self.steps.append(lambda: self.repository.store.put(key, data, **facts))

    def remove(self, key: str) -> None:
        self.steps.append(lambda: self.repository.remove(key))


class Cleaners(RuleBasedStateMachine):
    """Cleaners with one key that know nothing of each other: each looks, and then writes and removes, with any pauses,
    or dies on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.repository = RetiredRepository([0] * 4)
        self.waiting: dict[int, list[Callable[[], object]]] = {one: [] for one in range(3)}
        self.written: set[int] = set()
        self.patch = pytest.MonkeyPatch()

    @initialize(most=st.integers(2, 4))
    def begin(self, most: int) -> None:
        self.patch.setattr("zrb.repository.retirement.MAX_RETIRED", most)

    def teardown(self) -> None:
        self.patch.undo()

    @rule(cleaner=st.integers(0, 2), numbers=st.sets(st.integers(1, 4), max_size=2))
    def look(self, cleaner: int, numbers: set[int]) -> None:
        steps: list[Callable[[], object]] = []
        recorder = Recorder(self.repository, steps)
        writer = self.repository.writer(store=recorder, remove=recorder.remove)
        writer.retire(self.repository.read(), SERIES, self.repository.ids(*numbers), reason=f"{cleaner}", now=BEGINNING)
        self.waiting[cleaner] = steps

    @rule(cleaner=st.integers(0, 2), steps=st.integers(1, 3))
    def go_on(self, cleaner: int, steps: int) -> None:
        for step in self.waiting[cleaner][:steps]:
            step()
        del self.waiting[cleaner][:steps]
        self.written |= set(retired(self.repository.read()))

    @rule(cleaner=st.integers(0, 2))
    def die(self, cleaner: int) -> None:
        self.waiting[cleaner] = []

    @invariant()
    def nothing_is_forgotten(self) -> None:
        catalogue = self.repository.read()
        assert set(retired(catalogue)) == self.written
        assert set(live(catalogue)) == set(range(1, 5)) - self.written
        assert catalogue.problems == ()


TestCleaners = Cleaners.TestCase
TestCleaners.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_directory_that_is_read_while_it_changes_shows_the_record_or_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory has no order: the first look came too early for the record, and too late for the manifest."""
    repository = CommittedRepository(tmp_path / "repository")
    first, second = repository.commit(), repository.commit()
    trusted = [repository.signing_key.public]
    entries = read_catalogue(repository.store, trusted=trusted).manifests
    record = RetirementRecord(repository.repository_id, "nas1", "tank/data", (retired_from(entries[0]),))
    envelope = repository.signing_key.sign(encode_retirement(record), RETIREMENT)
    key = first.series.retirement_key(1, hashlib.sha256(envelope).hexdigest())

    scandir = os.scandir

    def read(path: str) -> nullcontext[list[os.DirEntry[str]]]:
        with scandir(path) as found:
            left = [one for one in found if not entries[0].key.endswith(one.name)]
        if any(one.is_file() for one in left):
            repository.store.put(key, envelope)
            repository.file_of(entries[0].key).unlink(missing_ok=True)
        return nullcontext(left)

    monkeypatch.setattr(os, "scandir", read)
    catalogue = read_catalogue(repository.store, trusted=trusted)
    assert [found.manifest for found in catalogue.manifests] == [second.summary]
    assert check_series(catalogue.manifests, catalogue.retired(first.series), highest_seen=2) == []
