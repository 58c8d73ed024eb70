# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Levels: from which base a backup starts, and why another level is taken than was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import LevelUnavailable, ZfsUnable
from zrb.plan.chain import oldest_first, resolve_chain
from zrb.plan.level_choice import BaseChoice, base_candidates, choose_base, send_flags
from zrb.values.manifest import Encryption, Manifest, SendRecord
from zrb.values.zfs import Capabilities, Dataset

from tests.fixtures.sample_manifests import (
    DATASET,
    HYBRID_RECIPIENT,
    MODERN,
    RECIPIENT,
    bookmark_of,
    history,
    sample_manifest,
    snapshot_of,
)

OLD = replace(
    MODERN, version="pool version 23", send_large_blocks=False, send_compressed=False, send_raw=False, bookmarks=False
)
ENCRYPTED = replace(DATASET, encrypted=True)
NEW = ("-L", "-c")


def choose(level: int, manifests: list[Manifest], **given_facts: Any) -> BaseChoice:
    facts: dict[str, Any] = {
        "dataset": DATASET,
        "snapshots": [snapshot_of(manifest) for manifest in manifests],
        "bookmarks": [],
        "capabilities": MODERN,
        "flags": NEW,
        "encryption": Encryption((RECIPIENT,)),
        "strict": False,
    }
    return choose_base(level=level, manifests=manifests, **(facts | given_facts))


@pytest.mark.parametrize(
    ("capabilities", "dataset", "raw", "flags"),
    [
        (MODERN, DATASET, "auto", ("-L", "-c")),
        (MODERN, DATASET, "never", ("-L", "-c")),
        (MODERN, ENCRYPTED, "always", ("-w",)),
        (MODERN, ENCRYPTED, "auto", ("-w",)),
        (MODERN, ENCRYPTED, "never", ("-L", "-c")),
        (OLD, DATASET, "auto", ()),
        (replace(OLD, send_large_blocks=True), DATASET, "auto", ("-L",)),
        (replace(OLD, send_compressed=True), DATASET, "auto", ("-c",)),
    ],
)
def test_flags_of_a_new_chain(capabilities: Capabilities, dataset: Dataset, raw: Any, flags: tuple[str, ...]) -> None:
    assert send_flags(capabilities, dataset, raw) == flags


@pytest.mark.parametrize(("dataset", "raw"), [(DATASET, "always"), (ENCRYPTED, "auto")])
def test_raw_is_refused_where_this_zfs_cannot(dataset: Dataset, raw: Any) -> None:
    with pytest.raises(ZfsUnable) as caught:
        send_flags(OLD, dataset, raw)
    assert "`zfs send -w`" in caught.value.problem
    assert caught.value.next_step.startswith("Set `raw: never` for the task")


def test_raw_is_refused_where_it_would_lose_data() -> None:
    with pytest.raises(ZfsUnable) as caught:
        send_flags(MODERN, DATASET, "always")
    assert "not encrypted" in caught.value.problem
    assert "`raw: auto`" in caught.value.next_step


def test_level_0_needs_nothing() -> None:
    assert choose(0, history([0, 1])) == BaseChoice(0, None, None, NEW, "")


@pytest.mark.parametrize(
    ("made", "level", "base"),
    [
        ([0], 1, 0),
        ([0, 1], 1, 0),
        ([0, 1], 2, 1),
        ([0, 1, 2], 2, 1),
        ([0, 1, 2, 3], 4, 3),
        ([0, 1, 2, 1], 2, 3),
        ([0, 1, 1, 1], 1, 0),
        ([0, 1, 0, 1], 2, 3),
    ],
)
def test_a_level_starts_from_the_newest_backup_of_the_level_below(made: list[int], level: int, base: int) -> None:
    line = history(made)
    choice = choose(level, line)
    assert choice == BaseChoice(level, line[base], line[base].snapshot.name, line[base].send.flags, "")


@pytest.mark.parametrize(
    ("made", "level", "taken", "base", "reason"),
    [
        ([], 1, 0, None, "the whole dataset: there is no committed backup"),
        ([], 4, 0, None, "the whole dataset: there is no committed backup"),
        ([0], 3, 1, 0, "from {base}: there is no backup of level 2 "),
        ([0, 1, 0], 2, 1, 2, "from {base}: there is no backup of level 1 "),
        ([0, 1, 2, 1], 3, 2, 3, "from {base}: there is no backup of level 2 "),
    ],
)
def test_the_highest_possible_level_is_taken_with_a_reason(
    made: list[int], level: int, taken: int, base: int | None, reason: str
) -> None:
    line = history(made)
    choice = choose(level, line)
    start = None if base is None else line[base]
    assert (choice.level, choice.base) == (taken, start)
    said = reason.format(base=start.backup_id if start else "")
    for words in (f"Level {level} ", f"level {taken}, ", said):
        assert words in choice.reason


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=8), st.integers(1, 4), st.booleans())
def test_a_chain_has_keys_of_one_kind(made: list[tuple[int, bool]], level: int, hybrid: bool) -> None:
    kinds = {True: Encryption((HYBRID_RECIPIENT,)), False: Encryption((RECIPIENT,))}
    line: list[Manifest] = []
    for number, (wanted, kind) in enumerate(made, 1):
        choice = choose(wanted, line, encryption=kinds[kind])
        line.append(sample_manifest(number, level=choice.level, base=choice.base, encryption=kinds[kind]))
    choice = choose(level, line, encryption=kinds[hybrid])
    if choice.base is not None:
        assert {link.encryption for link in resolve_chain(line, choice.base.backup_id)} == {kinds[hybrid]}
    elif any(kind == hybrid for _, kind in made[-1:]):
        raise AssertionError("the newest backup would have been a base")


def test_another_kind_of_keys_begins_a_new_chain_and_says_so() -> None:
    line = history([0, 1])
    choice = choose(2, line, encryption=Encryption((HYBRID_RECIPIENT,)))
    assert (choice.level, choice.base) == (0, None)
    assert f"{line[1].backup_id} was encrypted for classic age keys" in choice.reason
    with pytest.raises(LevelUnavailable, match="hybrid"):
        choose(2, line, encryption=Encryption((HYBRID_RECIPIENT,)), strict=True)
    other = Encryption((RECIPIENT.replace("q", "p"), RECIPIENT))
    assert choose(2, line, encryption=other).base == line[1]


def test_strict_refuses_another_level() -> None:
    with pytest.raises(LevelUnavailable) as caught:
        choose(3, history([0]), strict=True)
    assert caught.value.exit_code == 1
    assert caught.value.subject == "tank/data"
    assert "Level 3 " in caught.value.problem and "no backup of level 2 " in caught.value.problem
    assert "level 1" in caught.value.next_step
    line = history([0, 1])
    assert choose(2, line, strict=True).base == line[1]


def test_a_bookmark_serves_where_the_snapshot_is_gone() -> None:
    line = history([0, 1])
    facts = {"snapshots": [], "bookmarks": [bookmark_of(manifest) for manifest in line]}
    assert choose(2, line, **facts).base_source == "tank/data#zrb_level1_2"
    assert choose(2, line, **facts, capabilities=replace(MODERN, bookmarks=False)).level == 0
    assert choose(2, line, bookmarks=facts["bookmarks"]).base_source == "tank/data@zrb_level1_2"


def test_a_bookmark_of_another_moment_does_not_serve() -> None:
    (full,) = history([0])
    bookmark = bookmark_of(full)
    for other in (replace(bookmark, createtxg=1), replace(bookmark, guid="1")):
        choice = choose(1, [full], snapshots=[], bookmarks=[other])
        assert choice.base is None
        for name in ("tank/data@zrb_level0_1", "1001", full.backup_id, "gone", "bookmark"):
            assert name in choice.reason


def test_a_snapshot_is_known_by_its_guid_and_not_by_its_name() -> None:
    (full,) = history([0])
    snapshot = snapshot_of(full)
    assert choose(1, [full], snapshots=[replace(snapshot, name="tank/data@renamed")]).base_source == "tank/data@renamed"
    assert choose(1, [full], snapshots=[replace(snapshot, guid="1")]).base is None


def test_the_next_lower_level_serves_where_a_base_is_gone() -> None:
    line = history([0, 1, 2])
    choice = choose(3, line, snapshots=[snapshot_of(line[0])])
    assert (choice.level, choice.base) == (1, line[0])
    newest, middle = choice.reason.split("; ")
    for name in ("Level 3", "level 1", line[0].backup_id, "tank/data@zrb_level2_3", line[2].backup_id, "gone"):
        assert name in newest
    for name in ("tank/data@zrb_level1_2", line[1].backup_id, "gone"):
        assert name in middle


def test_a_dataset_that_was_made_anew_starts_from_nothing() -> None:
    (full,) = history([0])
    choice = choose(1, [full], dataset=replace(DATASET, guid="99"))
    assert choice.level == 0
    for name in (full.backup_id, "another dataset", "4242", "99"):
        assert name in choice.reason


def test_a_dataset_that_became_encrypted_starts_from_nothing() -> None:
    (full,) = history([0])
    choice = choose(1, [full], dataset=ENCRYPTED, flags=("-w",))
    assert (choice.level, choice.flags) == (0, ("-w",))
    assert f"{full.backup_id} " in choice.reason and "not encrypted" in choice.reason
    raw = sample_manifest(1, dataset=replace(full.dataset, encrypted=True), send=SendRecord(("-w",), "zfs", "Linux"))
    reason = choose(1, [raw]).reason
    assert f"{raw.backup_id} " in reason and "was encrypted" in reason


def test_an_increment_repeats_the_flags_of_its_base() -> None:
    full = sample_manifest(1, send=SendRecord(("-L",), "zfs-0.8", "Linux"))
    assert choose(1, [full]).flags == ("-L",)


def test_flags_that_this_zfs_does_not_have_start_a_new_chain() -> None:
    (full,) = history([0])
    choice = choose(1, [full], capabilities=OLD, flags=())
    assert (choice.level, choice.flags) == (0, ())
    assert f"{full.backup_id} was sent with -L -c" in choice.reason and "pool version 23" in choice.reason
    unknown = sample_manifest(1, send=SendRecord(("-e",), "zfs-9", "Linux"))
    assert "was sent with -e" in choose(1, [unknown]).reason


def test_a_base_is_older_than_the_snapshot_to_send() -> None:
    line = history([0, 1])
    full, first = line
    for target in (snapshot_of(first), replace(snapshot_of(first), guid="7", createtxg=15)):
        choice = choose(2, line, target=target)
        assert (choice.level, choice.base) == (1, full)
        assert first.backup_id in choice.reason and f"not older than {target.name}" in choice.reason
    assert choose(2, line, target=replace(snapshot_of(first), guid="7", createtxg=21)).base == first


def test_an_increment_whose_chain_is_broken_does_not_count() -> None:
    line = history([0, 1, 0, 1])
    choice = choose(2, [line[0], line[1], line[3]])
    assert choice.base == line[1]
    assert base_candidates(line[1:2]) == ()


@given(
    made=st.lists(st.integers(0, 4), max_size=10),
    level=st.integers(0, 4),
    lost=st.sets(st.integers(0, 9)),
    gone=st.sets(st.integers(0, 9)),
    remembered=st.sets(st.integers(0, 9)),
    foreign=st.sets(st.integers(0, 9)),
    target_txg=st.integers(1, 120),
)
def test_a_base_is_never_absent_younger_or_of_another_dataset(
    made: list[int],
    level: int,
    lost: set[int],
    gone: set[int],
    remembered: set[int],
    foreign: set[int],
    target_txg: int,
) -> None:
    line = [
        replace(manifest, dataset=replace(manifest.dataset, guid="99")) if number in foreign else manifest
        for number, manifest in enumerate(history(made))
    ]
    known = [manifest for number, manifest in enumerate(line) if number not in lost]
    snapshots = [snapshot_of(manifest) for number, manifest in enumerate(line) if number not in gone]
    bookmarks = [bookmark_of(manifest) for number, manifest in enumerate(line) if number in remembered]
    target = replace(snapshot_of(sample_manifest(50)), createtxg=target_txg)
    choice = choose(level, known, snapshots=snapshots, bookmarks=bookmarks, target=target)

    assert 0 <= choice.level <= level
    assert (choice.reason == "") == (choice.level == level)
    assert (choice.base is None) == (choice.base_source is None) == (choice.level == 0)
    if choice.base is not None:
        base = choice.base
        assert base in known
        assert base.level == choice.level - 1
        assert base.dataset.guid == DATASET.guid
        assert base.snapshot.createtxg < target_txg
        assert choice.flags == base.send.flags
        assert resolve_chain(known, base.backup_id)[-1] == base
        there = {point.name: point.guid for point in [*snapshots, *bookmarks]}
        assert there[choice.base_source or ""] == base.snapshot.guid
        ordered = oldest_first(known)
        newer = [manifest for manifest in ordered[ordered.index(base) + 1 :] if manifest.level <= base.level]
        assert all(_is_orphan(ordered, manifest) for manifest in newer)


def _is_orphan(ordered: list[Manifest], manifest: Manifest) -> bool:
    return manifest not in base_candidates(ordered[: ordered.index(manifest) + 1])
