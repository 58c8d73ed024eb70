# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host's tests do inside a machine: ``python -m tests.vm.host.nas_program DIRECTORY ACTION [ACTION …]``.

An action is a name and its arguments, with commas in between. They come in one command where one follows the other:
under emulation, a start of Python takes as long as most of what it does here.

A NAS is a directory that outlives the machine's power: a pool in a file, keys, configuration, repository.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import yaml
from zrb.config.file import load_config
from zrb.config.key_files import read_identities
from zrb.run.backup import back_up
from zrb.run.context import Context
from zrb.run.keys import write_age_key, write_signing_key
from zrb.run.restore import RestoreSelection, restore

from tests.fakes import kill
from tests.fixtures.file_tree import change_tree, compare, describe_tree, make_tree

MIB = 1 << 20
REACHED = "REACHED"


def run(*words: object) -> None:
    """A command that has to succeed."""
    subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)


def pause_forever() -> None:
    """Say that the point is reached, and stay there until the power is cut."""
    print(REACHED, flush=True)
    while True:
        signal.pause()


class Nas:
    """A NAS in ``directory``, whose name is that of its pool."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pool = directory.name
        self.files = directory / "mnt" / "data"
        self.config = directory / "config.yaml"
        self.identity = directory / "age.key"
        self.description = directory / "description.json"

    def prepare(self, levels: int) -> None:
        """Make everything, with files in the dataset ``data``; back up ``levels`` levels from 0 on, changing
        them in between; describe what is there."""
        (self.directory / "repository").mkdir(parents=True)
        image = self.directory / "pool.img"
        with image.open("wb") as file:
            file.truncate(512 * MIB)
        run("zpool", "create", "-o", "cachefile=none", "-m", self.directory / "mnt", self.pool, image)
        run("zfs", "create", f"{self.pool}/data")
        run("zfs", "create", "-o", "mountpoint=none", f"{self.pool}/restore")
        write_signing_key(self.directory / "signing.key")
        settings = {
            "base_dir": str(self.directory / "state"),
            "host": "nas1",
            "age_public_key": write_age_key(self.identity).public,
            "signing_key": str(self.directory / "signing.key"),
            "local": {"enabled": True, "path": str(self.directory / "repository")},
            "part_size": "256KiB",
            "chunk_size": "64KiB",
            "memory_limit": "48MiB",
            "workers": 3,
            "tasks": [{"name": "test", "pool": self.pool, "dataset": "data", "enabled": True}],
        }
        self.config.write_text(yaml.safe_dump(settings))
        self.config.chmod(0o600)
        make_tree(self.files, files=20, big_bytes=MIB)
        for level in range(levels):
            if level:
                change_tree(self.files, level)
            self.back_up(Context.for_config(load_config(self.config)), level)
        self.describe()

    def back_up(self, env: Context, level: int) -> None:
        """A backup that has to succeed, unless the power is cut."""
        outcome = back_up(env, task=env.config.tasks[0], level=level)
        if outcome.failures:
            raise SystemExit(str(outcome.failures))

    def change(self) -> None:
        """Change the files by several parts' worth; describe them."""
        change_tree(self.files, 9)
        (self.files / "new").write_bytes(random.Random(9).randbytes(MIB))
        self.describe()

    def describe(self) -> None:
        """Keep for :meth:`compare` what files there are."""
        self.description.write_text(json.dumps(describe_tree(self.files)))
        run("sync")

    def context(self, point: str) -> Context:
        """The real one, in which ``point`` is reached and never left."""
        kill.kill_own_group = pause_forever
        env = Context.for_config(load_config(self.config))
        call, _, key_part = point.partition(":")
        return (
            kill.at_store_call(env, call, when="before", key_part=key_part)
            if key_part
            else kill.at_checkpoint(env, call)
        )

    def stop_in_backup(self, level: int, point: str) -> None:
        """A backup of changed files that stops at ``point``."""
        self.change()
        self.back_up(self.context(point), level)

    def stop_in_restore(self, target: str, point: str) -> None:
        """A restore that stops at ``point``."""
        env = self.context(point)
        selection = RestoreSelection(dataset=f"{self.pool}/data", target=target)
        restore(env, selection, identities=read_identities(self.identity), trusted=env.trusted_signers())

    def compare(self, dataset: str) -> None:
        """Fail unless ``dataset`` has exactly the files that were described."""
        place = self.directory / "look"
        place.mkdir(exist_ok=True)
        run("zfs", "set", f"mountpoint={place}", dataset)
        run("zfs", "mount", dataset)
        differences = compare(json.loads(self.description.read_text()), describe_tree(place))
        run("zfs", "unmount", dataset)
        if differences:
            raise SystemExit("\n".join(differences))


def main() -> None:
    """Run the actions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("actions", nargs="+")
    asked = parser.parse_args()
    nas = Nas(asked.directory)
    actions: dict[str, Any] = {
        "prepare": lambda levels: nas.prepare(int(levels)),
        "compare": nas.compare,
        "stop-in-backup": lambda level, point: nas.stop_in_backup(int(level), point),
        "stop-in-restore": nas.stop_in_restore,
    }
    for action in asked.actions:
        name, *arguments = action.split(",")
        actions[name](*arguments)


if __name__ == "__main__":
    main()
