# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A chain of OpenZFS 2.3 on a machine whose ZFS is older: refused before anything is created."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from zrb.config.file import load_config
from zrb.config.key_files import read_identities
from zrb.errors import ReceiveFailed, ZfsUnable
from zrb.repository.catalogue import read_catalogue
from zrb.repository.signed_objects import read_manifest
from zrb.run.context import Context
from zrb.run.restore import RestoreSelection, plan_restore, restore
from zrb.seal.age import AgeOpener
from zrb.values.config import LocalSettings
from zrb.zfs.real_zfs import RealZfs

from tests.fixtures.committed_repository import parts_of
from tests.integration.zfs_fixtures import MadePool
from tests.vm.host.conftest import PoweredNas, new_nas
from tests.vm.testbed.machine import Machine


@pytest.fixture(scope="module")
def powered_nas(machine: Machine) -> PoweredNas:
    nas = new_nas(machine)
    nas.act("prepare,1")
    return nas


@pytest.fixture
def fetched_environment(powered_nas: PoweredNas, zpool: MadePool, tmp_path: Path) -> Context:
    """The host's own ZFS, and the repository, keys and configuration of the machine's NAS."""
    if RealZfs().capabilities.send_large_blocks:
        pytest.fail("the host runs a ZFS as new as the machine's: there is no older one to try")
    fetched = tmp_path / "fetched"
    powered_nas.machine.fetch_files(f"{powered_nas.directory}/repository", fetched / "repository")
    for name in ("config.yaml", "age.key", "signing.key"):
        content = powered_nas.machine.ssh("cat", f"{powered_nas.directory}/{name}", capture=True).stdout
        (fetched / name).touch(mode=0o600)
        (fetched / name).write_bytes(content)
    config = replace(
        load_config(fetched / "config.yaml"),
        base_dir=PurePosixPath(fetched / "state"),
        log_dir=PurePosixPath(fetched / "logs"),
        signing_key=PurePosixPath(fetched / "signing.key"),
        local=LocalSettings(PurePosixPath(fetched / "repository")),
    )
    return Context.for_config(config)


def test_an_older_zfs_refuses_before_anything_is_created(
    powered_nas: PoweredNas, fetched_environment: Context, zpool: MadePool
) -> None:
    context = fetched_environment
    selection = RestoreSelection(dataset=powered_nas.dataset, target=f"{zpool.restore}/copy")
    identities = read_identities(Path(str(context.config.signing_key)).with_name("age.key"))
    trusted = context.trusted_signers()
    for attempt in (
        lambda: plan_restore(context, selection, trusted=trusted),
        lambda: restore(context, selection, identities=identities, trusted=trusted),
    ):
        with pytest.raises(ZfsUnable) as raised:
            attempt()
        assert "was sent with -L -c" in raised.value.problem
        assert "cannot receive such a stream" in raised.value.problem
        assert "zfs-2." in raised.value.next_step
        assert not context.zfs.exists(selection.target)


def test_what_the_older_zfs_itself_says_of_such_a_stream(
    powered_nas: PoweredNas, fetched_environment: Context, zpool: MadePool
) -> None:
    """Were the manifest not there to tell: the receive fails, and leaves nothing."""
    context = fetched_environment
    store = context.open_store()
    stream = io.BytesIO()
    try:
        (entry,) = read_catalogue(store, trusted=context.trusted_signers()).manifests
        opener = AgeOpener(read_identities(Path(str(context.config.signing_key)).with_name("age.key")))
        for part in parts_of(store, read_manifest(store, entry)):
            opener.decrypt(io.BytesIO(store.get(part.key, limit=1 << 24)), stream)
    finally:
        store.close()
    target = f"{zpool.restore}/copy"
    receiver = context.zfs.receive(target, type="filesystem", first=True)
    with pytest.raises(ReceiveFailed) as raised:
        try:
            with open(receiver.fileno(), "wb", closefd=False) as pipe:
                pipe.write(stream.getvalue())
        except BrokenPipeError:
            pass
        receiver.finish()
    assert raised.value.answer
    assert not context.zfs.exists(target)
