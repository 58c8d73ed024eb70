# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The wheels that the role runtime pins, fetched on the host for a machine that reaches no package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.vm.testbed.image import Image, ensure_image
from tests.vm.testbed.places import CHECKOUT, cache_root, digest_of, forget_old, locked, mark_used, workplace
from tests.vm.testbed.runtime_layer import ensure_runtime_layer

LOCK = CHECKOUT / "roles/runtime/files/requirements.txt"
PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def python_of(image: Image) -> str:
    """The version of the machines' own Python, as in ``3.13``."""
    return ".".join(image.version_of("python3").split(".")[:2])


def ensure_runtime_wheels(python_version: str) -> Path:
    """A directory of them for Python ``python_version`` (as in ``3.13``)."""
    directory = cache_root() / f"runtime-wheels-{digest_of(python_version, LOCK.read_bytes())}"
    with locked("runtime-wheels"):
        if not directory.exists():
            platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
            with workplace("runtime-wheels") as scratch:
                fetched = scratch / "wheels"
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
                options = ["--only-binary=:all:", "--python-version", python_version, *platforms, "--require-hashes"]
                command = [*pip, *options, "--dest", fetched, "--requirement", LOCK]
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
                fetched.rename(directory)
        mark_used(directory)
        forget_old("runtime-wheels-*", keep=[directory])
    return directory


if __name__ == "__main__":
    # Before the tests, which leave the settings of pip behind.
    image = ensure_image()
    ensure_runtime_layer(image)
    ensure_runtime_wheels(python_of(image))
