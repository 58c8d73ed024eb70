# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prepare the home directory that ``ansible-test`` runs in. Usage: ``sanity_home.py HOME``.

ansible-test passes none of the environment on to pip, so pip's settings become a file. And it downloads the script
that gives its virtual environments a pip: where that download is not possible, because only a package index can be
reached, a script that uses Python's own ``ensurepip`` takes its place.
"""

from __future__ import annotations

import ast
import configparser
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

BOOTSTRAP = """\
# Stands in for get-pip.py, which could not be downloaded.
import ensurepip

ensurepip.bootstrap(upgrade=True)
"""


def write_pip_settings(home: Path) -> None:
    """What ``pip config list`` shows here, as the file that a pip without our environment reads."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    settings = configparser.RawConfigParser()
    settings["global"] = {}
    for line in listed.splitlines():
        name, value = line.split("=", 1)
        section, key = name.rsplit(".", 1)
        section = "global" if section == ":env:" else section
        if not settings.has_section(section):
            settings.add_section(section)
        settings[section][key] = ast.literal_eval(value)
    path = home / ".config" / "pip" / "pip.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with path.open("w") as file:
        settings.write(file)


def provide_pip_bootstrap(home: Path) -> None:
    """The script where ansible-test keeps its download, the real one where it can be had."""
    from ansible_test._internal.python_requirements import get_venv_packages

    version = get_venv_packages(_ThisPython())["pip"]  # type: ignore[arg-type]
    path = home / ".ansible" / "test" / "cache" / f"get_pip_{version.replace('.', '_')}.py"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    url = f"https://ci-files.testing.ansible.com/ansible-test/get-pip-{version}.py"
    partial = path.with_suffix(".download")
    try:
        with urllib.request.urlopen(url, timeout=20) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except OSError as error:
        print(f"{url} cannot be downloaded ({error}); using ensurepip instead", file=sys.stderr)
        partial.write_text(BOOTSTRAP)
    partial.replace(path)


class _ThisPython:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"


if __name__ == "__main__":
    home_directory = Path(sys.argv[1])
    write_pip_settings(home_directory)
    provide_pip_bootstrap(home_directory)
