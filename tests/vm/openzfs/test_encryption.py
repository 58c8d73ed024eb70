# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Datasets under ZFS' own encryption: raw streams, lost and changed keys, encrypted parents."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from zrb.errors import SendFailed, ZfsUnable
from zrb.run.verify import verify
from zrb.zfs.real_zfs import RealZfs

from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import (
    WrappingKey,
    attempt,
    change,
    create,
    fill,
    outcome_of,
    restore_of,
    value,
    with_task,
)

pytestmark = pytest.mark.zfs


@pytest.fixture
def key(tmp_path: Path) -> WrappingKey:
    return WrappingKey.make(tmp_path)


@pytest.fixture
def encrypted_nas(local_nas: Nas, key: WrappingKey) -> Nas:
    create(local_nas.dataset.name, **key.properties)
    return local_nas


@pytest.mark.parametrize("key_is", ["loaded", "unloaded"])
def test_raw_chain_restores_and_opens_with_the_key(encrypted_nas: Nas, key: WrappingKey, key_is: str) -> None:
    nas, name = encrypted_nas, encrypted_nas.dataset.name
    fill(nas)
    if key_is == "unloaded":
        key.unload(name)
    full = nas.back_up(0).manifest
    if key_is == "unloaded":
        key.load(name)
        command("zfs", "mount", name)
    files = change(nas)
    if key_is == "unloaded":
        key.unload(name)
    increment = nas.back_up(1).manifest

    assert full.send.flags == increment.send.flags == ("-w",)
    assert full.dataset.encrypted
    assert increment.level == 1
    target = nas.restore().target
    assert value(target, "keystatus") == "unavailable"
    assert value(target, "encryptionroot") == target
    assert attempt("zfs", "mount", target).returncode != 0, "a raw restore must not be readable without its key"
    key.load(target)
    nas.assert_restored(target, files)


def test_a_key_changed_within_a_chain_is_the_one_that_opens_it(
    encrypted_nas: Nas, key: WrappingKey, tmp_path: Path
) -> None:
    nas, name = encrypted_nas, encrypted_nas.dataset.name
    fill(nas)
    nas.back_up(0)
    (tmp_path / "new").mkdir()
    new_key = WrappingKey.make(tmp_path / "new")
    command("zfs", "change-key", "-o", f"keylocation=file://{new_key.path}", name)
    files = change(nas)
    assert nas.back_up(1).manifest.level == 1

    target = nas.restore().target
    assert attempt("zfs", "load-key", "-L", f"file://{key.path}", target).returncode != 0
    new_key.load(target)
    nas.assert_restored(target, files)


def test_a_raw_increment_from_a_bookmark(encrypted_nas: Nas, key: WrappingKey) -> None:
    nas = encrypted_nas
    fill(nas)
    base = nas.back_up(0).manifest
    command("zfs", "release", nas.hold_tag, base.snapshot.name)
    command("zfs", "destroy", base.snapshot.name)
    files = change(nas)
    increment = nas.back_up(1).manifest
    assert (increment.level, increment.send.flags) == (1, ("-w",))

    target = nas.restore().target
    key.load(target)
    nas.assert_restored(target, files)


def test_a_missing_key_fails_a_decrypted_send_and_says_what_to_do(encrypted_nas: Nas, key: WrappingKey) -> None:
    nas = with_task(encrypted_nas, raw="never")
    files = fill(nas)
    key.unload(nas.dataset.name)
    ((dataset, error),) = outcome_of(nas, 0).failures
    assert dataset == nas.dataset.name
    assert isinstance(error, SendFailed)
    assert "zfs load-key" in error.next_step
    assert nas.keys("manifests/") == []

    key.load(nas.dataset.name)
    command("zfs", "mount", nas.dataset.name)
    result = nas.back_up(0)
    assert result.manifest.send.flags == ("-L", "-c")
    assert len(nas.keys("manifests/")) == 2, "a manifest and its list of parts"
    nas.restore()
    nas.assert_restored(nas.target(), files)


def test_a_decrypted_stream_into_an_encrypted_parent_is_encrypted_by_it(local_nas: Nas, key: WrappingKey) -> None:
    vault = create(f"{local_nas.pool.name}/vault", mountpoint="none", **key.properties)
    fill(local_nas)
    local_nas.back_up(0)
    files = change(local_nas)
    local_nas.back_up(1)

    target = restore_of(local_nas, local_nas.dataset.name, f"{vault}/copy").target
    assert value(target, "encryption") == "aes-256-gcm"
    assert value(target, "encryptionroot") == vault
    local_nas.assert_restored(target, files)


def test_a_raw_stream_into_an_encrypted_parent_keeps_its_own_key(
    encrypted_nas: Nas, key: WrappingKey, tmp_path: Path
) -> None:
    nas = encrypted_nas
    (tmp_path / "vault").mkdir()
    vault = create(f"{nas.pool.name}/vault", mountpoint="none", **WrappingKey.make(tmp_path / "vault").properties)
    files = fill(nas)
    nas.back_up(0)

    target = restore_of(nas, nas.dataset.name, f"{vault}/copy").target
    assert value(target, "encryptionroot") == target
    key.load(target)
    nas.assert_restored(target, files)


def test_another_dataset_that_is_encrypted_now_starts_a_raw_chain(local_nas: Nas, key: WrappingKey) -> None:
    fill(local_nas)
    first = local_nas.back_up(0).manifest
    command("zfs", "rename", local_nas.dataset.name, f"{local_nas.pool.name}/before")
    create(local_nas.dataset.name, **key.properties)
    files = fill(local_nas)
    result = local_nas.back_up(1)

    assert result.manifest.level == 0
    assert "another dataset" in result.reason
    assert (first.send.flags, result.manifest.send.flags) == (("-L", "-c"), ("-w",))
    assert result.manifest.chain == result.manifest.backup_id
    target = local_nas.restore().target
    key.load(target)
    local_nas.assert_restored(target, files)


def test_what_is_not_encrypted_is_never_sent_raw(local_nas: Nas) -> None:
    """``-w`` would mean ``-Lec``, and what ``-e`` does to embedded spill blocks cannot be read again: see below."""
    nas = with_task(local_nas, raw="always")
    files = fill(nas)
    ((_, error),) = outcome_of(nas, 0).failures
    assert isinstance(error, ZfsUnable)
    assert "raw: auto" in error.next_step
    nas = with_task(local_nas, raw="auto")
    assert nas.back_up(0).manifest.send.flags == ("-L", "-c")
    nas.restore()
    nas.assert_restored(nas.target(), files)


def test_embedded_blocks_of_a_stream_lose_long_links(local_nas: Nas) -> None:
    """Why: should this fail one day, OpenZFS has mended it."""
    long = local_nas.dataset.mountpoint / "long"
    long.symlink_to("x" * 1000)
    snapshot, target = f"{local_nas.dataset.name}@one", f"{local_nas.pool.restore}/copy"
    command("zfs", "snapshot", snapshot)
    place = local_nas.root / "copy"
    lost = []
    for flags in ("-Lc", "-Lec"):
        send = subprocess.run(["zfs", "send", flags, snapshot], stdout=subprocess.PIPE, check=True)
        subprocess.run(["zfs", "receive", "-o", f"mountpoint={place}", target], input=send.stdout, check=False)
        lost.append(not (place / "long").exists(follow_symlinks=False) or unreadable(place / "long"))
        attempt("zfs", "destroy", "-r", target)
    assert lost == [False, True]


def unreadable(link: Path) -> bool:
    try:
        return link.readlink() != Path("x" * 1000)
    except OSError:
        return True


def test_after_a_restore_a_scrub_finds_nothing(encrypted_nas: Nas, key: WrappingKey) -> None:
    """Encrypted receives have damaged pools before: read every byte, then let ZFS look."""
    nas = encrypted_nas
    fill(nas)
    nas.back_up(0)
    files = change(nas)
    nas.back_up(1)
    assert verify(nas.context(), depth="checksum").exit_code == 0
    target = nas.restore().target
    key.load(target)
    nas.assert_restored(target, files)
    command("zpool", "scrub", "-w", nas.pool.name)
    assert "errors: No known data errors" in command("zpool", "status", nas.pool.name)
    assert RealZfs().dataset(target).encrypted
