# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A link that was cut off in its middle goes on there, with what ``zfs send -t`` would send out of what is stored."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from zrb.config.key_files import read_identities
from zrb.errors import PartDamaged
from zrb.run.restore import RestorePlan, RestoreSelection, plan_restore, restore
from zrb.values.config import KIB, MIB, Limits
from zrb.values.manifest import Manifest
from zrb.zfs.record_flow import BEGIN, END, Record, RecordFlow
from zrb.zfs.resumed_stream import ResumedStream

from tests.fakes.kill import at_store_call, dies_by_kill
from tests.fixtures.file_tree import describe_tree
from tests.integration.nas_fixtures import Nas, directory_repository
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import (
    WrappingKey,
    attempt,
    create,
    fill,
    read_volume,
    snapshot_names,
    stored_stream,
    stream_summary,
    value,
    volume_device,
)

pytestmark = pytest.mark.zfs

NARROW = Limits(part_size=256 * KIB, chunk_size=64 * KIB, memory_limit=MIB, workers=2)
"""So little room that downloads cannot run far ahead of what is received."""
DATA_BYTES = 8 * MIB
KINDS = ("plain", "large-blocks", "encrypted", "volume")


class Case:
    """A dataset of some kind on a NAS."""

    def __init__(self, nas: Nas, kind: str, directory: Path) -> None:
        self.nas = nas
        self.kind = kind
        self.name = nas.dataset.name
        self.key = WrappingKey.make(directory) if kind == "encrypted" else None
        if kind == "volume":
            command("zfs", "destroy", self.name)
            command("zfs", "create", "-s", "-V", "16M", self.name)
        elif kind != "plain":
            create(self.name, **(self.key.properties if self.key else {"recordsize": "1M"}))
        if kind != "volume":
            fill(nas)

    def write(self) -> None:
        """Other data than before, all of it: one large object, and in a filesystem many small ones before it."""
        if self.kind == "volume":
            volume_device(self.name).write_bytes(os.urandom(DATA_BYTES))
        else:
            (self.nas.dataset.mountpoint / "large").write_bytes(os.urandom(DATA_BYTES))

    def assert_same(self, target: str) -> None:
        """The target has the content of the dataset."""
        if self.kind == "volume":
            assert read_volume(target, DATA_BYTES) == read_volume(self.name, DATA_BYTES)
            return
        if self.key:
            self.key.load(target)
        self.nas.assert_restored(target, describe_tree(self.nas.dataset.mountpoint))

    def plan(self) -> RestorePlan:
        """What is missing in the target."""
        env = self.nas.context()
        selection = RestoreSelection(dataset=self.name, target=self.nas.target(), continues=True)
        return plan_restore(env, selection, trusted=env.trusted_signers())

    def cut(self, level: int, *, nth: int) -> None:
        """A restore that is killed when so many chunks of its link of ``level`` were fetched."""
        env = self.nas.context()
        selection = RestoreSelection(dataset=self.name, target=self.nas.target(), continues=True)
        deadly = at_store_call(env, "read_into", when="after", key_part=f"level{level}/", nth=nth)
        identities = read_identities(self.nas.identity)
        assert dies_by_kill(lambda: restore(deadly, selection, identities=identities, trusted=env.trusted_signers()))
        deadline = time.monotonic() + 60
        while attempt("pgrep", "-f", f"receive .*{self.nas.target()}").returncode == 0:
            assert time.monotonic() < deadline, "zfs receive does not end"
            time.sleep(0.1)


MakeCase = Callable[[str], Case]


@pytest.fixture
def make_case(make_nas: Callable[..., Nas], tmp_path: Path) -> MakeCase:
    nas = make_nas(directory_repository(tmp_path / "repository"), limits=NARROW)
    return lambda kind: Case(nas, kind, tmp_path)


def local_properties(dataset: str) -> str:
    return command("zfs", "get", "-H", "-p", "-s", "local", "-o", "property,value", "all", dataset)


def records(stream: bytes) -> list[tuple[Record, bytes]]:
    """The records of a stream, with their payloads."""
    found: list[tuple[Record, bytes]] = []
    for piece in RecordFlow().cut(memoryview(stream)):
        if isinstance(piece, Record):
            found.append((piece, b""))
        else:
            found[-1] = (found[-1][0], found[-1][1] + bytes(piece))
    return found


def assert_as_zfs_sends(case: Case, manifest: Manifest) -> None:
    """What we make of the stored stream has the records, and the bytes of each, that ``zfs send -t`` gives."""
    token = value(case.nas.target(), "receive_resume_token")
    point = case.nas.zfs.resume_point(case.nas.target())
    assert point is not None
    theirs = subprocess.run(["zfs", "send", "-t", token], capture_output=True, check=True).stdout
    ours = bytearray()
    resumed = ResumedStream(point, ours.extend)
    for piece in RecordFlow().cut(memoryview(stored_stream(case.nas, manifest))):
        resumed.take(piece)
    resumed.flush()
    assert "Total DRR_END records = 1" in stream_summary(bytes(ours))

    def compared(stream: bytes) -> list[tuple[bytes, bytes]]:
        body = [(record, payload) for record, payload in records(stream) if record.kind not in (BEGIN, END)]
        return [(record.header[:280], payload) for record, payload in body]

    kinds = [[record.kind for record, _ in records(bytes(stream))] for stream in (ours, theirs)]
    assert compared(bytes(ours)) == compared(theirs), kinds


@pytest.mark.parametrize("level", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_link_cut_off_twice_goes_on_where_it_stands(make_case: MakeCase, kind: str, level: int) -> None:
    case = make_case(kind)
    nas, target = case.nas, case.nas.target()
    case.write()
    manifest = nas.back_up(0).manifest
    if level:
        case.write()
        manifest = nas.back_up(1).manifest
        nas.restore(level=0)

    fetched = [manifest.parts.stored_bytes]
    for nth in (80, 30):
        case.cut(level, nth=nth)
        assert_as_zfs_sends(case, manifest)
        fetched.append(case.plan().stored_bytes)
    assert fetched[0] > fetched[1] >= fetched[2] > 0, "with blocks of 1 MiB the second run may not get to the next one"

    result = nas.restore(continues=True)
    assert (result.links, len(result.present)) == ((manifest.backup_id,), level)
    assert value(target, "receive_resume_token") == "-"
    assert snapshot_names(target)[-1] == manifest.snapshot.name.partition("@")[2]
    assert nas.zfs.snapshots(target)[-1].guid == manifest.snapshot.guid
    assert not nas.restore(continues=True).changed
    assert local_properties(target) == local_properties(nas.restore("uninterrupted").target)
    case.assert_same(target)


def test_without_what_this_machine_remembers_zfs_gets_no_more(make_case: MakeCase) -> None:
    case = make_case("plain")
    case.write()
    manifest = case.nas.back_up(0).manifest
    case.cut(0, nth=80)
    for trail in Path(case.nas.config.base_dir).rglob(".restore-trail"):
        trail.unlink()
    assert case.plan().stored_bytes == manifest.parts.stored_bytes
    case.nas.restore(continues=True)
    case.assert_same(case.nas.target())


def test_damage_leaves_no_part_of_a_link(make_case: MakeCase) -> None:
    case = make_case("plain")
    case.write()
    part = case.nas.parts(case.nas.back_up(0).manifest)[-1]
    path = case.nas.root / "repository" / part.key
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(PartDamaged):
        case.nas.restore()
    assert attempt("zfs", "list", case.nas.target()).returncode != 0
    path.write_bytes(content)
    case.nas.restore()
    case.assert_same(case.nas.target())
