# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed at every step: whatever was cut off, the next run of the same command brings everything in order."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from zrb.repository.catalogue import read_catalogue
from zrb.repository.signed_objects import read_manifest
from zrb.run.backup import back_up
from zrb.run.context import Context
from zrb.run.verify import verify
from zrb.values.config import KIB, MIB, LocalSettings
from zrb.values.manifest import Manifest
from zrb.values.manifest_json import encode_manifest
from zrb.values.part_list_json import encode_part

from tests.fakes.kill import at_checkpoint, at_store_call, dies_by_kill
from tests.fixtures.file_tree import change_tree, describe_tree, make_tree
from tests.fixtures.sample_manifests import with_parts
from tests.integration.nas_fixtures import Nas

CHECKPOINTS = [
    "snapshot-taken",
    "snapshot-held",
    "journal-created",
    "stream-stored",
    "parts-listed",
    "manifest-signed",
    "manifest-stored",
    "bookmarked",
    "holds-released",
    "seq-remembered",
    "journal-removed",
]
STORE_CALLS = [
    ("open_upload", "after", "part-000002"),
    ("put_chunk", "before", "part-000002"),
    ("put_chunk", "after", "part-000002"),
    ("complete", "before", "part-000002"),
    ("complete", "after", "part-000002"),
    ("put", "before", ".parts"),
    ("put", "after", ".parts"),
    ("put", "before", ".json"),
    ("put", "after", ".json"),
]
AFTER_COMMIT = {"manifest-stored", "bookmarked", "holds-released", "seq-remembered", "journal-removed"}


def committed(nas: Nas) -> list[Manifest]:
    """All committed backups, after checking that every byte of each is there and right."""
    context = nas.context()
    report = verify(context, depth="decrypt", identities=_identities(nas))
    assert report.exit_code == 0
    store = nas.store()
    try:
        catalogue = read_catalogue(store, trusted=context.trusted_signers())
        assert catalogue.problems == ()
        return [read_manifest(store, entry) for entry in catalogue.manifests]
    finally:
        store.close()


def _identities(nas: Nas) -> list[str]:
    from zrb.config.key_files import read_identities

    return read_identities(nas.identity)


def kill_backup(nas: Nas, context: Context, level: int) -> None:
    """Run a backup that does not survive."""
    assert dies_by_kill(lambda: back_up(context, task=nas.task, level=level))


def assert_recovers(nas: Nas, expected: Any, *, already: int) -> None:
    """The next run succeeds, nothing is left over, and the newest backup brings the files back."""
    before = committed(nas)
    assert len(before) == already
    nas.back_up(1)
    after = committed(nas)
    assert [manifest.backup_id for manifest in after][: len(before)] == [manifest.backup_id for manifest in before]
    assert len(after) == len(before) + 1
    assert list(Path(nas.config.base_dir).rglob("*.journal")) == []
    held = [snapshot for snapshot in nas.context().zfs.snapshots(nas.dataset.name) if snapshot.user_holds]
    assert {snapshot.guid for snapshot in held} <= {manifest.snapshot.guid for manifest in after}
    assert after[-1].snapshot.guid in {snapshot.guid for snapshot in held}
    nas.restore()
    nas.assert_restored(nas.target(), expected)


@pytest.fixture
def changed_nas(local_nas: Nas) -> Nas:
    """A NAS with a committed level 0, and since then changes of several parts."""
    make_tree(local_nas.dataset.mountpoint, seed=2, files=20, big_bytes=256 * KIB)
    local_nas.back_up(0)
    change_tree(local_nas.dataset.mountpoint, 1)
    (local_nas.dataset.mountpoint / "new").write_bytes(random.Random(3).randbytes(MIB))
    return local_nas


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_killed_at_a_checkpoint(changed_nas: Nas, checkpoint: str) -> None:
    expected = describe_tree(changed_nas.dataset.mountpoint)
    kill_backup(changed_nas, at_checkpoint(changed_nas.context(), checkpoint), 1)
    assert_recovers(changed_nas, expected, already=2 if checkpoint in AFTER_COMMIT else 1)


@pytest.mark.parametrize(("call", "when", "key_part"), STORE_CALLS)
def test_killed_around_a_store_call(changed_nas: Nas, call: str, when: Any, key_part: str) -> None:
    expected = describe_tree(changed_nas.dataset.mountpoint)
    kill_backup(changed_nas, at_store_call(changed_nas.context(), call, when=when, key_part=key_part), 1)
    committed_already = (call, when, key_part) == ("put", "after", ".json")
    assert_recovers(changed_nas, expected, already=2 if committed_already else 1)


def test_a_resumed_backup_is_the_uninterrupted_one(nas: Nas, tmp_path: Path) -> None:
    make_tree(nas.dataset.mountpoint, seed=4, files=60, big_bytes=19 * MIB if nas.config.s3 else 2 * MIB)
    expected = describe_tree(nas.dataset.mountpoint)
    context = at_store_call(nas.context(), "put_chunk", when="after", nth=2, key_part="part-000002", completed=2)
    kill_backup(nas, context, 0)
    stored_before = set(nas.keys("data/"))
    result = nas.back_up(0)
    parts = len(nas.parts(result.manifest))
    assert parts > 3
    assert result.parts_resumed >= len(stored_before) >= 2
    assert set(nas.keys("data/")) == {part.key for part in nas.parts(result.manifest)}
    assert nas.restore().warnings == ()
    nas.assert_restored(nas.target(), expected)

    other = tmp_path / "uninterrupted"
    other.mkdir()
    config = replace(
        nas.config,
        base_dir=PurePosixPath(tmp_path / "other-state"),
        s3=None,
        local=LocalSettings(PurePosixPath(other)),
        tasks=(replace(nas.task, take_snapshot=False),),
    )
    undisturbed = replace(nas, config=config)
    assert comparable(nas, result.manifest) == comparable(undisturbed, undisturbed.back_up(0).manifest)


def comparable(nas: Nas, manifest: Manifest) -> bytes:
    """A manifest and its parts without times, ciphertext, and the ids that are new in every run."""
    uniform = _uniform(manifest)
    parts = [
        replace(
            part,
            key=uniform.series.part_key(uniform.backup_id, uniform.level, part.index),
            bytes=part.plain_bytes + 1000,  # age adds a stanza of random length
            sha256="0" * 64,
            checksum=replace(part.checksum, kind="none", value="", etag=""),
        )
        for part in nas.parts(manifest)
    ]
    return encode_manifest(with_parts(uniform, parts)) + b"".join(map(encode_part, parts))


def _uniform(manifest: Manifest) -> Manifest:
    backup_id = type(manifest.backup_id)("20260101T000000Z-L0-00000000")
    return replace(
        manifest, repository_id="0" * 32, backup_id=backup_id, chain=backup_id, created=manifest.snapshot.creation
    )
