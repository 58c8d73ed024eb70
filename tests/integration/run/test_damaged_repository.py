# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One flipped bit anywhere, an object missing or swapped: verify and restore say so, and nothing is committed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.config.key_files import read_identities
from zrb.errors import BackupsVanished, ChainBroken, EngineError, IntegrityError, PartMissing, SignatureInvalid
from zrb.run.backup import BackupResult
from zrb.run.keys import write_age_key, write_signing_key
from zrb.run.restore import RestoreSelection, plan_restore, restore
from zrb.run.verify import verify
from zrb.values.config import KIB
from zrb.values.recipients import shown

from tests.fixtures.file_tree import change_tree, describe_tree, make_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command

Chain = tuple[Nas, BackupResult, BackupResult]


@pytest.fixture
def chain(local_nas: Nas) -> Chain:
    """A NAS with a level 0 of several parts and a level 1."""
    make_tree(local_nas.dataset.mountpoint, seed=5, files=10, big_bytes=128 * KIB)
    full = local_nas.back_up(0)
    change_tree(local_nas.dataset.mountpoint, 1)
    return local_nas, full, local_nas.back_up(1)


def file_of(nas: Nas, key: str) -> Path:
    assert nas.config.local is not None
    return Path(nas.config.local.path) / key


def flip(path: Path, position: int) -> Callable[[], None]:
    """Flip one bit of a file; what is returned flips it back."""
    content = bytearray(path.read_bytes())
    before = bytes(content)
    content[position] ^= 0x10
    path.write_bytes(content)
    assert path.read_bytes() != before

    def undo() -> None:
        path.write_bytes(before)

    return undo


def verified(nas: Nas, depth: Any = "decrypt") -> int:
    return verify(nas.context(), depth=depth, identities=read_identities(nas.identity)).exit_code


def test_every_object_is_covered(chain: Chain) -> None:
    nas, full, first = chain
    expected = describe_tree(nas.dataset.mountpoint)
    assert verified(nas) == 0
    second_link = [part.key for part in nas.parts(first.manifest)]
    keys = [part.key for part in nas.parts(full.manifest)] + second_link
    keys += [full.manifest_key, first.manifest_key, full.manifest.parts.key, first.manifest.parts.key]
    assert set(keys) | {"zrb.json"} == set(nas.keys())
    for number, key in enumerate(keys):
        size = file_of(nas, key).stat().st_size
        undo = flip(file_of(nas, key), [0, size // 2, size - 1][number % 3] if "data/" in key else size // 2)
        assert verified(nas) == 5, key
        with pytest.raises(IntegrityError) as caught:
            nas.restore()
        assert caught.value.exit_code == 5, key
        zfs = nas.context().zfs
        if key in second_link:
            # The level 0 before it is whole and stays; the message says how to go on.
            assert [snapshot.guid for snapshot in zfs.snapshots(nas.target())] == [full.manifest.snapshot.guid]
            assert "--continue" in caught.value.explain()
            undo()
            assert nas.restore(continues=True).links == (first.manifest.backup_id,)
            nas.assert_restored(nas.target(), expected)
            command("zfs", "destroy", "-r", nas.target())
            continue
        assert not zfs.exists(nas.target()), key
        undo()
    assert verified(nas) == 0


def test_a_damaged_newest_manifest_is_not_silently_passed_over(chain: Chain) -> None:
    nas, full, first = chain
    flip(file_of(nas, first.manifest_key), 300)
    with pytest.raises(IntegrityError, match="--backup-id"):
        nas.restore()
    with pytest.raises(IntegrityError):
        nas.restore(backup_id=first.manifest.backup_id)
    assert nas.restore(backup_id=full.manifest.backup_id).links == (full.manifest.backup_id,)


def test_missing_objects(chain: Chain) -> None:
    nas, full, first = chain
    part = file_of(nas, nas.parts(full.manifest)[-1].key)
    content = part.read_bytes()
    part.unlink()
    with pytest.raises(PartMissing, match=nas.parts(full.manifest)[-1].key):
        nas.restore()
    assert verified(nas, "exists") == 5
    part.write_bytes(content[:-1])
    with pytest.raises(IntegrityError, match=nas.parts(full.manifest)[-1].key):
        nas.restore()
    part.write_bytes(content)
    file_of(nas, full.manifest_key).unlink()
    with pytest.raises(ChainBroken, match=full.manifest.backup_id):
        nas.restore()
    assert first.manifest.base is not None
    assert not nas.context().zfs.exists(nas.target())


def test_swapped_parts(chain: Chain) -> None:
    nas, full, _ = chain
    one, two = (file_of(nas, part.key) for part in nas.parts(full.manifest)[1:3])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(IntegrityError):
        nas.restore()
    assert not nas.context().zfs.exists(nas.target())
    assert verified(nas, "checksum") == 5


def test_a_manifest_of_another_dataset(chain: Chain) -> None:
    nas, full, _ = chain
    elsewhere = file_of(nas, full.manifest_key.replace("/data/", "/other/"))
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(file_of(nas, full.manifest_key).read_bytes())
    context = nas.context()
    selection = RestoreSelection(dataset=f"{nas.pool.name}/other", target=nas.target())
    with pytest.raises(IntegrityError, match="copied"):
        plan_restore(context, selection, trusted=context.trusted_signers())


def test_wrong_keys(chain: Chain, tmp_path: Path) -> None:
    nas, _, _ = chain
    stranger = write_age_key(tmp_path / "stranger.key")
    context = nas.context()
    selection = RestoreSelection(dataset=nas.dataset.name, target=nas.target())
    with pytest.raises(EngineError) as caught:
        restore(context, selection, identities=read_identities(stranger.path), trusted=context.trusted_signers())
    assert caught.value.exit_code == 2
    assert shown(nas.config.recipients[0]) in caught.value.explain()
    assert not context.zfs.exists(nas.target())

    other = write_signing_key(tmp_path / "other.key")
    with pytest.raises(SignatureInvalid):
        restore(context, selection, identities=read_identities(nas.identity), trusted=[other.public])
    with pytest.raises(SignatureInvalid, match="trusted"):
        restore(context, selection, identities=read_identities(nas.identity), trusted=[])
    assert not context.zfs.exists(nas.target())
    unsigned = restore(context, selection, identities=read_identities(nas.identity), trusted=[], allow_unsigned=True)
    assert "without a trusted signature" in unsigned.warnings[0]


def test_a_rolled_back_repository_is_noticed(chain: Chain) -> None:
    nas, full, first = chain
    file_of(nas, first.manifest_key).unlink()
    for use in (nas.restore, lambda: nas.back_up(1)):
        with pytest.raises(BackupsVanished):
            use()
    restored = nas.restore(backup_id=full.manifest.backup_id)
    assert any("newest backups" in warning for warning in restored.warnings)
    verify(nas.context(), depth="signature", accept_losses=True)
    # The next backup does not reuse the number of the one that vanished.
    assert nas.back_up(1).manifest.seq == first.manifest.seq + 1


def test_parts_larger_than_memory_go_through_the_spool(chain: Chain) -> None:
    nas, _, _ = chain
    expected = describe_tree(nas.dataset.mountpoint)
    spool = Path(nas.config.base_dir) / "spool"
    (spool / "restore-left").mkdir(parents=True)
    (spool / "restore-left" / "part-000000.age").write_bytes(b"left by a killed restore")
    limits = replace(nas.config.limits, chunk_size=64 * KIB, memory_limit=2 * 64 * KIB)
    tight = replace(nas, config=replace(nas.config, limits=limits))
    tight.restore()
    tight.assert_restored(tight.target(), expected)
    # Whoever uses the spool clears away what a dead process left there, and then its own.
    assert list(spool.iterdir()) == []
