# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The machine loses its power in the middle: what was committed is whole, and the next run goes on by itself."""

from __future__ import annotations

import pytest

from tests.vm.host.conftest import PoweredNas


def backups(nas: PoweredNas) -> list[str]:
    return [entry["backup_id"] for entry in nas.succeed("list")["backups"]]


def assert_all_restore(nas: PoweredNas) -> None:
    """Every committed backup is whole to its last byte, and the newest brings back the files described."""
    nas.succeed("verify", "--depth", "decrypt", "--private-key", f"{nas.directory}/age.key")
    nas.restore(f"{nas.pool}/restore/after")
    nas.act("compare", f"{nas.pool}/restore/after")


@pytest.mark.parametrize(
    ("point", "committed_before"),
    [("put_chunk:part-000003", 1), ("manifest-signed", 1), ("manifest-stored", 2)],
)
def test_power_cut_in_a_backup(powered_nas: PoweredNas, point: str, committed_before: int) -> None:
    nas = powered_nas
    nas.succeed("backup", "--level", 0)
    nas.act("change", 1)
    nas.act("describe")
    nas.stop_at("stop-in-backup", 1, point)
    nas.lose_power()

    assert len(backups(nas)) == committed_before
    (result,) = nas.succeed("backup", "--level", 1)["results"]
    assert result["level"] == 1
    assert len(backups(nas)) == committed_before + 1
    if point.startswith("put_chunk"):
        assert result["parts_resumed"] > 0
    assert_all_restore(nas)


@pytest.mark.parametrize("point", ["read_into:part-000003", "stream-written", "link-0-received"])
def test_power_cut_in_a_restore(powered_nas: PoweredNas, point: str) -> None:
    nas, target = powered_nas, f"{powered_nas.pool}/restore/after"
    nas.succeed("backup", "--level", 0)
    nas.act("change", 1)
    nas.act("describe")
    (second,) = nas.succeed("backup", "--level", 1)["results"]
    nas.stop_at("stop-in-restore", target, point)
    nas.lose_power()

    if point == "link-0-received":
        status, _, said = nas.zrb("restore", "--target", target, "--private-key", f"{nas.directory}/age.key")
        assert status == 1
        assert f"--only --backup-id {second['backup_id']}" in said
        nas.restore(target, "--only", "--backup-id", second["backup_id"])
        nas.act("compare", target)
    else:
        assert_all_restore(nas)
    assert len(backups(nas)) == 2
