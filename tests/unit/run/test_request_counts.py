# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run asks of a repository does not grow with the backups of others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from zrb.run.backup import plan_backup
from zrb.run.context import Context
from zrb.run.list import list_backups
from zrb.run.restore import RestoreSelection, plan_restore
from zrb.run.verify import verify

from tests.fakes.fleet import DATASET, Fleet

OTHERS = 10_000
MOST_BESIDES = 5

Look = Callable[[Fleet, Context], object]
LOOKS: dict[str, Look] = {
    "list": lambda fleet, context: list_backups(context, task=fleet.task),
    "dry run": lambda fleet, context: plan_backup(context, task=fleet.task, level=1),
    "verify": lambda fleet, context: verify(context, depth="exists", task=fleet.task),
    "restore": lambda fleet, context: plan_restore(
        context, RestoreSelection(dataset=DATASET, target="tank/restore/copy"), trusted=context.trusted_signers()
    ),
    "backup": lambda fleet, _context: fleet.back_up(0),
}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A repository with three backups of one dataset, and many of others: of this host, and of others."""
    fleet = Fleet(tmp_path_factory.mktemp("crowded"))
    for level in (0, 1, 1):
        fleet.back_up(level)
        fleet.write(level)
    for number in range(OTHERS):
        host, dataset = ("nas1", f"tank/other{number % 50}") if number % 2 else ("nas2", "tank/data")
        key = f"manifests/{host}/{dataset}/20260101T000000Z-L0-{number:08x}.json"
        fleet.store.replace(key, b"nobody reads this")
    return fleet


@pytest.mark.parametrize("name", LOOKS)
def test_the_backups_of_others_cost_nothing(crowded: Fleet, name: str) -> None:
    crowded.store.calls.clear()
    LOOKS[name](crowded, crowded.context())
    own = ("manifests/nas1/tank/data/", "data/nas1/tank/data/")
    foreign = [(operation, key) for operation, key in crowded.store.calls if not key.startswith(own)]
    assert len(foreign) <= MOST_BESIDES, foreign
    listed = {key for operation, key in crowded.store.calls if operation == "list"}
    assert listed
    assert all("nas1/tank/data/" in key for key in listed), "a listing of more has pages of others"


def test_a_list_that_has_nothing_new_to_read(crowded: Fleet) -> None:
    """As before a backup that is not due: the identity, a listing of the series, and one of its parts per level."""
    list_backups(crowded.context(), task=crowded.task)
    crowded.store.calls.clear()
    list_backups(crowded.context(), task=crowded.task)
    assert len(crowded.store.calls) <= MOST_BESIDES
