# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Chains and lines: what belongs together, and what the numbers and hashes betray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import ChainBroken, NoSuchBackup
from zrb.plan.chain import (
    check_not_retired,
    check_series,
    next_place,
    oldest_first,
    resolve_chain,
    select_backup,
)
from zrb.plan.level_choice import base_candidates
from zrb.values.manifest import Manifest, SendRecord
from zrb.values.repository_names import BackupId

from tests.fixtures.sample_manifests import (
    BEGINNING,
    catalogued,
    catalogued_as_is,
    history,
    retired_from,
    sample_manifest,
)

LEVELS = st.lists(st.integers(0, 4), min_size=1, max_size=12)


def test_a_chain_runs_from_level_0_to_the_choice() -> None:
    line = history([0, 1, 2, 1, 2, 2])
    assert resolve_chain(line, line[5].backup_id) == (line[0], line[3], line[5])
    assert resolve_chain(line, line[0].backup_id) == (line[0],)


@given(LEVELS, st.data())
def test_every_chain_links_by_guid_in_any_order_of_reading(levels: list[int], data: st.DataObject) -> None:
    line = history(levels)
    shuffled = data.draw(st.permutations(line))
    for target in line:
        chain = resolve_chain(shuffled, target.backup_id)
        assert chain[0].level == 0
        assert chain[-1] == target
        assert [link.level for link in chain] == list(range(len(chain)))
        for parent, child in pairwise(chain):
            assert child.base is not None
            assert (child.base.backup_id, child.base.guid) == (parent.backup_id, parent.snapshot.guid)
        assert {link.chain for link in chain} == {chain[0].backup_id}


@given(LEVELS, st.data())
def test_a_chain_without_one_of_its_links_is_broken(levels: list[int], data: st.DataObject) -> None:
    line = history(levels)
    target = data.draw(st.sampled_from(line))
    chain = resolve_chain(line, target.backup_id)
    for lost in chain[:-1]:
        with pytest.raises(ChainBroken, match=lost.backup_id):
            resolve_chain([manifest for manifest in line if manifest != lost], target.backup_id)


def test_a_missing_link_is_named() -> None:
    line = history([0, 1, 2])
    with pytest.raises(ChainBroken) as caught:
        resolve_chain([line[0], line[2]], line[2].backup_id)
    assert caught.value.problem == (
        f"The backup {line[2].backup_id} needs {line[1].backup_id}, whose manifest is missing, refused or retired"
    )
    assert "`zrb list`" in caught.value.next_step


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda m: replace(m, snapshot=replace(m.snapshot, guid="5")),
            "starts from the snapshot with guid 1001, and its base 20260201T020000Z-L0-00000001 sent the one with 5",
        ),
        (lambda m: replace(m, level=1), "has the level 1, and its base 20260201T020000Z-L0-00000001 the level 1"),
        (
            lambda m: replace(m, chain=BackupId("20250101T000000Z-L0-00000009")),
            "is of the chain 20260201T020000Z-L0-00000001, and its base",
        ),
        (lambda m: replace(m, host="nas2"), "is of another host or dataset than its base"),
        (lambda m: replace(m, dataset=replace(m.dataset, guid="9")), "was made from another dataset than its base"),
        (lambda m: replace(m, seq=2), "has the number 2 in its series, and its base 20260201T020000Z-L0-00000001 2"),
        (
            lambda m: replace(m, snapshot=replace(m.snapshot, createtxg=20)),
            "has no younger snapshot than its base",
        ),
        (
            lambda m: replace(m, send=SendRecord(("-w",), "zfs-2.3.2", "Linux")),
            "was sent with other flags than its base",
        ),
    ],
)
def test_a_link_that_does_not_fit_is_named(change: Callable[[Manifest], Manifest], said: str) -> None:
    full, increment = history([0, 1])
    with pytest.raises(ChainBroken) as caught:
        resolve_chain([change(full), increment], increment.backup_id)
    assert caught.value.problem.startswith(f"The backup {increment.backup_id} {said}")
    assert "another chain" in caught.value.next_step


def test_links_that_go_round_in_a_circle_are_broken() -> None:
    first, second = history([0, 1])
    other = replace(first, level=1, base=replace(second.base, backup_id=second.backup_id, guid="1002"))  # type: ignore[type-var]
    with pytest.raises(ChainBroken):
        resolve_chain([other, second], second.backup_id)


def test_an_unknown_backup_is_not_found() -> None:
    line = history([0, 1, 1, 1, 1, 1, 1])
    with pytest.raises(NoSuchBackup) as caught:
        resolve_chain(line, "20250101T000000Z-L0-00000009")
    assert "20250101T000000Z-L0-00000009" in caught.value.problem
    newest = ", ".join(manifest.backup_id for manifest in line[:1:-1])
    assert f"{newest} and 2 more" in caught.value.next_step


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_newest_backup_is_the_one_with_the_youngest_data(commits: list[int], order: list[int]) -> None:
    """Whenever each was committed, whatever the clocks said then, and in whatever order they are listed."""
    made = history([0] * 6)
    series = [
        replace(manifest, seq=number + 1, created=BEGINNING - timedelta(days=number))
        for manifest, number in zip(made, commits, strict=True)
    ]
    listed = [series[position] for position in order]
    assert select_backup(listed) == series[-1]
    assert oldest_first(listed) == series
    for manifest in series:
        assert select_backup(listed, at=manifest.snapshot.creation) == manifest
        assert base_candidates(listed) == (series[-1],)


def test_a_dataset_that_took_the_place_of_another_is_the_newer_one() -> None:
    """Transaction groups of two pools cannot be compared."""
    old = history([0, 0, 0])
    new = replace(old[0], seq=9, dataset=replace(old[0].dataset, guid="99"))
    assert oldest_first([new, *old]) == [*old, new]


def test_selection_goes_by_level_id_and_time_of_the_snapshot() -> None:
    line = history([0, 1, 2, 1])
    assert select_backup(line, level=2) == line[2]
    assert select_backup(line, level=1) == line[3]
    assert select_backup(line, backup_id=line[1].backup_id) == line[1]
    assert select_backup(line, at=line[2].snapshot.creation) == line[2]
    assert select_backup(line, at=line[2].snapshot.creation - timedelta(seconds=1)) == line[1]
    assert select_backup(line, level=1, at=line[2].snapshot.creation) == line[1]


def test_what_cannot_be_selected_is_said() -> None:
    line = history([0])
    with pytest.raises(NoSuchBackup) as caught:
        select_backup(line, level=3, at=BEGINNING)
    assert (
        caught.value.problem == "There is no backup of level 3 of a snapshot from 2026-01-31T02:00:00+00:00 or before"
    )
    assert line[0].backup_id in caught.value.next_step
    with pytest.raises(NoSuchBackup, match="backup 2"):
        select_backup(line, backup_id="2")
    with pytest.raises(NoSuchBackup) as caught:
        select_backup([])
    assert caught.value.explain() == (
        "There is no backup. There is no committed backup of this dataset; make one first."
    )


def test_the_next_place_follows_the_highest_number() -> None:
    entries = catalogued(history([0, 1, 1]))
    assert next_place([]) == (1, None)
    assert next_place(list(reversed(entries))) == (4, entries[2].payload_sha256)


@given(LEVELS)
def test_a_line_as_it_was_made_is_not_complained_about(levels: list[int]) -> None:
    entries = catalogued(history(levels))
    assert check_series(entries, highest_seen=len(levels)) == []
    assert check_series(list(reversed(entries))) == []


@given(LEVELS, st.data())
def test_whatever_is_taken_out_of_the_middle_shows(levels: list[int], data: st.DataObject) -> None:
    entries = catalogued(history([0, *levels, 1]))
    lost = data.draw(st.sampled_from(entries[1:-1]))
    (loss,) = check_series([entry for entry in entries if entry is not lost])
    assert f"number {lost.manifest.seq} of its series is missing" in loss.sentence
    assert (loss.key, loss.newest) == (f"{lost.manifest.seq} to {lost.manifest.seq}", False)


def test_numbers_order_a_line_also_where_the_clock_went_back() -> None:
    line = history([0, 1, 1])
    early = sample_manifest(3, level=1, base=line[0], backup_id=BackupId("20250101T000000Z-L1-00000003"))
    entries = catalogued([*line[:2], early])
    assert check_series(entries) == []
    assert next_place(entries)[0] == 4


def test_gaps_say_how_wide_they_are() -> None:
    entries = catalogued(history([0, 1, 1, 1]))
    assert [loss.sentence for loss in check_series([entries[0], entries[3]])] == [
        f"Before the backup {entries[3].manifest.backup_id} number 2 to 3 of its series is missing, "
        "and was not retired."
    ]


def test_an_exchanged_backup_shows() -> None:
    entries = catalogued(history([0, 1]))
    other = replace(entries[0], payload_sha256="0" * 64)
    assert [loss.sentence for loss in check_series([other, entries[1]])] == [
        f"The backup {entries[0].manifest.backup_id} is not the one that {entries[1].manifest.backup_id} followed: "
        "it was exchanged."
    ]


def test_a_number_that_was_given_twice_shows() -> None:
    entries = catalogued(history([0, 1, 1]))
    twin = replace(entries[2], manifest=replace(entries[2].manifest, seq=2))
    two = f"{entries[1].manifest.backup_id} and {twin.manifest.backup_id}"
    assert [loss.key for loss in check_series([entries[0], entries[1], twin])] == [two]


def test_a_rollback_shows_to_a_reader_with_a_memory() -> None:
    entries = catalogued(history([0, 1, 1]))
    assert check_series(entries[:2]) == []
    (loss,) = check_series(entries[:2], highest_seen=3)
    assert (loss.key, loss.newest) == ("3 to 3", True)
    (loss,) = check_series([], highest_seen=3)
    assert (loss.key, loss.newest) == ("1 to 3", True)


@given(LEVELS, st.data())
def test_a_loss_has_one_key_before_and_after_the_next_backup(levels: list[int], data: st.DataObject) -> None:
    """What was accepted while it was the end of the series is not a new loss in the middle of it."""
    entries = catalogued(history([0, *levels, 1]))
    kept = data.draw(st.integers(1, len(entries) - 2))
    (at_the_end,) = check_series(entries[:kept], highest_seen=len(entries) - 1)
    (in_the_middle,) = check_series([*entries[:kept], entries[-1]])
    assert at_the_end.key == in_the_middle.key


@given(LEVELS, st.data())
def test_whatever_is_missing_and_not_retired_shows(levels: list[int], data: st.DataObject) -> None:
    """Of a series some backups are retired and some vanish: what shows is what vanished, as far as somebody who has
    seen all of it can know."""
    entries = catalogued(history([0, *levels, 1]))
    fates = data.draw(
        st.lists(st.sampled_from(["kept", "retired", "lost"]), min_size=len(entries), max_size=len(entries))
    )
    kept = [entry for entry, fate in zip(entries, fates, strict=True) if fate == "kept"]
    gone = [retired_from(entry) for entry, fate in zip(entries, fates, strict=True) if fate == "retired"]
    lost = [number for number, fate in enumerate(fates, start=1) if fate == "lost"]
    first, newest = (kept[0].manifest.seq, kept[-1].manifest.seq) if kept else (1, 0)
    below = max((one.seq for one in gone if one.seq < first), default=0) if kept else 0
    losses = check_series(kept, gone, highest_seen=len(entries))
    shown = [number for loss in losses for number in numbers_of(loss.key)]
    assert shown == [number for number in lost if number > below]
    assert [loss.newest for loss in losses] == [numbers_of(loss.key)[-1] > newest for loss in losses]


@given(LEVELS, st.data())
def test_a_retired_number_is_not_given_again(levels: list[int], data: st.DataObject) -> None:
    entries = catalogued(history([0, *levels]))
    gone = data.draw(st.sets(st.sampled_from(range(len(entries)))))
    kept = [entry for position, entry in enumerate(entries) if position not in gone]
    retired = [retired_from(entries[position]) for position in sorted(gone)]
    assert next_place(kept, retired) == (len(entries) + 1, entries[-1].payload_sha256)
    following = sample_manifest(len(entries) + 1, previous=entries[-1].payload_sha256)
    assert check_series([*kept, *catalogued_as_is([following])], retired) == []


def test_a_backup_that_followed_another_than_the_retired_one_shows() -> None:
    entries = catalogued(history([0, 1]))
    other = replace(retired_from(entries[0]), manifest_sha256="0" * 64)
    assert check_series(entries[1:], [retired_from(entries[0])]) == []
    (loss,) = check_series(entries[1:], [other])
    assert loss.key == f"before {entries[1].manifest.backup_id}"


def test_a_series_that_began_anew_after_a_loss_misses_nothing_before() -> None:
    anew = catalogued_as_is([replace(sample_manifest(5), previous=None)])
    assert check_series(anew) == []
    (loss,) = check_series(catalogued_as_is([sample_manifest(5)]))
    assert (loss.key, loss.newest) == ("1 to 4", False)


def test_a_retired_backup_says_when_and_why() -> None:
    (entry,) = catalogued(history([0]))
    one = retired_from(entry)
    check_not_retired([one], None)
    check_not_retired([one], "another")
    with pytest.raises(NoSuchBackup) as caught:
        check_not_retired([one], one.backup_id)
    assert one.reason in caught.value.problem
    assert "2026-03-01" in caught.value.problem


def numbers_of(key: str) -> list[int]:
    first, last = map(int, key.split(" to "))
    return list(range(first, last + 1))
