# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A layer above the image: the wheelhouse, and a virtual environment made of it by the machine's own Python."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.vm.testbed.image import Image
from tests.vm.testbed.machine import Machine, Size
from tests.vm.testbed.places import CHECKOUT, cache_root, digest_of, forget_old, locked, mark_used
from tests.vm.testbed.wheelhouse import ensure_wheelhouse, project, requirements

CHECKOUT_INSIDE = "/srv/fleet"
WHEELS_INSIDE = "/opt/wheelhouse"
PYTHON_INSIDE = "/opt/venv/bin/python"
_SKELETON = ("pyproject.toml", "plugins/module_utils/_engine/version.py")
"""What an editable installation of the checkout reads, but for the packages' directories."""


def ensure_runtime_layer(image: Image) -> Path:
    """A disk on which :data:`PYTHON_INSIDE` has all that the engine's tests import; made once for a set of wheels."""
    python_version = ".".join(image.version_of("python3").split(".")[:2])
    wheels = ensure_wheelhouse(python_version)
    names = sorted(path.name for path in wheels.iterdir())
    recipe = (Path(__file__).read_bytes(), json.dumps(project()["tool"]["setuptools"]))
    layer = cache_root() / f"layer-{digest_of(image.name, *recipe, *names)}.qcow2"
    with locked("layer"):
        if not layer.exists():
            _build(image, wheels, layer)
        mark_used(layer)
        forget_old("layer-*.qcow2", keep=[layer])
    return layer


def _build(image: Image, wheels: Path, layer: Path) -> None:
    print("Preparing the machines' Python (once for each set of wheels)", flush=True)
    with tempfile.TemporaryDirectory(dir=cache_root(), prefix="layering-") as scratch:
        machine = Machine(image, Path(scratch) / "layer")
        machine.create(image.disk)
        try:
            machine.start(Size(processors=2))
            machine.wait_until_ready()
            _install(machine, wheels)
            machine.shut_down()
        finally:
            machine.cut_power()
        machine.overlay.rename(layer)


def _install(machine: Machine, wheels: Path) -> None:
    machine.send_files(wheels, ["."], WHEELS_INSIDE)
    machine.ssh("python3", "-m", "venv", Path(PYTHON_INSIDE).parents[1])
    pip = [PYTHON_INSIDE, "-m", "pip", "install", "--quiet", "--no-index", "--find-links", WHEELS_INSIDE]
    machine.ssh(*pip, *requirements())
    machine.send_files(CHECKOUT, _SKELETON, CHECKOUT_INSIDE)
    packages = [path.parent for path in sorted((CHECKOUT / "plugins/module_utils/_engine").glob("**/__init__.py"))]
    machine.ssh("mkdir", "-p", *(f"{CHECKOUT_INSIDE}/{path.relative_to(CHECKOUT)}" for path in packages))
    machine.ssh(*pip, "--no-deps", "--no-build-isolation", "--editable", CHECKOUT_INSIDE)
