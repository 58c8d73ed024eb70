# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module does is a job: it outlives the controller, and the same task finds it again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml
from zrb.state.jobs import find_jobs

from tests.fixtures.committed_repository import CommittedRepository
from tests.integration.modules.conftest import BIN, Ansible, Nas

BACKUP = "zrb.fleet.zfs_backup"
VERIFY = "zrb.fleet.zfs_verify"
INFO = "zrb.fleet.job_info"
CANARY = "canary-3f1c"


def test_a_job_gives_the_result_of_the_module(ansible: Ansible, tmp_path: Path) -> None:
    repository, base = CommittedRepository(tmp_path / "repository"), tmp_path / "base"
    made = repository.commit()
    options: dict[str, Any] = {
        **{"repository": str(repository.path), "host": "nas1", "base_dir": str(base), "depth": "checksum"},
        **{"trusted_signers": [repository.signing_key.public], "access_key": "AKIA", "validate_certs": False},
        **{"secret_key": f"{CANARY}-key", "session_token": f"{CANARY}-token"},
    }
    ansible.environment["ANSIBLE_ASYNC_DIR"] = str(tmp_path / "async")
    done, failed, checked, later, stateless = ansible.play(
        [
            {VERIFY: options},
            {VERIFY: {**options, "dataset": "tank/never"}},
            {VERIFY: options, "check_mode": True},
            {VERIFY: options, "async": 600, "poll": 1},
            {VERIFY: {**options, "base_dir": "/dev/null/nowhere"}},
        ]
    )
    assert done["verified"]["backups"] == [str(made.backup_id)]
    assert any("validate_certs" in warning for warning in done["warnings"])
    assert (failed["failed"], failed["error"], failed["exit_code"]) == (True, "NoSuchBackup", 6)
    for result in (checked, later, stateless):
        assert result["verified"] == done["verified"]
    assert not {"job_id"} & {*checked, *stateless}
    jobs = find_jobs(base)
    assert {done["job_id"], later["job_id"]} < {job.record.job_id for job in jobs}
    assert [job.exit_code for job in jobs] == [0, 6, 0]
    for path in base.rglob("*"):
        assert not path.is_file() or CANARY not in path.read_text(), path

    again, listed = ansible.play(
        [{VERIFY: {**options, "job_id": done["job_id"]}}, {INFO: {"base_dir": str(base), "job_id": done["job_id"]}}]
    )
    assert again["job_id"] == done["job_id"]
    assert again["verified"] == listed["result"]["verified"] == done["verified"]
    assert len(find_jobs(base)) == len(jobs), "nothing new was started"


def test_a_job_outlives_the_controller_and_is_found_again(ansible: Ansible, nas: Nas) -> None:
    (nas.files / "random").write_bytes(random.Random(1).randbytes(4 * 2**20))
    task = {BACKUP: {**nas.explicit, "level": 0}}
    slow = {BACKUP: {**nas.explicit, "level": 0, "bandwidth_limit": "300KiB"}}
    playbook = ansible.directory / "slow.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [slow]}]))
    with subprocess.Popen(
        [str(BIN / "ansible-playbook"), str(playbook)],
        cwd=ansible.directory,
        env={**os.environ, **ansible.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as controller:
        assert controller.stdout is not None
        shown = []
        for line in controller.stdout:
            shown.append(line)
            if line.startswith("localhost: ") and "%" in line:
                break
        os.killpg(controller.pid, signal.SIGKILL)
    assert f"localhost: zfs_backup {nas.dataset}: upload" in shown[-1], shown
    (job,) = find_jobs(nas.directory / "state")
    assert job.running
    assert job.record.job_id in "".join(shown)

    (result,) = ansible.play([task])
    assert (result["changed"], result["job_id"]) == (True, job.record.job_id)
    assert len(result["backups"]) == len(list((nas.repository / "manifests").rglob("*-L0-*.json"))) == 1
    assert len(find_jobs(nas.directory / "state")) == 1
