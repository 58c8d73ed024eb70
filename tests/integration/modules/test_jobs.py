# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module does is a job: it outlives the controller and the connection, and the same task finds it again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import yaml
from zrb.seal.signing import SigningKey
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
    shown = tmp_path / "shown"
    ansible.environment["ANSIBLE_ASYNC_DIR"] = str(tmp_path / "async")
    ansible.environment["ANSIBLE_LOG_PATH"] = str(shown)
    ansible.environment["ANSIBLE_VERBOSITY"] = "3"
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
    for path in (shown, *base.rglob("*"), *(tmp_path / "async").rglob("*")):
        assert not path.is_file() or CANARY not in path.read_text(), path
    assert done["verified"]["backups"][0] in shown.read_text()

    again, listed = ansible.play(
        [{VERIFY: {**options, "job_id": done["job_id"]}}, {INFO: {"base_dir": str(base), "job_id": done["job_id"]}}]
    )
    assert again["job_id"] == done["job_id"]
    assert again["verified"] == listed["result"]["verified"] == done["verified"]
    assert len(find_jobs(base)) == len(jobs), "nothing new was started"


def test_a_job_outlives_the_controller_and_is_found_again(ansible: Ansible, nas: Nas) -> None:
    (nas.files / "random").write_bytes(random.Random(1).randbytes(4 * 2**20))
    task = {BACKUP: {**nas.explicit, "level": 0}}
    secrets = {"access_key": "AKIA", "secret_key": f"{CANARY}-key", "session_token": f"{CANARY}-token"}
    slow = {BACKUP: {**nas.explicit, **secrets, "level": 0, "bandwidth_limit": "300KiB"}}
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
    for process in Path("/proc").glob("[0-9]*"):
        assert CANARY.encode() not in _content(process / "cmdline"), process
    assert CANARY.encode() not in _content(Path(f"/proc/{job.pid}/environ"))

    (result,) = ansible.play([task])
    assert (result["changed"], result["job_id"]) == (True, job.record.job_id)
    assert len(result["backups"]) == len(list((nas.repository / "manifests").rglob("*-L0-*.json"))) == 1
    assert len(find_jobs(nas.directory / "state")) == 1


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended
        return b""


@contextmanager
def slow_s3(gate: Event) -> Iterator[str]:
    """The address of a server that answers nothing until ``gate`` is set, and denies everything then."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gate.wait(120)
            body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        do_HEAD = do_GET

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        gate.set()
        server.shutdown()
        server.server_close()


def test_several_hosts_at_once_with_a_lost_connection_and_a_restart(ansible: Ansible) -> None:
    """Of three hosts one keeps its connection, one loses it, and one its job."""
    here, hosts, gate = ansible.directory, ("nas1", "nas2", "nas3"), Event()
    lines = [f"{host} base={here}/{host}" for host in hosts]
    (here / "inventory.ini").write_text("\n".join(lines) + "\n")
    keep = {"content": "{{ result | to_json }}", "dest": f"{here}/{{{{ inventory_hostname }}}}.json", "mode": "0600"}
    with slow_s3(gate) as endpoint:
        options = {
            **{"bucket": "zrb", "endpoint_url": endpoint, "access_key": "AKIA", "secret_key": CANARY, "host": "nas"},
            **{"base_dir": "{{ base }}", "region": "us-east-1"},
            "trusted_signers": [SigningKey.generate().public],
        }
        tasks = [{VERIFY: options, "register": "result", "ignore_errors": True}, {"ansible.builtin.copy": keep}]
        playbook = here / "slow.yml"
        playbook.write_text(
            yaml.safe_dump(
                [{"hosts": "all", "gather_facts": False, "environment": {"HOST": "{{ base }}"}, "tasks": tasks}]
            )
        )
        with subprocess.Popen(
            [str(BIN / "ansible-playbook"), str(playbook)],
            cwd=here,
            env={**os.environ, **ansible.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        ) as controller:
            assert controller.stdout is not None
            shown = []
            for line in controller.stdout:
                shown.append(line)
                if sum(" runs as job " in line for line in shown) == len(hosts):
                    break
            jobs = {host: find_jobs(here / host)[0] for host in hosts}
            _kill_the_module_with(f"HOST={here}/nas2", but=jobs["nas2"].pid)
            os.kill(jobs["nas3"].pid, signal.SIGKILL)
            gate.set()
            shown += controller.stdout
    for host in hosts:
        about = [line for line in shown if line.startswith(f"{host}: ")]
        assert jobs[host].record.job_id in about[0]
        assert sum("connection" in line for line in about) == (host == "nas2"), about
        assert len(find_jobs(here / host)) == 1
    kept, lost, restarted = (json.loads((here / f"{host}.json").read_text()) for host in hosts)
    assert (kept["failed"], kept["error"]) == (True, "StoreDenied")
    assert (lost["error"], lost["job_id"]) == (kept["error"], jobs["nas2"].record.job_id)
    assert (restarted["failed"], restarted["error"]) == (True, "JobLost")


def _kill_the_module_with(variable: str, *, but: int) -> None:
    """Kill what waits for the job there, as a connection that is lost does."""
    for _attempt in range(600):
        for process in Path("/proc").glob("[0-9]*"):
            is_python = b"python" in _content(process / "cmdline").split(b"\0")[0]
            its = variable.encode() in _content(process / "environ").split(b"\0")
            if is_python and its and int(process.name) != but:
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.05)
    raise AssertionError("no module waits")
