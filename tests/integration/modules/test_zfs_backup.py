# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zfs_backup`` through ``ansible-playbook``, on a real ZFS."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

from zrb.values.manifest_json import decode_manifest

from tests.fixtures.file_tree import change_tree
from tests.integration.modules.conftest import Ansible, Fail, Nas, s3_options
from tests.integration.s3_fixtures import SECRET_KEY, LocalBucket
from tests.integration.zfs_fixtures import MadePool

BACKUP = "zrb.fleet.zfs_backup"


def snapshots(dataset: str) -> list[str]:
    listed = subprocess.run(
        ["zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset], check=True, capture_output=True, text=True
    )
    return listed.stdout.split()


def test_check_mode_plans_and_each_run_makes_a_backup(ansible: Ansible, nas: Nas) -> None:
    first, made, second, made_again = ansible.quad(BACKUP, {**nas.explicit, "level": 1})

    assert [result["changed"] for result in (first, made, second, made_again)] == [True] * 4
    (planned,) = first["plan"]
    assert planned["dataset"] == nas.dataset
    assert (planned["level"], planned["level_requested"], planned["base"]) == (0, 1, None)
    assert planned["reason"]
    assert first["warnings"] == made["warnings"] == [planned["reason"]]
    assert planned["destination"] == str(nas.repository)

    (full,) = made["backups"]
    assert (full["level"], full["base"], full["parts_resumed"]) == (0, None, 0)
    assert (nas.repository / full["manifest_key"]).is_file()
    assert made["diff"]["after"][nas.dataset]["snapshot"] == full["snapshot"]

    assert second["plan"][0]["base"]["backup_id"] == full["backup_id"]
    (increment,) = made_again["backups"]
    assert increment["level"] == 1
    assert increment["base"]["guid"] == full["snapshot_guid"]
    assert increment["stream_bytes"] < full["stream_bytes"]
    assert snapshots(nas.dataset) == [full["snapshot"], increment["snapshot"]]


def test_check_mode_leaves_nothing_behind(ansible: Ansible, nas: Nas) -> None:
    (result,) = ansible.play([{BACKUP: {**nas.explicit, "level": 0}, "check_mode": True}])
    assert result["changed"]
    assert snapshots(nas.dataset) == []
    assert list(nas.repository.iterdir()) == []


def test_a_fresh_backup_is_enough(ansible: Ansible, nas: Nas) -> None:
    fresh_enough = {**nas.explicit, "level": 1, "unless_newer_than": "20h"}
    first, made, second, again = ansible.quad(BACKUP, fresh_enough)
    assert (first["changed"], made["changed"], second["changed"], again["changed"]) == (True, True, False, False)
    assert second["plan"] == []
    assert again["backups"] == []
    assert again["fresh"] == {nas.dataset: made["backups"][0]["backup_id"]}

    (full, lower) = ansible.play([{BACKUP: {**fresh_enough, "level": level}} for level in (0, 2)])
    assert full["changed"] is False, "the backup was promoted to level 0, which is complete"
    assert lower["changed"] is False


def test_a_fresh_increment_counts_only_with_its_base(ansible: Ansible, nas: Nas) -> None:
    def options(level: int) -> dict[str, Any]:
        return {**nas.explicit, "level": level, "unless_newer_than": "1w"}

    explicit = {**nas.explicit, "level": 1}
    _full, _increment = ansible.play([{BACKUP: {**nas.explicit, "level": 0}}, {BACKUP: explicit}])
    (enough,) = ansible.play([{BACKUP: options(1), "check_mode": True}])
    assert enough["changed"] is False
    (manifest,) = (nas.repository / "manifests").rglob("*-L0-*.json")
    manifest.unlink()
    full, increment = ansible.play([{BACKUP: options(0), "check_mode": True}, {BACKUP: options(1), "check_mode": True}])
    assert (full["changed"], increment["changed"]) == (True, True)


def test_a_config_and_its_task_do_the_same(ansible: Ansible, nas: Nas) -> None:
    job = {"awx_job_id": 42, "awx_user_name": "müller"}
    options = {"config": str(nas.config), "task": "home", "level": 0, "job": job}
    (result,) = ansible.play([{BACKUP: options}])
    (backup,) = result["backups"]
    assert backup["task"] == "home"
    envelope = json.loads((nas.repository / backup["manifest_key"]).read_text())
    manifest = decode_manifest(base64.b64decode(envelope["payload"]))
    assert manifest.job == {"awx_job_id": "42", "awx_user_name": "müller"}
    assert manifest.snapshot.name == backup["snapshot"]


def test_defaults_of_the_action_group_hold(ansible: Ansible, nas: Nas) -> None:
    taken, made, listed, planned = ansible.play(
        [
            {"zrb.fleet.zfs_snapshot": {"task": "home", "level": 0}},
            {BACKUP: {"task": "home", "level": 0}},
            {"zrb.fleet.zfs_backup_info": {"task": "home"}},
            {"zrb.fleet.zfs_restore": {"dataset": nas.dataset, "target": f"{nas.restore}/x"}, "check_mode": True},
        ],
        play={"module_defaults": {"group/zrb.fleet.config": {"config": str(nas.config)}}},
    )
    assert taken["snapshot"]["name"].startswith(f"{nas.dataset}@zrb_level0_")
    assert listed["backups"][0]["backup_id"] == made["backups"][0]["backup_id"]
    assert planned["plan"]["links"][0]["backup_id"] == made["backups"][0]["backup_id"]


def test_a_bucket_holds_a_repository(ansible: Ansible, nas: Nas, bucket: LocalBucket) -> None:
    options = {name: value for name, value in nas.explicit.items() if name != "repository"} | {
        **s3_options(bucket),
        "storage_classes": ["STANDARD_IA", "STANDARD"],
        "part_size": "8MiB",
        "chunk_size": "8MiB",
        "memory_limit": "64MiB",
    }
    full, _change, increment = ansible.play(
        [
            {BACKUP: {**options, "level": 0}},
            {"ansible.builtin.copy": {"content": "more", "dest": str(nas.files / "more.txt"), "mode": "0644"}},
            {BACKUP: {**options, "level": 1}},
        ]
    )
    assert full["backups"][0]["location"] == f"s3://{bucket.name}/nas/"
    assert full["backups"][0]["storage_class"] == "STANDARD_IA"
    assert increment["backups"][0]["storage_class"] == "STANDARD"
    assert increment["backups"][0]["level"] == 1
    assert SECRET_KEY not in str([full, increment])
    listed = bucket.client().list_objects_v2(Bucket=bucket.name, Prefix=f"nas/{full['backups'][0]['manifest_key']}")
    assert listed["KeyCount"] == 1


def test_a_recursive_backup_goes_on_where_one_dataset_fails(ansible: Ansible, nas: Nas, zpool: MadePool) -> None:
    for name in ("home/a", "home/b", "home/cache"):
        subprocess.run(["zfs", "create", f"{zpool.name}/{name}"], check=True)
    options = {**nas.explicit, "recursive": True, "exclude": ["cache"], "level": 0}
    (first,) = ansible.play([{BACKUP: options}])
    assert [backup["dataset"] for backup in first["backups"]] == [f"{nas.dataset}{name}" for name in ("", "/a", "/b")]
    assert len({backup["snapshot"].partition("@")[2] for backup in first["backups"]}) == 1

    manifests = nas.repository / "manifests" / "zrbtest-nas" / zpool.name / "home" / "a"
    for manifest in manifests.iterdir():
        manifest.unlink()
    (second,) = ansible.play([{BACKUP: {**options, "level": 1, "strict_level": True}}])
    assert second["failed"] is True
    assert second["changed"] is True, second
    assert [backup["dataset"] for backup in second["backups"]] == [nas.dataset, f"{nas.dataset}/b"]
    assert [failed["dataset"] for failed in second["failures"]] == [f"{nas.dataset}/a"]
    assert second["msg"].startswith(second["failures"][0]["problem"])


def test_warnings_are_shown(ansible: Ansible, nas: Nas) -> None:
    (made,) = ansible.play([{BACKUP: {**nas.explicit, "level": 0}}])
    change_tree(nas.files, 1)
    key = nas.repository / made["backups"][0]["manifest_key"]
    key.with_name("stray.json").write_text("{}")
    (again,) = ansible.play([{BACKUP: {**nas.explicit, "level": 1}}])
    assert again["backups"][0]["level"] == 1
    (warning,) = again["backups"][0]["warnings"]
    assert "stray.json" in warning and "not named" in warning
    assert again["warnings"] == [warning]


BAD_INPUT: list[tuple[dict[str, Any], str]] = [
    ({"level": 5}, "value of level must be one of: 0, 1, 2, 3, 4"),
    ({"dataset": None}, "one of the following is required: task, dataset"),
    ({"recipients": None}, "one of the following is required: config, recipients"),
    ({"signing_key": None}, "one of the following is required: config, signing_key"),
    ({"repository": None}, "one of the following is required: config, repository, bucket"),
    ({"bucket": "some-bucket"}, "parameters are mutually exclusive: repository|bucket"),
    ({"config": "/etc/zrb/config.yaml"}, "parameters are mutually exclusive: "),
    ({"prefix": "x/"}, "missing parameter(s) required by 'prefix': bucket"),
    ({"part_size": "lots"}, "The option part_size"),
    ({"recipients": ["age1nonsense"]}, "The option recipients"),
    ({"trusted_signers": ["zrbsign1nonsense"]}, "The option trusted_signers"),
    ({"unless_newer_than": "yesterday"}, "The option unless_newer_than cannot be 'yesterday'."),
    ({"dataset": "zrbtest-no-such-pool/x"}, "zrbtest-no-such-pool"),
    ({"signing_key": "/nonexistent/signing.key"}, "The key file /nonexistent/signing.key does not exist."),
    ({"exclude": ["x"]}, "The option exclude has no effect in a task that is not recursive"),
    ({"memory_limit": "1MiB"}, "The option memory_limit"),
]


def test_what_is_wrong_is_said(ansible: Ansible, nas: Nas) -> None:
    valid = {**nas.explicit, "level": 0}
    tasks = [
        {BACKUP: {name: value for name, value in (valid | changes).items() if value is not None}}
        for changes, _message in BAD_INPUT
    ]
    for (changes, message), refused in zip(BAD_INPUT, ansible.play(tasks), strict=True):
        assert refused.get("failed") is True, changes
        assert message in refused["msg"]
    assert snapshots(nas.dataset) == []


def test_an_unknown_task_lists_the_known_ones(failure: Fail, nas: Nas) -> None:
    refused = failure(BACKUP, {"config": str(nas.config), "task": "hom", "level": 0})
    assert refused["error"] == "NoSuchTask"
    assert refused["exit_code"] == 6
    assert "Known tasks: home" in refused["msg"]


def test_strict_level_refuses_to_promote(failure: Fail, nas: Nas) -> None:
    refused = failure(BACKUP, {**nas.explicit, "level": 1, "strict_level": True})
    assert "level" in refused["msg"]
    assert refused["next_step"]
    assert snapshots(nas.dataset) == []
