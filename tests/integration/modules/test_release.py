# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The collection can be built, installed and used with nothing of this checkout."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from tests.integration.modules.conftest import ROOT, Ansible

TOP_LEVEL = {
    *("FILES.json", "MANIFEST.json", "LICENSE", "README.md", "pyproject.toml"),
    *("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md"),
    *("changelogs", "docs", "meta", "playbooks", "plugins", "roles"),
}


def test_what_is_installed_from_a_release_works(ansible: Ansible, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    subprocess.run([ROOT / "tests/setup/tree", tree], check=True)
    ansible.run("ansible-galaxy", "collection", "build", str(tree), "--output-path", str(tmp_path))
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = content.getnames()
    assert {name.partition("/")[0] for name in names} <= TOP_LEVEL
    assert not [name for name in names if "demo" in name]

    installed = tmp_path / "installed"
    ansible.environment["ANSIBLE_COLLECTIONS_PATH"] = str(installed)
    ansible.run("ansible-galaxy", "collection", "install", str(archive), "--offline", "-p", str(installed))
    (made,) = ansible.play([{"zrb.fleet.age_keygen": {"path": str(tmp_path / "age.key")}}])
    assert made["public_key"].startswith("age1")
