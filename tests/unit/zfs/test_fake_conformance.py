# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The fake ZFS against the conformance suite, as OpenZFS and as zfs-fuse."""

from __future__ import annotations

import pytest

from tests.fakes.zfs import OPENZFS, ZFS_FUSE, FakeZfs
from tests.integration.zfs.conformance import *  # noqa: F403 - the suite
from tests.integration.zfs.conformance import Laboratory


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=["openzfs", "zfs-fuse"])
def zfs_under_test(request: pytest.FixtureRequest) -> Laboratory:
    zfs = FakeZfs(capabilities=request.param)
    zfs.add_dataset("zrbtest-fake/restore")

    return Laboratory(
        zfs=zfs,
        pool="zrbtest-fake",
        restore="zrbtest-fake/restore",
        add_filesystem=lambda path: zfs.add_dataset(f"zrbtest-fake/{path}").name,
        write=zfs.write,
        read=lambda dataset: zfs.content(zfs.snapshots(dataset)[-1].name),
    )
