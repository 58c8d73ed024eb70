# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine whose power may be cut, and the NAS in it."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from tests.vm.host.nas_program import REACHED
from tests.vm.testbed.engine_tests import send_checkout
from tests.vm.testbed.image import ensure_image
from tests.vm.testbed.machine import Machine
from tests.vm.testbed.runtime_layer import CHECKOUT_INSIDE, PYTHON_INSIDE, ensure_runtime_layer

_numbers = count(1)


@dataclass(frozen=True)
class PoweredNas:
    """A NAS inside ``machine``, in a directory on its disk."""

    machine: Machine
    directory: str
    waiting: list[subprocess.Popen[str]] = field(default_factory=list)
    """What :meth:`stop_at` started: it stands at its point until the power is cut."""

    @property
    def pool(self) -> str:
        """Name of its pool."""
        return self.directory.rpartition("/")[2]

    @property
    def dataset(self) -> str:
        """What is backed up."""
        return f"{self.pool}/data"

    def words(self, *actions: str) -> list[str]:
        """The program inside."""
        return [
            *("env", "--chdir", CHECKOUT_INSIDE, PYTHON_INSIDE, "-m", "tests.vm.host.nas_program", self.directory),
            *actions,
        ]

    def act(self, *actions: str) -> None:
        """Actions of the program, which have to succeed."""
        ended = self.machine.ssh(*self.words(*actions), capture=True, check=False)
        assert ended.returncode == 0, (ended.stdout + ended.stderr).decode(errors="replace")

    def zrb(self, *arguments: object) -> tuple[int, Any, str]:
        """The command inside: exit status, its document, stderr."""
        words = [PYTHON_INSIDE, "-m", "zrb.command", *arguments, "--config", f"{self.directory}/config.yaml", "--json"]
        ended = self.machine.ssh(*words, capture=True, check=False)
        text = ended.stdout.decode()
        return ended.returncode, json.loads(text) if text else None, ended.stderr.decode(errors="replace")

    def succeed(self, *arguments: object) -> Any:
        """The document of a command that has to end with 0."""
        status, document, said = self.zrb(*arguments)
        assert status == 0, f"status {status}: {document} {said}"
        return document

    def restore(self, target: str, *arguments: object) -> Any:
        """Restore with the identity, which has to succeed."""
        return self.succeed("restore", "--target", target, "--private-key", f"{self.directory}/age.key", *arguments)

    def stop_at(self, *actions: str) -> None:
        """Start actions of which the last stops at a point, and return when it is there."""
        remote = subprocess.Popen(
            [*self.machine.ssh_words(), shlex.join(self.words(*actions))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert remote.stdout is not None
        if remote.stdout.readline().strip() != REACHED:
            _, said = remote.communicate()
            pytest.fail(f"{actions} ended with status {remote.returncode} before its point was reached: {said}")
        self.waiting.append(remote)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine for the session; its power may be cut, its disk stays."""
    image = ensure_image()
    machine = Machine(image, tmp_path_factory.mktemp("machines") / "power")
    try:
        machine.resume(ensure_runtime_layer(image))
        machine.wait_until_ready()
        send_checkout(machine)
        machine.ssh("sync")
        yield machine
    finally:
        machine.cut_power()


def new_nas(machine: Machine) -> PoweredNas:
    """A NAS that its first action ``prepare`` makes."""
    return PoweredNas(machine, f"/srv/zrbtest-{next(_numbers)}")


def lose_power(machine: Machine, fleet: Iterable[PoweredNas]) -> None:
    """Pull the plug, put it back, and wait until the machine has booted and the pools are there."""
    machine.cut_power()
    for nas in fleet:
        for remote in nas.waiting:
            remote.communicate()
    machine.start()
    machine.wait_until_ready()
    for nas in fleet:
        machine.ssh("zpool", "import", "-o", "cachefile=none", "-d", nas.directory, nas.pool)
