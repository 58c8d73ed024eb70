# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command in this process, on a repository that was committed without ZFS."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.cli import main
from zrb.run.keys import write_signing_key

from tests.fixtures.committed_repository import CommittedRepository


@dataclass(frozen=True)
class Ended:
    """One call of the command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Zrb = Callable[..., Ended]


@pytest.fixture
def zrb(capsys: pytest.CaptureFixture[str]) -> Zrb:
    """Call the command."""

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture
def repository(tmp_path: Path) -> CommittedRepository:
    """A repository to commit backups to."""
    return CommittedRepository(tmp_path / "repository")


@pytest.fixture
def config(tmp_path: Path, repository: CommittedRepository) -> Path:
    """A configuration file for it."""
    etc = tmp_path / "etc"
    etc.mkdir()
    write_signing_key(etc / "signing.key")
    path = etc / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "base_dir": str(tmp_path / "base"),
                "host": "nas1",
                "age_public_key": repository.age_key[1],
                "signing_key": str(etc / "signing.key"),
                "trusted_signers": [repository.signing_key.public],
                "local": {"enabled": True, "path": str(repository.path)},
                "tasks": [
                    {"name": "data", "pool": "tank", "dataset": "data"},
                    {"name": "other", "pool": "tank", "dataset": "other"},
                ],
            }
        )
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def identity_file(tmp_path: Path, repository: CommittedRepository) -> Path:
    """The private age key of the repository's backups."""
    path = tmp_path / "age.key"
    path.write_text(repository.age_key[0] + "\n")
    path.chmod(0o600)
    return path
