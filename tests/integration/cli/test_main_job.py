# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The main job through the real command: back up three levels, list, verify, restore, compare file by file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.fixtures.file_tree import make_tree
from tests.integration.zfs_fixtures import command

from .conftest import CommandLine

pytestmark = pytest.mark.zfs


def test_three_levels_go_out_and_come_back(zrb: CommandLine) -> None:
    nas = zrb.nas
    results, files = zrb.back_up_three_levels()
    ids = [result["backup_id"] for result in results]
    assert [result["level"] for result in results] == [0, 1, 2]
    assert [result["base"] and result["base"]["backup_id"] for result in results] == [None, ids[0], ids[1]]

    entries = zrb("list", "--json").succeeded().document["entries"]
    assert [entry["backup_id"] for entry in entries] == ids
    assert all(entry["readable"] and entry["signer"] for entry in entries)
    for entry, result in zip(entries, results, strict=True):
        for field in ("stream_bytes", "stored_bytes", "parts", "snapshot", "snapshot_guid", "storage_class"):
            assert entry[field] == result[field]
    assert len(zrb("list", "--level", 1).succeeded().out.splitlines()) == 2

    for depth in ("signature", "exists", "checksum", "decrypt"):
        report = zrb("verify", "--depth", depth, "--private-key", nas.identity, "--json").succeeded().document
        assert (report["depth"], len(report["backups"]), report["problems"]) == (depth, 3, [])

    target = nas.target()
    planned = zrb("restore", "--target", target, "--dry-run", "--json").succeeded().document
    assert [link["backup_id"] for link in planned["links"]] == ids
    restored = zrb("restore", "--target", target, "--private-key", nas.identity, "--json").succeeded().document
    assert restored["links"] == ids
    nas.assert_restored(target, files)

    again = zrb("restore", "--target", target, "--private-key", nas.identity)
    assert again.code == 1
    assert str(target) in again.err and "exists" in again.err


def test_a_dry_run_changes_nothing(zrb: CommandLine) -> None:
    make_tree(zrb.files, seed=1, files=5, big_bytes=1000)
    before = command("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", zrb.nas.pool.name)
    ended = zrb("backup", "--level", 0, "--dry-run").succeeded()
    header, line = ended.out.splitlines()
    assert " ".join(header.split()) == "DATASET LEVEL BASE SNAPSHOT FLAGS ESTIMATE PARTS PART SIZE CHUNK CLASS TO"
    assert line.startswith(f"{zrb.nas.dataset.name}      0  -     zrb_level0_")
    (plan,) = zrb("backup", "--level", 0, "--dry-run", "--json").succeeded().document["plans"]
    assert (plan["dataset"], plan["resumes"]) == (zrb.nas.dataset.name, None)
    assert zrb("snapshot", "--level", 0, "--dry-run").succeeded().out.startswith(f"would take {zrb.nas.dataset.name}@")
    assert zrb.nas.keys() == []
    assert command("zfs", "list", "-H", "-r", "-t", "all", "-o", "name", zrb.nas.pool.name) == before


def test_a_level_without_its_base_is_promoted_and_says_so(local_zrb: CommandLine) -> None:
    make_tree(local_zrb.files, seed=1, files=5, big_bytes=1000)
    refused = local_zrb("backup", "--level", 1, "--strict-level", "--json")
    assert refused.code not in {0, 4}
    assert refused.document["failures"][0]["next_step"]
    planned = local_zrb("backup", "--level", 1, "--dry-run")
    assert (planned.code, "level 0" in planned.err) == (4, True)
    ended = local_zrb("backup", "--level", 1, "--json")
    (result,) = ended.document["results"]
    assert (result["level"], result["level_requested"]) == (0, 1)
    assert result["reason"]


def test_older_backups_by_level_id_and_time(local_zrb: CommandLine) -> None:
    nas = local_zrb.nas
    results, _ = local_zrb.back_up_three_levels()

    def planned(*options: object) -> list[str]:
        ended = local_zrb("restore", "--target", nas.target(), "--dry-run", "--json", *options).succeeded()
        return [link["backup_id"] for link in ended.document["links"]]

    ids = [result["backup_id"] for result in results]
    assert planned("--level", 1) == ids[:2]
    assert planned("--backup-id", ids[0]) == ids[:1]
    assert planned("--at", "2099-01-01") == ids
    assert planned("--dataset", nas.dataset.name) == ids
    missing = local_zrb("restore", "--target", nas.target(), "--dry-run", "--at", "1999-12-31T23:59:59Z")
    assert missing.code == 6
    assert "1999-12-31T23:59:59+00:00" in missing.err


def test_links_one_by_one(local_zrb: CommandLine) -> None:
    nas = local_zrb.nas
    results, files = local_zrb.back_up_three_levels()
    for result in results:
        local_zrb(
            "restore", "--only", "--backup-id", result["backup_id"], "--target", nas.target(),
            "--private-key", nas.identity,
        ).succeeded()  # fmt: skip
    nas.assert_restored(nas.target(), files)
    again = local_zrb(
        "restore", "--only", "--backup-id", results[1]["backup_id"], "--target", nas.target(),
        "--private-key", nas.identity,
    )  # fmt: skip
    assert again.code == 6
    assert "leave out --only" in again.err


def test_what_is_printed_for_people(local_zrb: CommandLine) -> None:
    nas = local_zrb.nas
    make_tree(local_zrb.files, seed=1, files=5, big_bytes=1000)
    backup = local_zrb("backup", "--level", 0).succeeded()
    first, second = backup.out.splitlines()
    assert first.startswith(f"{nas.dataset.name}: committed 20")
    assert first.endswith(" (level 0)")
    assert " stored as " in second
    assert second.endswith(f" at {local_zrb.repository}")
    assert backup.err.startswith("backup: 20")
    assert "\nbackup: commit 100 %" in backup.err
    plan = local_zrb("restore", "--target", nas.target(), "--dry-run").succeeded().out.splitlines()
    assert plan[0] == f"{nas.dataset.name} would be restored into {nas.target()} from 1 backup(s):"
    assert plan[-1].startswith("to download: ")
    restored = local_zrb("restore", "--target", nas.target(), "--private-key", nas.identity).succeeded()
    assert restored.out.startswith(f"restored {nas.target()}@zrb_level0_")
    assert "not mounted" in restored.out


def test_a_snapshot_is_sent_by_the_backup_that_follows(local_zrb: CommandLine) -> None:
    nas = local_zrb.nas
    local_zrb.edit(tasks=[{"name": "test", "pool": nas.task.pool, "dataset": "data", "take_snapshot": False}])
    make_tree(local_zrb.files, seed=1, files=5, big_bytes=1000)
    without = local_zrb("backup", "--level", 0)
    assert without.code == 6
    assert "zrb snapshot --level 0 --task test" in without.err
    (taken,) = local_zrb("snapshot", "--level", 0, "--json").succeeded().document["snapshots"]
    assert command("zfs", "get", "-H", "-o", "value", "userrefs", taken["name"]).strip() == "1"
    result = local_zrb.back_up(0)
    assert (result["snapshot"], result["snapshot_guid"]) == (taken["name"], taken["guid"])


def test_each_dataset_has_a_log_of_its_own_without_secrets(zrb: CommandLine) -> None:
    make_tree(zrb.files, seed=1, files=5, big_bytes=1000)
    result = zrb.back_up(0)
    (path,) = Path(zrb.nas.config.log_dir).rglob("*.log")
    assert path.parent == Path(zrb.nas.config.log_dir).joinpath(*zrb.nas.dataset.name.split("/"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[0]["event"] == "start"
    assert (records[-1]["event"], records[-1]["status"]) == ("finish", "ok")
    assert records[-1]["result"]["backup_id"] == result["backup_id"]
    assert "SECRET" not in path.read_text().upper().replace("SECRETS", "")


def test_progress_as_json_lines(zrb: CommandLine) -> None:
    make_tree(zrb.files, seed=1, files=5, big_bytes=1000)
    ended = zrb("backup", "--level", 0, "--progress", "json", "--job-id", "job-7", "--json").succeeded()
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    assert (records[0]["type"], records[-1]["type"]) == ("start", "finish")
    assert {record["job_id"] for record in records} == {"job-7"}
    assert records[-1]["result"] == ended.document["results"][0]


def test_validate_config_on_a_real_nas(zrb: CommandLine) -> None:
    ended = zrb("validate-config", "--json")
    checks = {check["name"]: check for check in ended.document["checks"]}
    assert checks["zfs"]["status"] == "ok"
    assert checks["task test"]["status"] == "ok"
    assert checks["repository"]["status"] == "ok"
    assert [check for check in checks.values() if check["status"] == "error"] == []
    make_tree(zrb.files, seed=1, files=5, big_bytes=1000)
    zrb.back_up(0)
    after = {check["name"]: check for check in zrb("validate-config", "--json").document["checks"]}
    assert "is the repository" in after["repository"]["message"]
    if zrb.nas.config.s3:
        assert after["conditional_writes"]["status"] == "ok"
        assert after["checksums"]["status"] == "warning", "moto accepts wrong checksums"
