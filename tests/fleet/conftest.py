# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine with OpenZFS, systemd and cron, and nothing of zrb's, which the roles are applied to over SSH.

``make test-fleet`` runs these tests. Elsewhere they are not collected, since ``make test`` is another rung and not this
one skipped.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.wheelhouse import ensure_runtime_wheels, python_of
from tests.vm.testbed.image import ensure_image
from tests.vm.testbed.machine import Machine
from tests.vm.testbed.runtime_layer import ensure_runtime_layer

if not os.environ.get("ZRB_TEST_FLEET"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """One machine for all tests, since a machine of its own for each would take most of the time."""
    image = ensure_image()
    layer = ensure_runtime_layer(image)
    with tempfile.TemporaryDirectory(prefix="zrb-fleet-") as scratch:
        machine = Machine(image, Path(scratch) / "nas1")
        try:
            machine.resume(layer)
            machine.wait_until_ready()
            yield Fleet.prepare(machine, Path(scratch), wheels=ensure_runtime_wheels(python_of(image)))
        finally:
            machine.cut_power()
