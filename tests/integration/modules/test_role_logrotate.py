# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role logrotate, applied to a directory, and the real logrotate with what it wrote."""

from __future__ import annotations

import getpass
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.report.logs import Logged

from tests.integration.modules.conftest import Ansible

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="needs logrotate"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as whom logrotate runs"),
]


class Silent:
    """A progress that nobody watches."""

    def __getattr__(self, name: str) -> Any:
        return lambda *words, **facts: None


def changes(said: str) -> int:
    return said.count("\nchanged: [")


@pytest.fixture
def variables(ansible: Ansible, tmp_path: Path) -> dict[str, Any]:
    ansible.environment["ANSIBLE_PIPELINING"] = "1"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"base_dir": str(tmp_path / "state")}))
    return {
        "logrotate_user": getpass.getuser(),
        "logrotate_config": str(tmp_path / "config.yaml"),
        "__logrotate_file": str(tmp_path / "zrb"),
        "__logrotate_program": PROGRAM,
    }


def apply(ansible: Ansible, variables: dict[str, Any], *words: str, times: int = 1) -> list[str]:
    """What each of the plays said."""
    task = {"name": "Apply", "ansible.builtin.import_role": {"name": "zrb.fleet.logrotate"}}
    plays = [{"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": [task]}] * times
    said = ansible.run_playbook(plays, "--extra-vars", json.dumps(variables), *words)
    return said.split("\nPLAY ")[1 : times + 1] if times > 1 else [said]


def rotate(tmp_path: Path, *words: str) -> None:
    assert PROGRAM is not None
    command = [PROGRAM, *words, "--state", str(tmp_path / "status"), str(tmp_path / "zrb")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_forced_rotation_loses_no_line(ansible: Ansible, variables: dict[str, Any], tmp_path: Path) -> None:
    (checked,) = apply(ansible, variables, "--check")
    assert changes(checked) == 3
    assert not (tmp_path / "zrb").exists()
    first, second = apply(ansible, variables, times=2)
    assert (changes(first), changes(second)) == (3, 0)

    logs = tmp_path / "state/logs"
    logged = Logged(Silent(), log_dir=logs, dataset="tank/home")
    sys.path.insert(0, str(ROOT / "roles/schedule/files"))
    try:
        from zrb_scheduled import _log  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    ended = threading.Event()
    written = {"dataset": 0, "schedule": 0}

    def write(kind: str) -> None:
        while not ended.is_set():
            number = written[kind]
            if kind == "dataset":
                logged.log(f"line {number}.")
            else:
                _log(logs / "schedule.log", f"line {number}.\n")
            written[kind] += 1

    writers = [threading.Thread(target=write, args=(kind,)) for kind in written]
    for writer in writers:
        writer.start()
    try:
        for _rotation in range(8):
            rotate(tmp_path, "--force")
            # A day lies between two rotations, and whoever has opened the old file has closed it by then.
            later = {kind: number + 2 for kind, number in written.items()}
            while any(written[kind] < number for kind, number in later.items()) and all(
                map(threading.Thread.is_alive, writers)
            ):
                time.sleep(0.001)
    finally:
        ended.set()
        for writer in writers:
            writer.join()

    def lines(pattern: str) -> list[int]:
        contents = ((path.suffix, path.read_bytes()) for path in logs.rglob(pattern))
        text = b"".join(gzip.decompress(data) if suffix == ".gz" else data for suffix, data in contents).decode()
        return sorted(int(line.partition("line ")[2].partition(".")[0]) for line in text.splitlines())

    assert logged.warnings == []
    assert len(list(logs.glob("schedule.log.*"))) == 8
    assert lines("????-??-??.log*") == list(range(written["dataset"]))
    assert lines("schedule.log*") == list(range(written["schedule"]))


def test_only_old_logs_go(ansible: Ansible, variables: dict[str, Any], tmp_path: Path) -> None:
    apply(ansible, variables | {"logrotate_keep_days": 2})
    below = tmp_path / "state/logs/tank/home/deep"
    below.mkdir(parents=True)
    outside = tmp_path / "2020-01-01.log"
    for path, days in (
        (below / "2020-01-01.log", 4),
        (below / "2020-01-02.log", 1),
        (below / "notes", 4),
        (outside, 4),
    ):
        path.touch()
        os.utime(path, (time.time() - days * 86_400,) * 2)
    (below / "2020-01-03.log").symlink_to(outside)
    rotate(tmp_path, "--force")
    assert sorted(path.name for path in below.iterdir()) == ["2020-01-02.log", "2020-01-03.log", "notes"]
    assert outside.exists()
    for _day in range(4):
        rotate(tmp_path, "--force")
    assert len(list((tmp_path / "state/logs").glob("schedule.log*"))) == 3
    (removed,) = apply(ansible, variables | {"logrotate_state": "absent"})
    assert changes(removed) == 1
    assert not (tmp_path / "zrb").exists()
    assert below.exists()


def test_what_logrotate_refuses_does_not_land(ansible: Ansible, variables: dict[str, Any], tmp_path: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"logrotate_keep_days": 0}, "logrotate_keep_days is 0"),
        ({"__logrotate_program": "/nonexistent"}, "localhost has no /nonexistent"),
        ({"__logrotate_directory": str(tmp_path / "a\n} b")}, "failed to validate"),
    ]
    role = {"ansible.builtin.include_role": {"name": "zrb.fleet.logrotate"}}
    tried = [
        {"block": [{**role, "vars": variables | more}], "rescue": [{"ansible.builtin.debug": {"msg": "refused"}}]}
        for more, _word in refused
    ]
    plays = [{"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": tried}]
    said = ansible.run_playbook(plays)
    assert said.count('"msg": "refused"') == len(refused)
    assert [word for _more, word in refused if word not in said] == []
    assert not (tmp_path / "zrb").exists()
