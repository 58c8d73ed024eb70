# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore killed at every step: what was committed is whole, and the next run goes on or starts clean."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from zrb.config.key_files import read_identities
from zrb.errors import TargetExists
from zrb.run.context import Context
from zrb.run.restore import RestoreSelection, restore
from zrb.values.config import MIB

from tests.fakes.kill import at_checkpoint, at_store_call, dies_by_kill
from tests.fixtures.file_tree import Description, change_tree, describe_tree, make_tree
from tests.integration.nas_fixtures import Nas, directory_repository, new_nas
from tests.integration.zfs_fixtures import command, pools_below

Deadly = Callable[[Context], Context]
TwoLevels = tuple[Nas, Description, list[str], list[str]]

POINTS: dict[str, tuple[Deadly, int]] = {
    "before any part was read": (lambda context: at_store_call(context, "read_into", when="before"), 0),
    "in the middle of the first link": (
        lambda context: at_store_call(context, "read_into", when="after", key_part="level0/", nth=9),
        0,
    ),
    "before zfs receive has seen the end": (lambda context: at_checkpoint(context, "stream-written"), 1),
    "between two links": (lambda context: at_checkpoint(context, "link-0-received"), 1),
    "in the second link": (lambda context: at_store_call(context, "read_into", when="after", key_part="level1/"), 1),
    "after the last link": (lambda context: at_checkpoint(context, "link-1-received"), 2),
    "before the dataset is given to the user": (lambda context: at_checkpoint(context, "properties-set-again"), 2),
}


@pytest.fixture(scope="module")
def two_levels(real_zfs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoLevels]:
    """A NAS with levels 0 and 1, the files, the backup ids, and the guids of the snapshots; restores change none of
    it."""
    root = tmp_path_factory.mktemp("two-levels")
    with pools_below(root) as make_pool:
        nas = new_nas(make_pool(), root, directory_repository(root / "repository"))
        make_tree(nas.dataset.mountpoint, seed=6, files=10, big_bytes=MIB)
        full = nas.back_up(0).manifest
        change_tree(nas.dataset.mountpoint, 1)
        first = nas.back_up(1).manifest
        files = describe_tree(nas.dataset.mountpoint)
        yield nas, files, [full.backup_id, first.backup_id], [full.snapshot.guid, first.snapshot.guid]


@pytest.fixture(scope="module")
def uninterrupted(two_levels: TwoLevels) -> str:
    """The properties of a restored dataset."""
    nas, files, _ids, _guids = two_levels
    target = nas.restore("uninterrupted").target
    properties = _properties(target)
    nas.assert_restored(target, files)
    return properties


def _properties(dataset: str) -> str:
    return command("zfs", "get", "-H", "-p", "-s", "local", "-o", "property,value", "all", dataset)


@pytest.mark.parametrize("point", POINTS)
def test_killed_restore(two_levels: TwoLevels, point: str, uninterrupted: str) -> None:
    nas, files, ids, guids = two_levels
    deadly, most_links = POINTS[point]
    name = point.replace(" ", "-")
    target = nas.target(name)
    context = nas.context()
    selection = RestoreSelection(dataset=nas.dataset.name, target=target)
    identities = read_identities(nas.identity)
    assert dies_by_kill(
        lambda: restore(deadly(context), selection, identities=identities, trusted=context.trusted_signers())
    )
    received = _received_when_settled(nas, target)
    assert received == guids[: len(received)]
    assert len(received) <= most_links
    if nas.context().zfs.exists(target):
        with pytest.raises(TargetExists, match="--continue"):
            nas.restore(name)
    assert nas.restore(name, continues=True).links == tuple(ids[len(received) :])
    assert not nas.restore(name, continues=True).changed
    assert _properties(target) == uninterrupted
    nas.assert_restored(target, files)


def _received_when_settled(nas: Nas, target: str) -> list[str]:
    """The guids in the target once the ``zfs receive`` that lost its sender has given up, or kept what it had."""
    zfs = nas.context().zfs
    deadline = time.monotonic() + 60
    while zfs.exists(target):
        guids = [snapshot.guid for snapshot in zfs.snapshots(target)]
        receiving = subprocess.run(["pgrep", "-f", f"zfs receive .*{target}"], capture_output=True, check=False)
        if guids or (receiving.returncode and zfs.resume_point(target)):
            return guids
        assert time.monotonic() < deadline, "a dataset without a snapshot was left behind"
        time.sleep(0.05)
    return []
