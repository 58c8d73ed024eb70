# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of docs/performance.md follow from its costs and from what the engine chooses."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.bench.model import BACKUP, MACHINES, PAGE, RESTORE, Direction, costs_of, speed, tables
from tests.bench.stages import PASSES, PROOF_PASSES

TEXT = PAGE.read_text(encoding="utf-8")
COSTS = costs_of(TEXT)


@pytest.mark.parametrize("name", tables(COSTS))
def test_the_page_shows_what_the_model_says(name: str) -> None:
    shown = TEXT.split(f"<!-- {name} -->\n")[1].split("\n<!-- end -->")[0]
    assert shown == tables(COSTS)[name], "python -m tests.bench.model prints what belongs on the page"


def test_the_page_gives_the_cost_of_each_stage() -> None:
    assert COSTS.keys() == BACKUP.passes.keys() | RESTORE.passes.keys()
    assert all(seconds > 0 for seconds in COSTS.values())


def test_a_backup_has_the_stages_that_are_measured() -> None:
    """To a directory each part has one SHA-256, and is written instead of sent."""
    measured = {stage: PASSES.get(stage, 0) + PROOF_PASSES.get(stage, 0) for stage in {*PASSES, *PROOF_PASSES}}
    of_s3 = {stage: count for stage, count in measured.items() if stage != "write"}
    assert BACKUP.passes == {**of_s3, "SHA-256": 2, "send by HTTPS": 1}


@pytest.mark.parametrize("direction", [BACKUP, RESTORE], ids=["backup", "restore"])
def test_more_of_anything_is_never_slower(direction: Direction) -> None:
    links = (1e8, 1e9, 1e10, 1e11)
    for fewer, more in pairwise(MACHINES[:3]):
        for slow, fast in pairwise(links):
            slower, limit = speed(direction, COSTS, fewer, slow)
            assert speed(direction, COSTS, more, slow)[0] >= slower
            assert speed(direction, COSTS, fewer, fast)[0] > slower or limit != "link"
