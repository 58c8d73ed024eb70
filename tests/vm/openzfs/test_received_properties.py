# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restore must not mount, share or execute anything by itself; harmless properties come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import change, fill, restore_of, value

pytestmark = pytest.mark.zfs

CARRIED = {
    "compression": "zstd-3",
    "recordsize": "65536",
    "quota": str(300 << 20),
    "refquota": str(200 << 20),
    "atime": "off",
    "xattr": "sa",
    "org.example:owner": "Anna Müller; rm -rf / $(reboot)",
    "org.example:note": "kept",
}


def test_nothing_of_a_restored_dataset_acts(local_nas: Nas, tmp_path: Path) -> None:
    name = local_nas.dataset.name
    trap = tmp_path / "trap"
    fill(local_nas)
    command("zfs", "set", f"mountpoint={trap}", "canmount=on", "setuid=on", "devices=on", name)
    # Nothing exports file systems on this machine, so ZFS says that it could not, and keeps the properties.
    command("zfs", "set", "sharesmb=on", "sharenfs=on", name)
    full = local_nas.back_up(0).manifest
    assert {key: full.properties[key] for key in ("mountpoint", "sharenfs", "sharesmb")} == {
        "mountpoint": str(trap),
        "sharenfs": "on",
        "sharesmb": "on",
    }
    (trap / "added").write_text("later")
    local_nas.back_up(1)
    command("zfs", "set", f"mountpoint={local_nas.dataset.mountpoint}", name)
    trap.rmdir()

    target = local_nas.restore().target
    command("zfs", "mount", "-a")
    acts = {key: value(target, key) for key in ("mounted", "mountpoint", "canmount", "sharenfs", "sharesmb")}
    assert acts == {
        "mounted": "no",
        "mountpoint": "none",
        "canmount": "noauto",
        "sharenfs": "off",
        "sharesmb": "off",
    }
    assert not trap.exists()


def test_a_mounting_parent_mounts_and_shares_nothing_either(local_nas: Nas) -> None:
    fill(local_nas)
    command("zfs", "set", "sharesmb=on", "sharenfs=on", local_nas.pool.name)
    local_nas.back_up(0)
    files = change(local_nas)
    local_nas.back_up(1)
    target = restore_of(local_nas, local_nas.dataset.name, f"{local_nas.pool.name}/beside").target
    acts = {key: value(target, key) for key in ("mounted", "sharenfs", "sharesmb")}
    assert acts == {"mounted": "no", "sharenfs": "off", "sharesmb": "off"}
    assert not (local_nas.pool.mountpoint / "beside").exists()
    local_nas.assert_restored(target, files)


def test_quotas_and_user_properties_are_data_and_come_back(local_nas: Nas) -> None:
    name = local_nas.dataset.name
    for key, wanted in CARRIED.items():
        command("zfs", "set", f"{key}={wanted}", name)
    command("zfs", "set", "exec=off", "org.example:empty=", name)
    files = fill(local_nas)
    manifest = local_nas.back_up(0).manifest
    assert manifest.properties["exec"] == "off"

    restored = local_nas.restore()
    assert restored.warnings == ()
    # Compared with what ZFS says of the original, since it has other words for some values (xattr=sa is `on`).
    assert {key: value(restored.target, key) for key in CARRIED} == {key: value(name, key) for key in CARRIED}
    assert value(restored.target, "org.example:owner") == CARRIED["org.example:owner"]
    assert value(restored.target, "exec") == "on", "outside of the allow-list"
    local_nas.assert_restored(restored.target, files)
