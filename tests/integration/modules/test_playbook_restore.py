# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook restore: a machine that is lost comes back on a new one, on a real ZFS."""

from __future__ import annotations

import os
import pty
import re
import secrets
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.file_tree import Description, change_tree, compare, describe_tree
from tests.integration.modules.conftest import BIN, Ansible, Nas
from tests.integration.modules.test_playbooks import failed_hosts, play, table
from tests.integration.zfs_fixtures import MadeDataset, MadePool, command

pytestmark = pytest.mark.zfs
HOST = "zrbtest-nas"
"""The lost machine, and the new one in its place."""
QUESTION = b"Type yes to restore"


@dataclass(frozen=True)
class Lost:
    """What is left of a machine: its backups, its keys, and what its files were."""

    nas: Nas
    pool: str
    files: Description
    canary: str
    """In the file of the private key."""
    secret: str
    """The private key itself."""

    @property
    def datasets(self) -> list[str]:
        """What was backed up."""
        return [f"{self.pool}/{name}" for name in ("home", "nest", "nest/deep/inner", "nest/photos")]

    def names(self) -> list[str]:
        """All datasets and snapshots of the pool."""
        return command("zfs", "list", "-H", "-t", "all", "-o", "name", "-r", self.pool).splitlines()


@pytest.fixture
def lost(ansible: Ansible, nas: Nas, zpool: MadePool, make_dataset: Callable[..., MadeDataset]) -> Lost:
    """One of whose datasets lies in another that was never backed up."""
    for name in ("photos", "deep/inner"):
        (make_dataset(f"nest/{name}").mountpoint / "file").write_text(name)
    nest = {"name": "nest", "pool": zpool.name, "dataset": "nest", "recursive": True, "exclude": ["*/deep"]}
    inner = {"name": "inner", "pool": zpool.name, "dataset": "nest/deep/inner"}
    config = nas.config
    document = yaml.safe_load(config.read_text())
    document["tasks"] += [nest, inner]
    config.write_text(yaml.safe_dump(document))
    full = [{"config": str(config), "task": task, "level": 0} for task in ("home", "nest", "inner")]
    made = ansible.play([{"zrb.fleet.zfs_backup": options} for options in full])
    change_tree(nas.files, 1)
    made += ansible.play([{"zrb.fleet.zfs_backup": {**full[0], "level": 1}}])
    assert [len(result["backups"]) for result in made] == [1, 2, 1, 1]
    canary = secrets.token_hex(16)
    key = nas.age_key.read_text()
    nas.age_key.write_text(f"# {canary}\n{key}")
    (secret,) = (line for line in key.splitlines() if line.startswith("AGE-SECRET-KEY-"))
    return Lost(nas, zpool.name, describe_tree(nas.files), canary, secret)


def write_inventory(lost: Lost, directory: Path, hosts: dict[str, dict[str, Any]]) -> Path:
    """All hosts have the old configuration, but for the new machine, which has nothing."""
    directory.mkdir(exist_ok=True)
    document = yaml.safe_load((lost.nas.directory / "config.yaml").read_text())
    settings = {name: value for name, value in document.items() if name != "signing_key"}
    new = {
        "config_settings": {**settings, "base_dir": str(directory / "new" / "state")},
        "zrb_config": str(directory / "new" / "etc" / "config.yaml"),
        "zrb_target": f"{lost.pool}/fresh",
    }
    common = {
        "zrb_command": str(Path(sys.executable).with_name("zrb")),
        "zrb_config": str(lost.nas.directory / "config.yaml"),
        "zrb_lost_host": HOST,
        "zrb_private_key": str(lost.nas.age_key),
    }
    path = directory / "hosts.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": {**hosts, HOST: new}, "vars": common}}))
    return path


def files_of(dataset: str, place: Path) -> Path:
    """Where the files of a restored dataset are, now that it has a place."""
    command("zfs", "set", "canmount=on", dataset)
    command("zfs", "set", f"mountpoint={place}", dataset)
    return place


def answer_yes(ansible: Ansible, *words: str) -> None:
    """Run the playbook at a terminal, and answer yes."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(ansible.directory)
        program = str(BIN / "ansible-playbook")
        os.execve(program, [program, "zrb.fleet.restore", *words], {**os.environ, **ansible.environment})
    said = b""
    with suppress(OSError):  # the terminal is gone as soon as its last process is
        while True:
            if select.select([terminal], [], [], 1)[0]:
                said += os.read(terminal, 65536)
            elif QUESTION in said:  # the question is shown before the terminal is emptied for the answer
                os.write(terminal, b"yes\r")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said.decode()
    assert QUESTION in said


def test_nothing_is_restored_before_somebody_has_seen_the_plan_and_said_yes(
    ansible: Ansible, lost: Lost, tmp_path: Path
) -> None:
    target = f"{lost.nas.restore}/half/home"
    command("zfs", "create", f"{lost.nas.restore}/half")
    options = {"dataset": lost.datasets[0], "target": target, "private_key": str(lost.nas.age_key), "level": 0}
    (begun,) = ansible.play([{"zrb.fleet.zfs_restore": {"config": str(lost.nas.directory / "config.yaml"), **options}}])
    assert begun["restored"]["links"]
    half = {"zrb_target": f"{lost.nas.restore}/half", "zrb_datasets": lost.datasets[0]}
    inventory = write_inventory(lost, tmp_path / "inventory", {"half": half})
    before = lost.names()

    planned = play(ansible, "restore", inventory, "--check", "--limit", "half", status=0)
    silent = play(ansible, "restore", inventory, "--limit", "half", status=2)
    assert lost.names() == before
    for said, status in ((planned, 0), (silent, 1)):
        (row,) = (line.split() for line in table(said) if line.endswith(" plan"))
        assert row[0] == "half"
        assert row[2] == "1"
        assert len(failed_hosts(said)) == status
    assert "zrb_ask" in silent[silent.index("Fail for each host") :]

    answer_yes(ansible, "--inventory", str(inventory), "--limit", "half")
    assert compare(lost.files, describe_tree(files_of(target, tmp_path / "half"))) == []


def test_a_new_machine_gets_all_that_the_lost_one_had(ansible: Ansible, lost: Lost, tmp_path: Path) -> None:
    taken = f"{lost.nas.restore}/taken"
    command("zfs", "create", "-p", f"{taken}/home")
    hosts = {
        "keyless": {"zrb_private_key": "/nonexistent/age.key", "zrb_target": f"{lost.nas.restore}/keyless"},
        "empty-survey": {"zrb_target": ""},
        "no-pool": {"zrb_target": "zrbtest-none/new"},
        "never": {"zrb_target": f"{lost.nas.restore}/never", "zrb_lost_host": "never-was"},
        "taken": {"zrb_target": taken, "zrb_datasets": lost.datasets[0]},
    }
    directory = tmp_path / "inventory"
    inventory = write_inventory(lost, directory, hosts)
    kept = directory / "host_vars" / HOST / "zrb_signer.yml"
    kept.parent.mkdir(parents=True)
    kept.write_text(f"zrb_signer: {lost.nas.signer}\n")
    before = lost.names()
    log = tmp_path / "log"
    ansible.environment["ANSIBLE_LOG_PATH"] = str(log)

    said = play(ansible, "restore", inventory, "-vvv", "--diff", "--extra-vars", "zrb_ask=false", status=2)
    assert failed_hosts(said) == sorted(hosts)
    refusals = said[said.index("Fail for each host") :]
    words = {
        "keyless": "no file /nonexistent/age.key .*zrb_private_key",
        "empty-survey": "zrb_target is empty",
        "no-pool": "zpool create",
        "never": "no backup of never-was .*zrb_lost_host",
        "taken": f"{taken}/home",
    }
    for host, word in words.items():
        assert re.search(rf'"msg": "{host}: .*{word}', refusals), refusals

    for secret in (lost.canary, lost.secret):
        assert secret not in said + log.read_text()
        for place in (ansible.directory, directory):
            assert not [path for path in place.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert not list(Path("/run").glob("zrb-restore-*"))

    fresh = f"{lost.pool}/fresh"
    new = sorted({name.partition("@")[0] for name in lost.names()} - {name.partition("@")[0] for name in before})
    assert new == [
        fresh,
        *(f"{fresh}/{name}" for name in ("home", "nest", "nest/deep", "nest/deep/inner", "nest/photos")),
    ]
    rows = [line.split() for line in table(said[said.index("PLAY [Report]") :]) if line.startswith(HOST)]
    assert [(row[2], row[-1]) for row in rows] == [("2", "restored"), *[("1", "restored")] * 3]
    made = directory / "new" / "etc"
    document = yaml.safe_load((made / "config.yaml").read_text())
    assert (document["trusted_signers"], "tasks" in document) == ([lost.nas.signer], False)
    remembered = yaml.safe_load(kept.read_text())
    assert remembered["zrb_former_signers"] == [lost.nas.signer] != [remembered["zrb_signer"]]

    after = lost.names()
    again = play(ansible, "restore", inventory, "--limit", HOST, status=0)
    assert [line.split()[-2:] for line in table(again) if line.startswith(HOST)] == [["in", "place"]] * 4
    assert f"{HOST} " in again
    assert " changed=0 " in again[again.index("PLAY RECAP") :]
    assert lost.names() == after

    place = tmp_path / "place"
    assert compare(lost.files, describe_tree(files_of(f"{fresh}/home", place / "home"))) == []
    for name in ("photos", "deep/inner"):
        assert (files_of(f"{fresh}/nest/{name}", place / name) / "file").read_text() == name
