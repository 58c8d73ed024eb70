# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Backups by an ordinary user, with rights that root delegated by ``zfs allow``."""

from __future__ import annotations

import json
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.file_tree import compare, describe_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import attempt, change, fill, value

pytestmark = pytest.mark.zfs

USER = "zrbtest"
SENDING = "snapshot,hold,release,send,bookmark"
BACKUP_RIGHTS = f"{SENDING},userprop,destroy,mount"


@dataclass(frozen=True)
class OrdinaryUser:
    """A user without privileges, and a directory that is theirs."""

    home: Path
    config: Path

    def zrb(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as that user."""
        words = [sys.executable, "-m", "zrb.command", *arguments, "--config", str(self.config), "--json"]
        return subprocess.run(
            ["runuser", "-u", USER, "--", *words], capture_output=True, text=True, check=False, cwd=self.home
        )

    def document(self, *arguments: str) -> Any:
        """What a run that succeeds prints."""
        ended = self.zrb(*arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return json.loads(ended.stdout)

    def back_up(self) -> str:
        """The snapshot of a backup about which there is nothing to tell."""
        (result,) = self.document("backup", "--level", "0", "--task", "test")["results"]
        assert result["warnings"] == []
        return str(result["snapshot"])

    def warned(self) -> tuple[str, str]:
        """The snapshot of a backup about which there is one thing to tell, and that."""
        ended = self.zrb("backup", "--level", "0", "--task", "test")
        assert ended.returncode == 4, ended.stdout + ended.stderr
        (result,) = json.loads(ended.stdout)["results"]
        (warning,) = result["warnings"]
        return result["snapshot"], warning

    def snapshots(self) -> list[str]:
        """Those that zrb knows to be its own."""
        return [one["name"] for one in self.document("snapshots")["snapshots"]]


@pytest.fixture
def user(local_nas: Nas) -> Iterator[OrdinaryUser]:
    """The user, with keys and a configuration for the NAS' dataset."""
    command("useradd", "--system", "--no-create-home", "--shell", "/bin/sh", USER)
    home = Path(tempfile.mkdtemp(prefix="zrbtest-home-", dir="/var/tmp"))
    try:
        keys = Path(str(local_nas.config.signing_key)).parent
        shutil.copy(keys / "signing.key", home)
        (home / "repository").mkdir()
        settings = {
            "base_dir": str(home / "state"),
            "host": "nas1",
            "age_public_key": local_nas.config.recipients[0],
            "signing_key": str(home / "signing.key"),
            "local": {"enabled": True, "path": str(home / "repository")},
            "part_size": "256KiB",
            "chunk_size": "64KiB",
            "memory_limit": "48MiB",
            "tasks": [{"name": "test", "pool": local_nas.pool.name, "dataset": "data", "enabled": True}],
        }
        (home / "config.yaml").write_text(yaml.safe_dump(settings))
        (home / "config.yaml").chmod(0o600)
        identity = pwd.getpwnam(USER)
        for path in [home, *home.rglob("*")]:
            shutil.chown(path, identity.pw_uid, identity.pw_gid)
        yield OrdinaryUser(home, home / "config.yaml")
    finally:
        shutil.rmtree(home)
        command("userdel", USER)


def test_backups_need_no_root(local_nas: Nas, user: OrdinaryUser) -> None:
    allow(local_nas, BACKUP_RIGHTS)
    fill(local_nas)
    (full,) = user.document("backup", "--level", "0", "--task", "test")["results"]
    files = change(local_nas)
    (increment,) = user.document("backup", "--level", "1", "--task", "test")["results"]
    assert (full["level"], increment["level"]) == (0, 1)
    assert full["warnings"] == increment["warnings"] == []
    assert value(full["snapshot"], "userrefs") == "1"

    # Restores are root's: with the same configuration, and the identity that the NAS does not have.
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "zrb.command", "restore", "--config", str(user.config), "--json"),
            *("--task", "test", "--target", local_nas.target(), "--private-key", str(local_nas.identity)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert compare(files, local_nas.files_of(local_nas.target())) == []


def allow(nas: Nas, rights: str) -> None:
    command("zfs", "allow", "-u", USER, rights, nas.dataset.name)


def do_what_it_says(nas: Nas, warning: str, *, rights: str) -> None:
    """Run the command that a warning names, which delegates these rights."""
    (words,) = re.findall("`(zfs allow [^`]*)`", warning)
    assert shlex.split(words) == ["zfs", "allow", "-u", USER, rights, nas.dataset.name]
    command(*shlex.split(words))


def test_superseded_snapshots_are_destroyed_without_root(local_nas: Nas, user: OrdinaryUser) -> None:
    allow(local_nas, BACKUP_RIGHTS)
    fill(local_nas)
    taken = [user.back_up() for _run in range(4)]
    assert user.snapshots() == taken[-2:]
    assert [attempt("zfs", "list", name).returncode for name in taken] == [1, 1, 0, 0]


def test_who_may_not_destroy_is_told_what_allows_it(local_nas: Nas, user: OrdinaryUser) -> None:
    allow(local_nas, f"{SENDING},userprop")
    fill(local_nas)
    taken = [user.back_up(), user.back_up()]
    for _run in range(2):
        snapshot, warning = user.warned()
        taken.append(snapshot)
        assert user.snapshots() == taken
    do_what_it_says(local_nas, warning, rights="destroy,mount")
    newest = user.back_up()
    assert user.snapshots() == [taken[-1], newest]


def test_who_may_not_mark_snapshots_is_told_what_allows_it(local_nas: Nas, user: OrdinaryUser) -> None:
    allow(local_nas, f"{SENDING},destroy,mount")
    fill(local_nas)
    unmarked, warning = user.warned()
    assert user.snapshots() == []
    do_what_it_says(local_nas, warning, rights="userprop")
    taken = [user.back_up() for _run in range(3)]
    assert user.snapshots() == taken[-2:]
    assert attempt("zfs", "list", unmarked).returncode == 0


def test_without_delegation_the_user_is_told_which_rights_are_missing(local_nas: Nas, user: OrdinaryUser) -> None:
    fill(local_nas)
    ended = user.zrb("backup", "--level", "0", "--task", "test")
    assert ended.returncode == 1
    assert "zfs allow" in ended.stdout + ended.stderr
    assert describe_tree(user.home / "repository").keys() & {"manifests"} == set()


def test_the_user_can_do_no_more_than_was_delegated(local_nas: Nas, user: OrdinaryUser) -> None:
    allow(local_nas, "snapshot,hold,send,bookmark,userprop")
    fill(local_nas)
    user.document("backup", "--level", "0", "--task", "test")
    other = attempt("runuser", "-u", USER, "--", "/usr/sbin/zfs", "snapshot", f"{local_nas.pool.restore}@x")
    assert other.returncode != 0
    assert "permission denied" in other.stderr
