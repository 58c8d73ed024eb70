# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Machines that go on from the same saved one are machines of their own."""

from __future__ import annotations

import time
from pathlib import Path

from tests.vm.testbed.image import ensure_image
from tests.vm.testbed.machine import Machine
from tests.vm.testbed.runtime_layer import ensure_runtime_layer

CLOCK_MAY_DIFFER_S = 60
"""Far less than the age of what was saved, far more than a slow answer takes."""


def test_each_has_its_name_the_time_and_random_numbers_of_its_own(tmp_path: Path) -> None:
    image = ensure_image()
    drawn = set()
    for name in ("one", "two"):
        machine = Machine(image, tmp_path / name)
        try:
            machine.resume(ensure_runtime_layer(image))
            machine.wait_until_ready()
            asked = "hostname; date +%s; od -An -tx1 -N16 /dev/urandom"
            hostname, seconds, random = machine.shell(asked, capture=True).stdout.decode().splitlines()
        finally:
            machine.cut_power()
        assert hostname == name
        assert abs(int(seconds) - time.time()) < CLOCK_MAY_DIFFER_S
        drawn.add(random)
    assert len(drawn) == 2
