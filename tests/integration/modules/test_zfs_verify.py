# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zfs_verify`` through ``ansible-playbook``."""

from __future__ import annotations

import pytest

from tests.integration.modules.conftest import Ansible, Fail, Nas

BACKUP = "zrb.fleet.zfs_backup"
VERIFY = "zrb.fleet.zfs_verify"


def test_every_depth_proves_what_is_whole_and_the_readers_find_what_is_not(ansible: Ansible, nas: Nas) -> None:
    depths = ["signature", "exists", "checksum", "decrypt"]
    options = {**nas.reading, "dataset": nas.dataset, "private_key": str(nas.age_key)}
    verifications = [{VERIFY: {**options, "depth": depth}} for depth in depths]
    made, *whole = ansible.play([{BACKUP: {**nas.explicit, "level": 0}}, *verifications])
    (backup,) = made["backups"]
    for depth, result in zip(depths, whole, strict=True):
        assert result["changed"] is False
        verified = result["verified"]
        assert (verified["depth"], verified["backups"], verified["problems"]) == (depth, [backup["backup_id"]], [])
        assert verified["parts"] == (0 if depth == "signature" else backup["parts"])

    part = min(nas.repository.rglob("*.age"))
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    share = {VERIFY: {**options, "depth": "checksum", "subset": "1/1"}, "check_mode": True}
    *shallow, checksum, decrypt, checked = ansible.play([*verifications, share])
    assert not any(result.get("failed") for result in shallow)
    for result in (checksum, decrypt, checked):
        assert (result["failed"], result["changed"]) == (True, False)
        assert (result["error"], result["exit_code"]) == ("PartDamaged", 5)
        (problem,) = result["verified"]["problems"]
        assert (problem["backup_id"], problem["subject"]) == (backup["backup_id"], result["subject"])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"depth": "decrypt"}, "UsageError"),
        ({"dataset": "tank/never"}, "NoSuchBackup"),
        ({"subset": "8/7"}, "UsageError"),
    ],
)
def test_what_cannot_be_verified_is_a_failure(
    ansible: Ansible, nas: Nas, failure: Fail, changes: dict[str, str], error: str
) -> None:
    ansible.play([{BACKUP: {**nas.explicit, "level": 0}}])
    result = failure(VERIFY, {**nas.reading, "dataset": nas.dataset, **changes})
    assert (result["error"], "verified" in result) == (error, False)
    assert "--" not in result["msg"]
