# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wheels for the machines' Python, fetched on the host: a NAS has no way to a package index."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from tests.vm.testbed.places import CHECKOUT, cache_root, digest_of, forget_old, locked, mark_used, workplace

_FOR_TESTS = ("coverage", "hypothesis", "jsonschema", "pytest")
_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def requirements() -> list[str]:
    """What the engine and its tests need inside, as pyproject.toml states it."""
    stated = project()
    development = stated["project"]["optional-dependencies"]["dev"]
    tools = [each for each in development if re.split(r"[^A-Za-z0-9-]", each)[0] in _FOR_TESTS]
    if len(tools) != len(_FOR_TESTS):
        raise RuntimeError(f"pyproject.toml names {tools} for development, and {_FOR_TESTS} are needed")
    return sorted([*stated["project"]["dependencies"], *tools, *stated["build-system"]["requires"]])


def ensure_wheelhouse(python_version: str) -> Path:
    """A directory of wheels for Python ``python_version`` (as in ``3.13``) that need no index to be installed."""
    wanted = requirements()
    directory = cache_root() / f"wheels-{digest_of(python_version, *wanted)}"
    with locked("wheels"):
        if not directory.exists():
            _download(python_version, wanted, directory)
        mark_used(directory)
        forget_old("wheels-*", keep=[directory])
    return directory


def _download(python_version: str, wanted: list[str], directory: Path) -> None:
    print(f"Fetching wheels for Python {python_version}", flush=True)
    platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
    with workplace("wheels") as scratch:
        fetched = scratch / "wheels"
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python_version, *platforms]
        subprocess.run([*pip, *options, "--dest", fetched, *wanted], check=True, stdin=subprocess.DEVNULL)
        fetched.rename(directory)
