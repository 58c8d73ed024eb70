# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``job_info`` through ``ansible-playbook``."""

from __future__ import annotations

import os
from pathlib import Path

from zrb.state.jobs import create_job, find_job

from tests.integration.modules.conftest import Ansible, Fail

INFO = "zrb.fleet.job_info"


def test_jobs_are_listed_and_the_result_of_one_is_given(ansible: Ansible, tmp_path: Path) -> None:
    base = tmp_path / "state"
    (nothing,) = ansible.play([{INFO: {"base_dir": str(base)}}])
    assert (nothing["changed"], nothing["jobs"]) == (False, [])
    ended, running, lost = (create_job(base, command=f"zrb {name}", job_id=name) for name in ("a", "b", "c"))
    with running.begin() as records:
        records.write('{"type": "progress", "phase": "upload", "current": 1, "total": 2}\n')
    ended.end(4, {"exit_code": 4, "document": {"exit_code": 4, "results": []}})
    for own in (ended, lost):
        os.close(own.lock)
    all_of_them, one, other = ansible.play(
        [
            {INFO: {"base_dir": str(base), **more}}
            for more in (
                {},
                {"job_id": "a"},
                {"job_id": "b"},
            )
        ]
    )
    assert [(job["job_id"], job["state"], job["exit_code"]) for job in all_of_them["jobs"]] == [
        ("a", "ended", 4),
        ("b", "running", None),
        ("c", "lost", None),
    ]
    assert all_of_them["jobs"][1]["progress"]["current"] == 1
    assert (len(one["jobs"]), one["result"]) == (1, {"exit_code": 4, "results": []})
    assert "result" not in other
    assert find_job(base, "b").running
    os.close(running.lock)


def test_a_job_that_is_not_there_is_a_failure(failure: Fail, tmp_path: Path) -> None:
    result = failure(INFO, {"base_dir": str(tmp_path), "job_id": "nonsense"})
    assert (result["error"], result["exit_code"], result["subject"]) == ("NoSuchJob", 6, "nonsense")
    assert "job_info" in result["msg"]
