# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot to send, if a ZFS runs here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.zfs_fixtures import command, create_dataset, pools_below

ROOM = 2
"""A pool on a file needs more than what is written to it."""


def zfs_here() -> str:
    """The name and version of the ZFS that runs here, or nothing."""
    if os.geteuid() or shutil.which("zpool") is None:
        return ""
    if subprocess.run(["zpool", "list", "-H"], capture_output=True, check=False).returncode:
        return ""
    asked = subprocess.run(["zfs", "version"], capture_output=True, text=True, check=False)
    return asked.stdout.split("\n", 1)[0] or "zfs-fuse"


@contextmanager
def snapshot_of(source: Path, scratch: Path) -> Iterator[str]:
    """A snapshot of a dataset that holds the bytes of ``source`` and nothing else, in a pool on a file."""
    with pools_below(scratch, pool_bytes=ROOM * source.stat().st_size + (256 << 20)) as make_pool:
        dataset = create_dataset(make_pool(), "sent")
        shutil.copy(source, dataset.mountpoint)
        command("zfs", "snapshot", f"{dataset.name}@sent")
        yield f"{dataset.name}@sent"
