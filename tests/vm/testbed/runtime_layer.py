# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A layer above the image: a virtual environment made of the wheelhouse by the machine's own Python, and a machine
that has booted and stands ready for tests, saved for others to go on from there."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

from tests.vm.testbed import machine as machines
from tests.vm.testbed.accelerator import accelerator
from tests.vm.testbed.image import Image
from tests.vm.testbed.machine import Machine, SavedMachine
from tests.vm.testbed.places import CHECKOUT, cache_root, digest_of, forget_old, locked, mark_used, workplace
from tests.vm.testbed.wheelhouse import ensure_wheelhouse, project, requirements

CHECKOUT_INSIDE = "/srv/fleet"
WHEELS_INSIDE = "/opt/wheelhouse"
PYTHON_INSIDE = "/opt/venv/bin/python"
_SKELETON = ("pyproject.toml", "plugins/module_utils/_engine/version.py")
"""What an editable installation of the checkout reads, but for the packages' directories."""

_FIRST_TEST = "import boto3, hypothesis, jsonschema, yaml\ndef test(): pass\n"
"""Once pytest has run it, what tests import is in memory, and compiled the way pytest compiles it."""


def ensure_runtime_layer(image: Image) -> SavedMachine:
    """A machine that is ready, on which :data:`PYTHON_INSIDE` has all that the engine's tests import; made once for a
    set of wheels."""
    python_version = ".".join(image.version_of("python3").split(".")[:2])
    wheels = ensure_wheelhouse(python_version)
    names = sorted(path.name for path in wheels.iterdir())
    recipe = [Path(file).read_bytes() for file in (__file__, machines.__file__)]
    # What was saved is understood by the same QEMU with the same processor alone.
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True).stdout
    processor = (*accelerator(image), platform.release())
    stated = json.dumps(project()["tool"]["setuptools"])
    directory = cache_root() / f"layer-{digest_of(image.name, *recipe, stated, *names, qemu, *processor)}"
    with locked("layer"):
        if not directory.exists():
            _build(image, wheels, directory)
        mark_used(directory)
        forget_old("layer-*", keep=[directory])
    return SavedMachine(directory)


def _build(image: Image, wheels: Path, directory: Path) -> None:
    print("Preparing the machines' Python (once for each set of wheels)", flush=True)
    with workplace("layer") as scratch:
        machine = Machine(image, scratch / "testbed")
        machine.create(image.disk)
        try:
            machine.start()
            machine.wait_until_ready()
            _install(machine, wheels)
            machine.shut_down()
            # Booted once more, it has nothing in memory but what it needs.
            machine.start(savable=True)
            machine.wait_until_ready()
            _settle(machine)
            machine.save(scratch / "saved")
        finally:
            machine.cut_power()
        (scratch / "saved").rename(directory)


def _install(machine: Machine, wheels: Path) -> None:
    machine.send_files(wheels, ["."], WHEELS_INSIDE)
    machine.ssh("python3", "-m", "venv", Path(PYTHON_INSIDE).parents[1])
    pip = [PYTHON_INSIDE, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", WHEELS_INSIDE]
    machine.ssh(*pip, *requirements())
    machine.send_files(CHECKOUT, _SKELETON, CHECKOUT_INSIDE)
    packages = [path.parent for path in sorted((CHECKOUT / "plugins/module_utils/_engine").glob("**/__init__.py"))]
    machine.ssh("mkdir", "-p", *(f"{CHECKOUT_INSIDE}/{path.relative_to(CHECKOUT)}" for path in packages))
    machine.ssh(*pip, "--no-deps", "--no-build-isolation", "--editable", CHECKOUT_INSIDE)


def _settle(machine: Machine) -> None:
    """Have it use once what every test uses, and finish what it still does after it has booted."""
    machine.ssh("mkdir", "/tmp/first")
    machine.ssh("tee", "/tmp/first/test_first.py", input=_FIRST_TEST.encode(), capture=True)
    pytest = [PYTHON_INSIDE, "-m", "coverage", "run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_first.py"]
    machine.ssh("env", "--chdir", "/tmp/first", *pytest, capture=True)
    machine.ssh("zfs", "list", capture=True)
    machine.ssh("rm", "-r", "/tmp/first")
    machine.ssh("systemctl", "is-system-running", "--wait", capture=True)
    machine.ssh("sync")
