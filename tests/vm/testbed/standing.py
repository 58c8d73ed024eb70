# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machines that stay until they are told to go: ``make testbed`` and ``make testbed-down``."""

from __future__ import annotations

import shlex
import shutil

from tests.vm.testbed.image import Image
from tests.vm.testbed.machine import Machine
from tests.vm.testbed.places import STANDING
from tests.vm.testbed.runtime_layer import ensure_runtime_layer

MOST = 3


def names(count: int) -> list[str]:
    """Names of the machines."""
    return [f"nas{number}" for number in range(1, count + 1)]


def start(image: Image, count: int) -> list[Machine]:
    """Start those of the first ``count`` machines that do not run, at once, and wait for all."""
    if not 1 <= count <= MOST:
        raise SystemExit(f"The testbed has 1 to {MOST} machines, not {count}")
    layer = ensure_runtime_layer(image)
    machines = [Machine(image, STANDING / name) for name in names(count)]
    started = []
    try:
        for machine in machines:
            if machine.is_current():
                continue
            machine.cut_power()
            shutil.rmtree(machine.directory, ignore_errors=True)
            started.append(machine)
            machine.resume(layer, standing=True)
        for machine in machines:
            machine.wait_until_ready()
    except BaseException:
        for machine in started:
            machine.cut_power()
        raise
    return machines


def stop(image: Image | None = None) -> list[str]:
    """End all machines and remove their disks; their names."""
    ended = []
    for directory in sorted(STANDING.glob("*")):
        machine = Machine(image or Image(directory), directory)
        if machine.runs():
            ended.append(machine.name)
        machine.cut_power()
        shutil.rmtree(directory)
    return ended


def describe(machine: Machine) -> str:
    """How to get in."""
    return f"{machine.name}: {shlex.join(machine.ssh_words())}"
