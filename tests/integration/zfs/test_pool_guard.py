# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The guard as the engine meets it: in the place of zfs and zpool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from zrb.errors import ZfsError
from zrb.zfs.real_zfs import RealZfs

from tests.integration.pool_guard import REFUSED_STATUS
from tests.integration.zfs_fixtures import MadePool, command

pytestmark = pytest.mark.zfs


def test_the_engine_cannot_reach_another_pool(zpool: MadePool) -> None:
    with pytest.raises(ZfsError, match=r"pool guard: zfs get .*'tank/a'"):
        RealZfs().dataset("tank/a")
    with pytest.raises(ZfsError, match="pool guard"):
        RealZfs().destroy_dataset("tank/a")


@pytest.mark.parametrize("program", ["zfs", "zpool"])
def test_a_refused_command_does_not_run(zpool: MadePool, program: str, pool_guard_on_path: Path) -> None:
    ended = subprocess.run([program, "destroy", "tank"], capture_output=True, text=True, check=False)
    assert ended.returncode == REFUSED_STATUS
    assert "REFUSED" in ended.stderr
    assert ended.stdout == ""


def test_a_permitted_command_is_the_real_one(zpool: MadePool) -> None:
    assert command("zfs", "list", "-H", "-o", "name", zpool.name) == f"{zpool.name}\n"
