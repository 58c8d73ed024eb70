# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holds: what later backups start from stays, the rest is given back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.holds import snapshots_to_release
from zrb.plan.level_choice import choose_base
from zrb.values.manifest import Manifest
from zrb.values.zfs import Snapshot

from tests.fixtures.sample_manifests import DATASET, MODERN, history, sample_manifest, snapshot_of


def released(line: list[Manifest], snapshots: list[Snapshot] | None = None) -> list[int]:
    found = snapshots_to_release(line, snapshots or [snapshot_of(manifest) for manifest in line])
    return [
        next(number for number, one in enumerate(line) if one.snapshot.guid == found_one.guid) for found_one in found
    ]


@pytest.mark.parametrize(
    ("made", "given_back"),
    [
        ([0], []),
        ([0, 1], []),
        ([0, 1, 2, 3], []),
        ([0, 1, 2, 3, 4], [4]),
        ([0, 0], [0]),
        ([0, 1, 1], [1]),
        ([0, 1, 2, 1], [1, 2]),
        ([0, 1, 2, 0], [0, 1, 2]),
        ([0, 1, 2, 2, 2], [2, 3]),
    ],
)
def test_only_what_a_later_backup_can_start_from_stays(made: list[int], given_back: list[int]) -> None:
    assert released(history(made)) == given_back


def test_a_snapshot_that_no_manifest_names_is_not_touched() -> None:
    line = history([0, 0])
    running = snapshot_of(sample_manifest(9))
    assert [one.guid for one in snapshots_to_release(line, [snapshot_of(line[0]), running])] == ["1001"]
    assert snapshots_to_release([], [running]) == ()


@pytest.mark.parametrize(
    ("name", "bound", "given_back"),
    [
        (f"{DATASET}@zrb_level2_20260131T120000Z", [], True),
        (f"{DATASET}@zrb_level2_20260131T120000Z", [f"{DATASET}@zrb_level2_20260131T120000Z"], False),
        (f"{DATASET}@zrb_level2_20260131T120000Z", None, False),
        (f"{DATASET}@daily_20260131T120000Z", [], False),
        (f"{DATASET}@zrb_level2_20260131T120000Z.keep", [], False),
    ],
)
def test_what_vanished_is_given_back_if_it_is_ours_and_nobody_resumes_it(
    name: str, bound: list[str] | None, given_back: bool
) -> None:
    vanished = replace(snapshot_of(sample_manifest(9)), name=name)
    found = snapshots_to_release(history([0]), [vanished], bound=bound)
    assert found == ((vanished,) if given_back else ())


def test_a_snapshot_that_is_not_held_is_not_given_back() -> None:
    line = history([0, 0])
    assert snapshots_to_release(line, [snapshot_of(line[0], holds=0), snapshot_of(line[1])]) == ()


def test_snapshots_are_known_by_guid() -> None:
    line = history([0, 0])
    renamed = replace(snapshot_of(line[0]), name=line[1].snapshot.name)
    assert snapshots_to_release(line, [renamed]) == (renamed,)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=10), st.integers(1, 4))
def test_what_was_given_back_is_never_missed(made: list[int], level: int) -> None:
    line = history(made)
    snapshots = [snapshot_of(manifest) for manifest in line]
    gone = snapshots_to_release(line, snapshots)

    def choice(left: list[Snapshot]) -> object:
        return choose_base(
            level=level,
            manifests=line,
            dataset=DATASET,
            snapshots=left,
            bookmarks=[],
            capabilities=MODERN,
            flags=(),
            encryption=line[0].encryption,
            strict=False,
        )

    assert choice([one for one in snapshots if one not in gone]) == choice(snapshots)
