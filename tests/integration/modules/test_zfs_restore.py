# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zfs_restore``, ``zfs_backup_info`` and ``zfs_snapshot`` through ``ansible-playbook``, on a real ZFS."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.fixtures.file_tree import change_tree, compare, describe_tree
from tests.integration.modules.conftest import Ansible, Fail, Nas, Result, s3_options
from tests.integration.zfs_fixtures import command

BACKUP = "zrb.fleet.zfs_backup"
INFO = "zrb.fleet.zfs_backup_info"
RESTORE = "zrb.fleet.zfs_restore"
SNAPSHOT = "zrb.fleet.zfs_snapshot"


@pytest.fixture
def chain(ansible: Ansible, nas: Nas) -> list[Result]:
    """Two backups, level 0 and 1; the files have changed between them."""
    (full,) = ansible.play([{BACKUP: {**nas.explicit, "level": 0}}])
    change_tree(nas.files, 1)
    (increment,) = ansible.play([{BACKUP: {**nas.explicit, "level": 1}}])
    return [*full["backups"], *increment["backups"]]


def restore_options(nas: Nas, **more: Any) -> dict[str, Any]:
    return {
        **nas.reading,
        "dataset": nas.dataset,
        "target": f"{nas.restore}/back",
        "private_key": str(nas.age_key),
        **more,
    }


def test_the_chain_comes_back_once(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    ids = [backup["backup_id"] for backup in chain]
    checked, restored, checked_again, restored_again = ansible.quad(RESTORE, restore_options(nas))

    assert (checked["changed"], restored["changed"]) == (True, True)
    assert [link["backup_id"] for link in checked["plan"]["links"]] == ids
    assert checked["plan"]["stream_bytes"] == sum(backup["stream_bytes"] for backup in chain)
    assert restored["restored"]["links"] == ids
    assert restored["diff"]["after"]["restored"] == ids
    assert (checked_again["changed"], restored_again["changed"]) == (False, False)
    assert restored_again["snapshot_guid"] == chain[-1]["snapshot_guid"]

    target = f"{nas.restore}/back"
    command("zfs", "set", "canmount=on", target)
    command("zfs", "set", f"mountpoint={nas.directory / 'back'}", target)
    assert compare(describe_tree(nas.files), describe_tree(nas.directory / "back")) == []


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_three_levels_come_back_from_both_kinds_of_storage(
    ansible: Ansible, nas: Nas, kind: str, request: pytest.FixtureRequest
) -> None:
    def placed(options: dict[str, Any]) -> dict[str, Any]:
        if kind == "directory":
            return options
        rest = {name: value for name, value in options.items() if name != "repository"}
        return rest | s3_options(request.getfixturevalue("bucket"))

    sizes = {"part_size": "8MiB", "chunk_size": "8MiB", "memory_limit": "64MiB"}
    ids = []
    for level in range(3):
        if level:
            change_tree(nas.files, level)
        (made,) = ansible.play([{BACKUP: placed({**nas.explicit, **sizes, "level": level})}])
        ids += [backup["backup_id"] for backup in made["backups"]]
    (restored,) = ansible.play([{RESTORE: placed(restore_options(nas))}])
    assert restored["restored"]["links"] == ids

    target = f"{nas.restore}/back"
    command("zfs", "set", "canmount=on", target)
    command("zfs", "set", f"mountpoint={nas.directory / 'back'}", target)
    assert compare(describe_tree(nas.files), describe_tree(nas.directory / "back")) == []


def test_an_older_state_comes_back(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    by_level, by_id = ansible.play(
        [
            {RESTORE: restore_options(nas, level=0)},
            {RESTORE: restore_options(nas, target=f"{nas.restore}/second", backup_id=chain[0]["backup_id"])},
        ]
    )
    assert by_level["restored"]["links"] == by_id["restored"]["links"] == [chain[0]["backup_id"]]

    (newer_onto_it,) = ansible.play([{RESTORE: restore_options(nas, only=True)}])
    assert newer_onto_it["restored"]["links"] == [chain[1]["backup_id"]]


def test_what_was_interrupted_goes_on_once(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    ids = [backup["backup_id"] for backup in chain]
    (half,) = ansible.play([{RESTORE: restore_options(nas, level=0)}])
    assert half["restored"]["links"] == ids[:1]
    checked, restored, checked_again, restored_again = ansible.quad(RESTORE, restore_options(nas, **{"continue": True}))

    assert (checked["changed"], restored["changed"]) == (True, True)
    assert [link["present"] for link in checked["plan"]["links"]] == [True, False]
    assert checked["plan"]["stream_bytes"] == chain[1]["stream_bytes"]
    assert (restored["restored"]["present"], restored["restored"]["links"]) == (ids[:1], ids[1:])
    assert restored["diff"]["before"]["restored"] == ids[:1]
    assert restored["diff"]["after"]["restored"] == ids
    assert (checked_again["changed"], restored_again["changed"]) == (False, False)

    target = f"{nas.restore}/back"
    command("zfs", "set", "canmount=on", target)
    command("zfs", "set", f"mountpoint={nas.directory / 'back'}", target)
    assert compare(describe_tree(nas.files), describe_tree(nas.directory / "back")) == []


def test_a_target_that_holds_something_else_is_never_touched(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    target = f"{nas.restore}/back"
    older, newer = ansible.play([{RESTORE: restore_options(nas, level=0)}, {RESTORE: restore_options(nas)}])
    assert older["changed"]
    assert newer["failed"]
    assert newer["error"] == "TargetExists"
    assert f"{target} exists" in newer["msg"]
    listed = subprocess.run(["zfs", "list", "-H", "-t", "snapshot", "-r", target], capture_output=True, check=True)
    assert listed.stdout.count(b"\n") == 1


def test_bad_input_to_a_restore_is_explained(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    valid = restore_options(nas)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"private_key": None}, "A restore needs the private age key."),
        ({"private_key": str(nas.signing_key)}, str(nas.signing_key)),
        ({"trusted_signers": None}, "trusted"),
        ({"dataset": "zrbtest-pool/unknown"}, "zrbtest-pool/unknown"),
        ({"host": "zrbtest-other"}, "There is no"),
        ({"at": "last week"}, "The option at cannot be 'last week'"),
        ({"at": "2001-01-01"}, "2001-01-01"),
        ({"level": 0, "backup_id": chain[0]["backup_id"]}, "parameters are mutually exclusive: level|backup_id|at"),
        ({"backup_id": "20010101T000000Z-L0-00000000"}, "20010101T000000Z-L0-00000000"),
        ({"target": f"{nas.restore}/missing/parent"}, f"{nas.restore}/missing"),
    ]
    tasks = [
        {RESTORE: {name: value for name, value in (valid | changes).items() if value is not None}}
        for changes, _message in cases
    ]
    for (changes, message), refused in zip(cases, ansible.play(tasks), strict=True):
        assert refused.get("failed") is True, changes
        assert message in refused["msg"], changes
    assert not command("zfs", "list", "-H", "-o", "name", "-r", nas.restore).split()[1:]


def test_the_catalogue_is_filtered_and_queried(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    full, increment = (backup["backup_id"] for backup in chain)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, [full, increment]),
        ({"level": 1}, [increment]),
        ({"dataset": nas.dataset}, [full, increment]),
        ({"dataset": f"{nas.dataset}/below"}, []),
        ({"host": "*"}, [full, increment]),
        ({"host": "zrbtest-other"}, []),
        ({"since": "1h"}, [full, increment]),
        ({"since": "2001-01-01"}, [full, increment]),
        ({"until": "2001-01-01T00:00Z"}, []),
        ({"until": "1h"}, []),
    ]
    results = ansible.play([{INFO: {**nas.reading, **more}, "check_mode": True} for more, _expected in cases])
    for (more, expected), result in zip(cases, results, strict=True):
        assert [backup["backup_id"] for backup in result["backups"]] == expected, more
        assert result["changed"] is False
        assert result["problems"] == []
    entry = results[0]["backups"][1]
    assert entry["base"]["backup_id"] == entry["chain"] == full
    assert entry["signer"] == nas.signer
    assert entry["readable"] is True

    queried, queried_badly, since_badly = ansible.play(
        [
            {INFO: {**nas.reading, "query": "[?level==`1`].backup_id"}},
            {INFO: {**nas.reading, "query": "[?"}},
            {INFO: {**nas.reading, "since": "yesterday"}},
        ]
    )
    assert queried["answer"] == [increment]
    assert "query '[?'" in queried_badly["msg"]
    assert "option since " in since_badly["msg"] and "'yesterday'" in since_badly["msg"]


def test_a_manifest_that_is_damaged_does_not_hide_the_others(ansible: Ansible, nas: Nas, chain: list[Result]) -> None:
    (nas.repository / chain[1]["manifest_key"]).write_text("{}")
    (result,) = ansible.play([{INFO: nas.reading}])
    assert [backup["backup_id"] for backup in result["backups"]] == [chain[0]["backup_id"]]
    (problem,) = result["problems"]
    assert problem["exit_code"] == 5
    assert chain[1]["manifest_key"] in problem["problem"]
    assert result["warnings"]


def test_a_snapshot_is_named_held_and_used(ansible: Ansible, nas: Nas) -> None:
    checked, taken, checked_again, _taken_again = ansible.quad(SNAPSHOT, {"dataset": nas.dataset, "level": 0})
    assert all(result["changed"] for result in (checked, taken, checked_again))
    assert checked["planned"][0].startswith(f"{nas.dataset}@zrb_level0_")
    assert taken["diff"]["after"]["snapshots"] == [taken["snapshot"]["name"]]
    with_config, used, refused = ansible.play(
        [
            {SNAPSHOT: {"config": str(nas.config), "task": "home", "level": 0}},
            {BACKUP: {**nas.explicit, "level": 0, "take_snapshot": False}},
            {SNAPSHOT: {"dataset": "zrbtest-no-such-pool/x", "level": 0}},
        ]
    )
    assert with_config["snapshot"]["hold_tag"] == "zrb:home"
    assert used["backups"][0]["snapshot"] == with_config["snapshot"]["name"]
    assert "zrbtest-no-such-pool" in refused["msg"]
    destroyed = subprocess.run(["zfs", "destroy", taken["snapshot"]["name"]], capture_output=True, check=False)
    assert destroyed.returncode != 0


def test_a_config_can_be_met_by_other_options(ansible: Ansible, nas: Nas, chain: list[Result], failure: Fail) -> None:
    (listed,) = ansible.play([{INFO: {"config": str(nas.config), "host": "zrbtest-other"}}])
    assert listed["backups"] == []
    refused = failure(INFO, {"config": str(nas.config), "trusted_signers": ["zrbsign1nonsense"]})
    assert "The option trusted_signers" in refused["msg"]
