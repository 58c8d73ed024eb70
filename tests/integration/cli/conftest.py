# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real command, as a process of its own, on a NAS of a test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.file_tree import Description, change_tree, describe_tree, make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY

MIB = 1024 * 1024


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

    def succeeded(self) -> Ended:
        """The same; the test fails where the command did not end with 0."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


@dataclass(frozen=True)
class CommandLine:
    """``zrb`` on ``nas``, with the configuration file ``config``."""

    nas: Nas
    config: Path

    def __call__(self, *arguments: object, **environment: str) -> Ended:
        """Run it to its end."""
        ended = subprocess.run(
            self.words(*arguments),
            env=self.context(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def words(self, *arguments: object) -> list[str]:
        """The command line."""
        command, *options = (str(argument) for argument in arguments)
        return [sys.executable, "-m", "zrb.command", command, "--config", str(self.config), *options]

    def context(self, **changes: str) -> dict[str, str]:
        """The environment of the process: credentials, as an administrator would set them."""
        return {
            **os.environ,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            "LC_ALL": "C.UTF-8",
            **changes,
        }

    @property
    def files(self) -> Path:
        """Where the dataset is mounted."""
        return self.nas.dataset.mountpoint

    @property
    def repository(self) -> Path:
        """The directory of the repository, where it is one."""
        assert self.nas.config.local is not None
        return Path(self.nas.config.local.path)

    def edit(self, **changes: Any) -> None:
        """Change top-level keys of the configuration file."""
        document = yaml.safe_load(self.config.read_text()) | changes
        self.config.write_text(yaml.safe_dump(document))

    def back_up(self, level: int) -> dict[str, Any]:
        """One backup, which has to succeed; its result."""
        (result,) = self("backup", "--level", level, "--json").succeeded().document["results"]
        return dict(result)

    def back_up_three_levels(self) -> tuple[list[dict[str, Any]], Description]:
        """Files, level 0, changes, level 1, changes, level 2; the results, and what the files are now."""
        make_tree(self.files, seed=1, files=40, big_bytes=MIB)
        results = [self.back_up(0)]
        for level in (1, 2):
            change_tree(self.files, level)
            results.append(self.back_up(level))
        return results, describe_tree(self.files)


def command_line(nas: Nas) -> CommandLine:
    """The command with a configuration file for ``nas``."""
    config, s3, local = nas.config, nas.config.s3, nas.config.local
    document: dict[str, Any] = {
        "base_dir": str(config.base_dir),
        "log_dir": str(config.log_dir),
        "host": config.host,
        "age_recipients": list(config.recipients),
        "signing_key": str(config.signing_key),
        "part_size": f"{config.limits.part_size}B",
        "chunk_size": f"{config.limits.chunk_size}B",
        "memory_limit": f"{config.limits.memory_limit}B",
        "workers": config.limits.workers,
        "patience": config.patience_s or 0,
        "tasks": [{"name": nas.task.name, "pool": nas.task.pool, "dataset": nas.task.dataset}],
    }
    if s3:
        document["s3"] = {"bucket": s3.bucket, "endpoint": s3.endpoint, "prefix": s3.prefix}
    if local:
        document["local"] = {"path": str(local.path)}
    path = nas.root / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return CommandLine(nas, path)


@pytest.fixture
def zrb(nas: Nas) -> CommandLine:
    """The command, with each kind of repository."""
    return command_line(nas)


@pytest.fixture
def local_zrb(local_nas: Nas) -> CommandLine:
    """The command, with a repository in a directory."""
    return command_line(local_nas)
