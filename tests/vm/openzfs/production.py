# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datasets of every kind for a NAS of a test's own, and ways to look at what was stored of them."""

from __future__ import annotations

import io
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from zrb.config.key_files import read_identities
from zrb.run.backup import BackupOutcome, back_up
from zrb.run.restore import RestoreResult, RestoreSelection, restore
from zrb.seal.age import AgeOpener
from zrb.values.config import KIB, MIB
from zrb.values.manifest import Manifest
from zrb.zfs.real_zfs import RealZfs

from tests.fixtures.file_tree import Description, change_tree, describe_tree, make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command

TREE_FILES = 30
BIG_BYTES = 512 * KIB


def attempt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail."""
    return subprocess.run(arguments, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def value(name: str, key: str) -> str:
    """One property of a dataset, snapshot or bookmark, exact."""
    return command("zfs", "get", "-H", "-p", "-o", "value", key, name).rstrip("\n")


def create(name: str, **properties: str) -> str:
    """A dataset with these properties, instead of the one that had its name."""
    if attempt("zfs", "list", "-H", name).returncode == 0:
        command("zfs", "destroy", "-R", name)
    options = [word for key, wanted in properties.items() for word in ("-o", f"{key}={wanted}")]
    command("zfs", "create", *options, name)
    return name


@dataclass(frozen=True)
class WrappingKey:
    """A raw key of ZFS' own encryption, in a file."""

    path: Path

    @classmethod
    def make(cls, directory: Path) -> WrappingKey:
        """A new key."""
        path = directory / "wrapping.key"
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
        return cls(path)

    @property
    def properties(self) -> dict[str, str]:
        """What makes a dataset encrypted by it."""
        return {"encryption": "aes-256-gcm", "keyformat": "raw", "keylocation": f"file://{self.path}"}

    def load(self, dataset: str) -> None:
        """Open a dataset, wherever it says its key lies."""
        command("zfs", "load-key", "-L", f"file://{self.path}", dataset)

    def unload(self, dataset: str) -> None:
        """Close it."""
        attempt("zfs", "unmount", dataset)
        command("zfs", "unload-key", dataset)


def fill(nas: Nas) -> Description:
    """Put a tree of real files into the dataset; what is there."""
    make_tree(nas.dataset.mountpoint, seed=7, files=TREE_FILES, big_bytes=BIG_BYTES)
    return describe_tree(nas.dataset.mountpoint)


def change(nas: Nas, round: int = 1) -> Description:
    """Change them; what is there now."""
    change_tree(nas.dataset.mountpoint, round)
    return describe_tree(nas.dataset.mountpoint)


def with_task(nas: Nas, **changes: object) -> Nas:
    """The NAS with another task."""
    return replace(nas, config=replace(nas.config, tasks=(replace(nas.task, **changes),)))


def outcome_of(nas: Nas, level: int) -> BackupOutcome:
    """A run that may fail for some datasets."""
    return back_up(nas.context(), task=nas.task, level=level)


def restore_of(nas: Nas, dataset: str, target: str) -> RestoreResult:
    """Restore the newest backup of any dataset of the NAS."""
    env = nas.context()
    selection = RestoreSelection(dataset=dataset, target=target)
    return restore(env, selection, identities=read_identities(nas.identity), trusted=env.trusted_signers())


def stored_stream(nas: Nas, manifest: Manifest) -> bytes:
    """The stream of a backup, out of the repository, by hand: every part decrypted, one after the other."""
    opener = AgeOpener(read_identities(nas.identity))
    store = nas.store()
    stream = io.BytesIO()
    try:
        for part in nas.parts(manifest):
            opener.decrypt(io.BytesIO(store.get(part.key, limit=64 * MIB)), stream)
    finally:
        store.close()
    return stream.getvalue()


def stream_summary(stream: bytes) -> str:
    """What ``zstream dump`` says of a stream, having checked the checksum of every record."""
    ended = subprocess.run(["zstream", "dump"], input=stream, capture_output=True, check=False)
    # It says what is wrong with a record and goes on: its exit status tells nothing about that.
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode(errors="replace")
    return ended.stdout.decode(errors="replace")


def snapshot_names(dataset: str) -> list[str]:
    """Short names of its snapshots, oldest first."""
    return [snapshot.short_name for snapshot in RealZfs().snapshots(dataset)]


def volume_device(name: str) -> Path:
    """The block device of a volume, once udev has made it."""
    command("udevadm", "settle")
    return Path("/dev/zvol") / name


def read_volume(name: str, size: int) -> bytes:
    """The first bytes of a volume."""
    with volume_device(name).open("rb") as device:
        return device.read(size)
