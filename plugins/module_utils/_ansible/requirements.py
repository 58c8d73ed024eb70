# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Python and the libraries that modules need where they run. Twin of the requirements in the documentation.

What Ansible's own interpreter lacks, the runtime of the role zrb.fleet.runtime has: the module goes on with that.

Runs on any Python that Ansible does, so that an old one is told in a sentence and not in a traceback.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ansible.module_utils.common.respawn import has_respawned, respawn_module

from .._engine.errors import LibraryMissing
from .results import fail_from

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ansible.module_utils.basic import AnsibleModule

PYTHON = (3, 11)

RUNTIME = Path("/opt/zrb/current")
"""Where the role puts the runtime unless it is told otherwise."""


class Library(NamedTuple):
    """A library by the name of its project, and the oldest version that will do."""

    project: str
    minimum: str

    def __str__(self) -> str:
        return f"{self.project} >= {self.minimum}"


LIBRARIES = {
    "bitmath": Library("bitmath", "2.0"),
    "blake3": Library("blake3", "1.0"),
    "boto3": Library("boto3", "1.36"),
    "cryptography": Library("cryptography", "48"),
    "jmespath": Library("jmespath", "1.0"),
    "yaml": Library("PyYAML", "6.0"),
}
"""All that there are, by the name that is imported."""


def require(module: AnsibleModule, *names: str) -> None:
    """Return if this Python is new enough and has all these libraries, by the names that are imported. Otherwise run
    the module once more with the Python of the runtime, or end it if there is none."""
    complaint = _complaint(names)
    if complaint is None:
        return
    runtime = None if has_respawned() else runtime_python()
    if runtime is not None:
        respawn_module(runtime)
    fail_from(module, complaint)


def runtime_python() -> str | None:
    """The Python of the runtime: in its usual place, or beside the command ``zrb``; ``None`` if there is none, or if it
    is this one. By the name of its version, which is not removed while that stands in a command line."""
    command = shutil.which("zrb", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/bin"]))
    places = [RUNTIME.resolve() / "bin"] + ([Path(command).resolve().parent] if command else [])
    for place in places:
        python = str(place / "python")
        if python != sys.executable and os.access(python, os.X_OK):
            return python
    return None


def _complaint(names: tuple[str, ...]) -> LibraryMissing | None:
    if sys.version_info[:2] < PYTHON:
        return python_too_old(sys.version_info[:2])
    lacking = {}
    for name in names:
        problem = _problem(name)
        if problem:
            lacking[LIBRARIES[name]] = problem
    return libraries_missing(lacking) if lacking else None


def engine_libraries(params: Mapping[str, Any]) -> list[str]:
    """What reading and writing a repository needs: ``params`` are those of the module."""
    names = ["bitmath", "blake3", "cryptography", "yaml"]
    # Whether a configuration file means S3 is known when it is read; the engine asks for boto3 then.
    return [*names, "boto3"] if params["bucket"] is not None else names


def python_too_old(found: tuple[int, ...]) -> LibraryMissing:
    """The complaint about the interpreter."""
    needed = ".".join(map(str, PYTHON))
    return LibraryMissing(
        f"This module needs Python {needed} or later, and {sys.executable} is Python {'.'.join(map(str, found))}",
        subject="python",
        next_step=(
            "Install a newer Python beside it, and apply the role zrb.fleet.runtime to this host, or set "
            "ansible_python_interpreter to its path"
        ),
    )


def libraries_missing(lacking: Mapping[Library, str]) -> LibraryMissing:
    """The complaint about all of ``lacking``, each with what is wrong with it."""
    listed = ", ".join(f"{library} ({problem})" for library, problem in lacking.items())
    return LibraryMissing(
        f"{sys.executable} lacks Python libraries that this module needs: {listed}",
        subject=", ".join(library.project for library in lacking),
        next_step=_how_to_install(list(lacking)),
    )


def _problem(name: str) -> str:
    try:
        loaded = importlib.import_module(name)
    except ImportError as error:
        return "not installed" if isinstance(error, ModuleNotFoundError) and error.name == name else str(error)
    library = LIBRARIES[name]
    try:
        found = version(library.project)
    except PackageNotFoundError:
        found = str(getattr(loaded, "__version__", ""))
    return f"found {found}" if found and _numbers(found) < _numbers(library.minimum) else ""


def _numbers(text: str) -> tuple[int, ...]:
    """``42.0.5rc1`` as 42, 0, 5: enough to compare releases by."""
    match = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _how_to_install(libraries: list[Library]) -> str:
    wanted = " ".join(f"'{library.project}>={library.minimum}'" for library in libraries)
    in_environment = sys.prefix != sys.base_prefix
    if in_environment or not Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists():
        return f"Install them with `{sys.executable} -m pip install {wanted}`"
    # What the distribution manages, pip leaves alone; an environment needs all of them.
    wanted = " ".join(f"'{library.project}>={library.minimum}'" for library in LIBRARIES.values())
    return (
        "Apply the role zrb.fleet.runtime to this host, or install them with "
        f"`{sys.executable} -m venv /opt/zrb && /opt/zrb/bin/pip install {wanted}`, and set "
        "ansible_python_interpreter to /opt/zrb/bin/python"
    )
