# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A NAS of a test's own: a real pool with a dataset of real files, keys, a configuration, and a repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.config.key_files import read_identities
from zrb.repository.identity import read_identity
from zrb.run.backup import BackupResult, back_up
from zrb.run.context import Context
from zrb.run.keys import write_age_key, write_signing_key
from zrb.run.restore import RestoreResult, RestoreSelection, restore
from zrb.store.open_store import open_store
from zrb.store.protocol import Store
from zrb.values.config import KIB, MIB, Config, Limits, LocalSettings, S3Settings, Task
from zrb.values.manifest import Manifest, Part
from zrb.values.repository_names import hold_tag
from zrb.zfs.real_zfs import RealZfs

from tests.fixtures.committed_repository import parts_of
from tests.fixtures.file_tree import Description, compare, describe_tree
from tests.integration.zfs_fixtures import MadeDataset, MadePool, command, create_dataset

SMALL = Limits(part_size=256 * KIB, chunk_size=64 * KIB, memory_limit=48 * MIB, workers=3)
"""Several chunks a part and several parts a stream, of little data."""

SMALL_S3 = Limits(part_size=6 * MIB, chunk_size=5 * MIB, memory_limit=64 * MIB, workers=3)
"""The same where S3 allows no chunk below 5 MiB but the last."""


@dataclass(frozen=True)
class Nas:
    """What a test needs of one NAS. ``identity`` is the age private key file, which a real NAS does not have."""

    pool: MadePool
    dataset: MadeDataset
    config: Config
    identity: Path
    root: Path
    zfs: RealZfs = field(default_factory=RealZfs)
    """The real one. Each of them asks once what its ZFS can do."""

    @property
    def task(self) -> Task:
        """The one task."""
        return self.config.tasks[0]

    def context(self, **changes: Any) -> Context:
        """The real environment, with ``changes``."""
        return replace(Context.for_config(self.config), **{"zfs": self.zfs, **changes})

    def back_up(self, level: int, **changes: Any) -> BackupResult:
        """One backup, which has to succeed."""
        outcome = back_up(self.context(**changes), task=self.task, level=level)
        for _, error in outcome.failures:
            raise error
        (result,) = outcome.results
        return result

    def restore(self, name: str = "copy", **selection: Any) -> RestoreResult:
        """Restore into ``{pool}/restore/{name}``."""
        context = self.context()
        return restore(
            context,
            RestoreSelection(dataset=self.dataset.name, target=self.target(name), **selection),
            identities=read_identities(self.identity),
            trusted=context.trusted_signers(),
        )

    def target(self, name: str = "copy") -> str:
        """A dataset that does not exist yet."""
        return f"{self.pool.restore}/{name}"

    def files_of(self, dataset: str) -> Description:
        """Mount a restored dataset, describe its files, and unmount it."""
        place = self.root / "restored"
        place.mkdir(exist_ok=True)
        command("zfs", "set", f"mountpoint={place}", dataset)
        if command("zfs", "get", "-H", "-o", "value", "mounted", dataset).strip() != "yes":
            command("zfs", "mount", dataset)
        try:
            return describe_tree(place)
        finally:
            command("zfs", "unmount", dataset)
            command("zfs", "set", "mountpoint=none", dataset)

    def assert_restored(self, dataset: str, expected: Description) -> None:
        """Every file of ``expected`` came back, and nothing else."""
        differences = compare(expected, self.files_of(dataset))
        assert differences == []

    @property
    def hold_tag(self) -> str:
        """Tag of the holds of its backups, once there is a repository."""
        store = self.store()
        try:
            identity = read_identity(store)
        finally:
            store.close()
        assert identity is not None
        return hold_tag(identity.repository_id)

    def store(self) -> Store:
        """The repository, for looking at and for damaging."""
        return open_store(self.config)

    def keys(self, prefix: str = "") -> list[str]:
        """All keys in the repository."""
        store = self.store()
        try:
            return [item.key for item in store.list(prefix)]
        finally:
            store.close()

    def parts(self, manifest: Manifest) -> tuple[Part, ...]:
        """The parts of a backup, from its list."""
        with closing(self.store()) as store:
            return parts_of(store, manifest)


@pytest.fixture(params=["directory", "s3"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, LocalSettings | S3Settings]:
    """Where backups go: each test that asks for a NAS runs with both kinds of storage."""
    if request.param == "s3":
        return {"s3": request.getfixturevalue("bucket").settings}
    return directory_repository(tmp_path / "repository")


def directory_repository(path: Path) -> dict[str, LocalSettings | S3Settings]:
    """A new directory for backups, as :func:`new_nas` takes it."""
    path.mkdir(mode=0o700)
    return {"local": LocalSettings(PurePosixPath(path))}


def new_nas(
    pool: MadePool, root: Path, repository: Mapping[str, Any], *, limits: Limits | None = None, **task: Any
) -> Nas:
    """A NAS with a dataset in ``pool``, keys and state below ``root``, which backs up to ``repository``."""
    dataset = create_dataset(pool, "data")
    keys = root / "keys"
    keys.mkdir(mode=0o700)
    identity = write_age_key(keys / "age.key")
    write_signing_key(keys / "signing.key")
    config = Config(
        base_dir=PurePosixPath(root / "state"),
        log_dir=PurePosixPath(root / "logs"),
        host="nas1",
        recipients=(identity.public,),
        signing_key=PurePosixPath(keys / "signing.key"),
        limits=limits or (SMALL_S3 if "s3" in repository else SMALL),
        patience_s=0,
        tasks=(Task(name="test", pool=pool.name, dataset="data", **task),),
        **repository,
    )
    return Nas(pool, dataset, config, keys / "age.key", root)


@pytest.fixture
def make_nas(zpool: MadePool, tmp_path: Path) -> Callable[..., Nas]:
    """Make a NAS for a repository and, where given, other limits."""
    return partial(new_nas, zpool, tmp_path)


@pytest.fixture
def nas(make_nas: Callable[..., Nas], repository: dict[str, Any]) -> Nas:
    """A NAS with each kind of repository."""
    return make_nas(repository)


@pytest.fixture
def local_nas(make_nas: Callable[..., Nas], tmp_path: Path) -> Nas:
    """A NAS with a repository in a directory."""
    return make_nas(directory_repository(tmp_path / "repository"))
