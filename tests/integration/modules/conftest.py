# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run tasks through the real ``ansible-playbook``, and look at what they return."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.run.keys import write_age_key, write_signing_key

from tests.fixtures.file_tree import make_tree
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY, LocalBucket
from tests.integration.zfs_fixtures import MadeDataset, MadePool

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
Task = dict[str, Any]


class Result(dict[str, Any]):
    """What a task returned; a test that looks for what is not there shows all of it."""

    def __missing__(self, key: str) -> Any:
        pytest.fail(f"the task returned no {key!r}: {dict(self)}")


Fail = Callable[[str, dict[str, Any]], Result]


@dataclass(frozen=True)
class Ansible:
    """An Ansible of a test's own: its collections path, its home, its working directory."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, program: str, *arguments: str, status: int = 0) -> str:
        """Run one of Ansible's programs; its stdout. The test fails where the status is another one."""
        command = [str(BIN / program), *arguments]
        ended = subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != status:
            pytest.fail(f"{program}: status {ended.returncode} instead of {status}\n{ended.stdout}\n{ended.stderr}")
        return ended.stdout

    def play(self, tasks: Sequence[Task], *arguments: str, play: dict[str, Any] | None = None) -> list[Result]:
        """Run ``tasks`` one after the other, whether or not they fail; what each returned."""
        numbered = [
            {**task, "register": f"result_{number}", "ignore_errors": True} for number, task in enumerate(tasks)
        ]
        results = self.directory / "results.json"
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        save = {
            "ansible.builtin.copy": {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(results), "mode": "0600"},
            "check_mode": False,
            "diff": False,
        }
        self.run_playbook(
            [{"hosts": "localhost", "gather_facts": False, **(play or {}), "tasks": [*numbered, save]}], *arguments
        )
        return [Result(returned) for returned in json.loads(results.read_text())]

    def run_playbook(self, plays: list[dict[str, Any]], *arguments: str, status: int = 0) -> str:
        """Run plays; the stdout."""
        playbook = self.directory / "play.yml"
        playbook.write_text(yaml.safe_dump(plays, sort_keys=False, allow_unicode=True))
        return self.run("ansible-playbook", str(playbook), *arguments, status=status)

    def quad(self, module: str, options: dict[str, Any]) -> tuple[Result, Result, Result, Result]:
        """Check, run, check again, run again, each with a diff."""
        tasks = [{module: options, "check_mode": check, "diff": True} for check in (True, False, True, False)]
        first, second, third, fourth = self.play(tasks)
        return first, second, third, fourth


@pytest.fixture(scope="session")
def collections_path() -> str:
    """The directory in which Ansible finds this checkout as zrb.fleet."""
    made = subprocess.run([ROOT / "tests/setup/collection"], check=True, capture_output=True, text=True)
    return made.stdout.strip()


@pytest.fixture
def ansible(tmp_path: Path, collections_path: str, pool_guard_on_path: Path) -> Ansible:
    """The one of a test."""
    return ansible_in(tmp_path / "ansible", collections_path)


def ansible_in(directory: Path, collections_path: str) -> Ansible:
    """Ansible for the local machine, with this collection, with this Python, and with nothing of the user's."""
    directory.mkdir()
    (directory / "ansible.cfg").write_text("[defaults]\n")
    (directory / "inventory.ini").write_text("localhost\n")
    return Ansible(
        directory=directory,
        environment={
            "ANSIBLE_COLLECTIONS_PATH": collections_path,
            "ANSIBLE_CONFIG": str(directory / "ansible.cfg"),
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
            "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
            "ANSIBLE_INVENTORY": str(directory / "inventory.ini"),
            "ANSIBLE_TRANSPORT": "local",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "LC_ALL": "C.UTF-8",
        },
    )


@pytest.fixture
def failure(ansible: Ansible) -> Fail:
    """Run a module that must fail; what it said."""

    def fail(module: str, options: dict[str, Any]) -> Result:
        (result,) = ansible.play([{module: options}])
        assert result.get("failed") is True, result
        return result

    return fail


@dataclass(frozen=True)
class Nas:
    """A machine with a dataset, keys, and a repository in a directory."""

    dataset: str
    files: Path
    restore: str
    directory: Path

    @property
    def repository(self) -> Path:
        """The repository."""
        return self.directory / "repository"

    @property
    def age_key(self) -> Path:
        """File of the private age key."""
        return self.directory / "age.key"

    @property
    def signing_key(self) -> Path:
        """File of the private signing key."""
        return self.directory / "signing.key"

    @property
    def recipient(self) -> str:
        """The public age key."""
        return write_age_key(self.age_key).public

    @property
    def signer(self) -> str:
        """The public signing key."""
        return write_signing_key(self.signing_key).public

    @property
    def reading(self) -> dict[str, Any]:
        """Options that reach the repository."""
        return {
            "repository": str(self.repository),
            "host": "zrbtest-nas",
            "base_dir": str(self.directory / "state"),
            "trusted_signers": [self.signer],
        }

    @property
    def explicit(self) -> dict[str, Any]:
        """Options that say without a configuration file what is backed up and where to."""
        return {
            **self.reading,
            "dataset": self.dataset,
            "recipients": [self.recipient],
            "signing_key": str(self.signing_key),
            "part_size": "1MiB",
            "chunk_size": "256KiB",
            "memory_limit": "32MiB",
            "workers": 2,
        }

    @property
    def config(self) -> Path:
        """A configuration file that says the same, with the task ``home``."""
        path = self.directory / "config.yaml"
        pool, _slash, below = self.dataset.partition("/")
        document = {
            "base_dir": str(self.directory / "state"),
            "host": "zrbtest-nas",
            "age_recipients": [self.recipient],
            "signing_key": str(self.signing_key),
            "local": {"enabled": True, "path": str(self.repository)},
            **{key: self.explicit[key] for key in ("part_size", "chunk_size", "memory_limit", "workers")},
            "prices": {"STANDARD": 0.02},
            "tasks": [{"name": "home", "pool": pool, "dataset": below}],
        }
        path.write_text(yaml.safe_dump(document))
        path.chmod(0o600)
        return path


@pytest.fixture
def nas(zpool: MadePool, make_dataset: Callable[..., MadeDataset], tmp_path: Path) -> Nas:
    """A machine with a small dataset that has not been backed up yet."""
    made = make_dataset("home")
    make_tree(made.mountpoint, files=20, big_bytes=2**20)
    directory = tmp_path / "nas"
    for part in ("", "repository", "state", "usb"):
        (directory / part).mkdir()
    return Nas(dataset=made.name, files=made.mountpoint, restore=zpool.restore, directory=directory)


def s3_options(bucket: LocalBucket) -> dict[str, Any]:
    """Options that reach a repository in ``bucket``."""
    return {
        "bucket": bucket.name,
        "prefix": "nas/",
        "endpoint_url": bucket.endpoint,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "region": "us-east-1",
    }
