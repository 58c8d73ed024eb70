# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The libraries of this environment as wheels, so that a test can let pip install them without any network."""

from __future__ import annotations

import re
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def write_wheels(requirements: list[str], directory: Path) -> None:
    """Write a wheel of each of ``requirements`` and of all that they need, as they are installed here."""
    waiting = [Requirement(text) for text in requirements]
    written = set()
    while waiting:
        requirement = waiting.pop()
        if requirement.name in written or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        written.add(requirement.name)
        installed = distribution(requirement.name)
        _write_wheel(installed, directory)
        waiting += [Requirement(text) for text in installed.requires or ()]


def _write_wheel(installed: Distribution, directory: Path) -> None:
    # What a wheel is: packaging.python.org/specifications/binary-distribution-format
    tags = re.findall(r"^Tag: (\S+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    name = installed.metadata["Name"].replace("-", "_")
    pythons, abis, platforms = (sorted({tag.split("-")[part] for tag in tags}) for part in range(3))
    file_name = "-".join([name, installed.version, ".".join(pythons), ".".join(abis), ".".join(platforms)]) + ".whl"
    with zipfile.ZipFile(directory / file_name, "w") as wheel:
        for file in installed.files or ():
            if not file.parts[0].startswith("..") and file.suffix != ".pyc":
                wheel.write(str(installed.locate_file(file)), str(file))
