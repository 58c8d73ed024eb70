# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from dataclasses import asdict

import pytest
from zrb.errors import ZfsDenied, ZfsMissing
from zrb.values.zfs import Capabilities
from zrb.zfs.capabilities import probe_capabilities, read_capabilities

from tests.unit.zfs import usage_texts
from tests.unit.zfs.scripted import OPENZFS, ZFS_FUSE, ScriptedLine, failed, said


def capable(usage: str) -> set[str]:
    """Names of what is possible."""
    found = read_capabilities(usage=usage, version="v", platform_name="p")
    return {name for name, value in asdict(found).items() if value is True}


EVERYTHING = {name for name, kind in Capabilities.__annotations__.items() if kind == "bool"}


def test_zfs_fuse_can_do_nothing_of_it() -> None:
    assert capable(usage_texts.ZFS_FUSE) == set()


def test_openzfs_0_7_has_neither_encryption_nor_receive_properties() -> None:
    assert capable(usage_texts.OPENZFS_0_7) == EVERYTHING - {
        "send_raw",
        "receive_properties",
        "encryption",
    }


@pytest.mark.parametrize("usage", [usage_texts.OPENZFS_0_8, usage_texts.OPENZFS_2_1, usage_texts.OPENZFS_2_2])
def test_openzfs_from_0_8_on_can_do_all(usage: str) -> None:
    assert capable(usage) == EVERYTHING


def test_nothing_is_read_from_an_empty_text() -> None:
    assert capable("") == set()


def test_the_version_is_as_zfs_names_itself() -> None:
    found = probe_capabilities(ScriptedLine(OPENZFS))
    assert found.version == "zfs-2.3.2-2"
    assert {name for name, value in asdict(found).items() if value is True} == EVERYTHING


def test_an_old_zfs_is_named_by_its_pool_version() -> None:
    assert probe_capabilities(ScriptedLine(ZFS_FUSE)).version == "pool version 23"


def test_a_zfs_without_any_version_is_not_trusted() -> None:
    script = {**ZFS_FUSE, "zpool upgrade -v": said("")}
    with pytest.raises(ZfsMissing, match="its version"):
        probe_capabilities(ScriptedLine(script))


@pytest.mark.parametrize(
    "stderr",
    [
        "The ZFS modules are not loaded.\nTry running 'modprobe zfs' as root to load them.\n",
        "The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root to manually load them.\n",
        "/dev/zfs and /proc/self/mounts are required.\nTry running 'udevadm trigger'\n",
        "connect: No such file or directory\nPlease make sure that the zfs-fuse daemon is running.\n"
        "internal error: failed to initialize ZFS library\n",
        "something that nobody foresaw\n",
    ],
)
def test_a_zfs_without_module_or_daemon_says_how_to_start_it(stderr: str) -> None:
    with pytest.raises(ZfsMissing) as failure:
        probe_capabilities(ScriptedLine({"zfs version": failed(stderr)}))
    assert stderr.split("\n", maxsplit=1)[0] in failure.value.explain()
    assert "modprobe zfs" in failure.value.next_step
    assert "zfs-fuse" in failure.value.next_step


def test_a_user_who_may_not_use_zfs_is_told_so() -> None:
    with pytest.raises(ZfsDenied, match="zfs allow"):
        probe_capabilities(
            ScriptedLine({"zfs version": failed("Permission denied the ZFS utilities must be run as root.\n")})
        )
