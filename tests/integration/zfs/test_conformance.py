# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real ZFS against the conformance suite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from zrb.zfs.real_zfs import RealZfs

from tests.integration.zfs.conformance import *  # noqa: F403 - the suite
from tests.integration.zfs.conformance import Laboratory
from tests.integration.zfs_fixtures import MadeDataset, MadePool, command

pytestmark = pytest.mark.zfs


@pytest.fixture
def zfs_under_test(zpool: MadePool, make_dataset: Callable[..., MadeDataset]) -> Laboratory:
    def mountpoint(dataset: str) -> Path:
        return zpool.mountpoint / dataset.removeprefix(f"{zpool.name}/")

    def read(dataset: str) -> bytes:
        """A clone shows what is in a snapshot without touching the dataset."""
        snapshot = RealZfs().snapshots(dataset)[-1]
        name = f"clone-{snapshot.guid}"
        command("zfs", "clone", "-o", f"mountpoint={zpool.mountpoint / name}", snapshot.name, f"{zpool.name}/{name}")
        return (zpool.mountpoint / name / "content").read_bytes()

    return Laboratory(
        zfs=RealZfs(),
        pool=zpool.name,
        restore=zpool.restore,
        add_filesystem=lambda path: make_dataset(path).name,
        write=lambda dataset, content: (mountpoint(dataset) / "content").write_bytes(content) and None,
        read=read,
    )
