# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that lists, verifies and restores a repository without this project: docs/restore_by_hand.py."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from base64 import b32decode, b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from zrb.repository.catalogue import read_catalogue
from zrb.repository.retirement import RecordWriter
from zrb.seal.age_keys import new_identity
from zrb.seal.signing import SigningKey
from zrb.values.manifest import Manifest

from tests.fixtures.age_tools import lacking, program, system_age
from tests.fixtures.committed_repository import BEGINNING, CommittedRepository, renamed

PAGE = Path(__file__).parents[2] / "docs" / "restore_by_hand.py"
OPEN_HYBRID_PART = PAGE.with_name("open_hybrid_part.py")
SIZES = [2500, 1, 1000, 1001, 333]
"""Of the streams of the levels, in parts of 1000 bytes: several, one, one that is full, one byte more; increments of a
dataset that did not change are short."""
FAKE_ZFS = """#!/bin/sh
echo "$@" >> "$0.log"
case "$*" in
list*) exit 1 ;;
receive) echo "receive [-vMnsFhu] <filesystem>" >&2; exit 2 ;;
receive*) cat >> "$0.stream" ;;
esac
"""


def plain(manifest: Manifest) -> bytes:
    """What the stream of a backup is made of."""
    text = f"{manifest.backup_id} ".encode()
    return (text * (manifest.stream.bytes // len(text) + 1))[: manifest.stream.bytes]


@dataclass
class Desk:
    """A repository with a chain of five levels, and a person with the program, the keys, and a ``zfs`` that notes how
    it is called."""

    directory: Path
    kind: Any = "classic"
    dataset: str = "tank/data"
    signs_with: Any = "classic"
    chain: list[Manifest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.repository = CommittedRepository(
            self.directory / "repository",
            age_key=new_identity(self.kind),
            signing_key=SigningKey.generate(self.signs_with),
        )
        for level, size in enumerate(SIZES):
            self.commit(level, base=self.chain[-1] if self.chain else None, size=size)
        self.key = self.repository.signing_key.public
        self.identity = self.directory / "age.key"
        self.identity.write_text(f"# created: today\n{self.repository.age_key[0]}\n")
        self.age = system_age() if self.kind == "classic" else program("age")
        self.zfs = self.directory / "bin" / "zfs"
        self.zfs.parent.mkdir()
        self.zfs.write_text(FAKE_ZFS)
        self.zfs.chmod(0o755)

    def commit(self, level: int, **changes: Any) -> Manifest:
        """Add a backup of the dataset."""
        manifest = self.repository.commit(level, **{"dataset": self.dataset} | changes)
        self.chain.append(manifest)
        return manifest

    def key_of(self, manifest: Manifest) -> str:
        """The key of a manifest."""
        return str(manifest.series.manifest_key(manifest.backup_id))

    def hand(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run the program, isolated from this project."""
        return subprocess.run(
            [sys.executable, "-I", str(PAGE), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PATH": f"{self.zfs.parent}:{os.environ['PATH']}", "TMPDIR": str(self.directory)},
            stdin=subprocess.DEVNULL,
        )

    def list(self) -> subprocess.CompletedProcess[str]:
        """`list`, with the key."""
        return self.hand("list", self.repository.path, "--key", self.key)

    def verify(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`verify`, with the key."""
        return self.hand("verify", self.repository.path, "--key", self.key, *arguments)

    def restore(self, backup: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`restore` to files, with the keys."""
        return self.hand(
            *("restore", self.repository.path, backup, "--key", self.key, "--identity", self.identity),
            *("--age", self.age, *(arguments or ("--output", self.directory / "out"))),
        )

    def written(self) -> list[bytes]:
        """The restored files, in the order of their names; they are taken away."""
        out = self.directory / "out"
        files = [path.read_bytes() for path in sorted(out.glob("*"))]
        shutil.rmtree(out, ignore_errors=True)
        return files

    def received(self) -> tuple[list[str], bytes]:
        """How ``zfs`` was called, and all that it received."""
        log, stream = self.zfs.with_name("zfs.log"), self.zfs.with_name("zfs.stream")
        return log.read_text().splitlines() if log.exists() else [], stream.read_bytes() if stream.exists() else b""

    def rewrite(self, manifest: Manifest, change: Callable[[dict[str, Any]], None]) -> None:
        """Sign another payload in the place of a manifest: one that this project would never write."""
        path = self.repository.file_of(self.key_of(manifest))
        record = json.loads(b64decode(json.loads(path.read_text())["payload"]))
        change(record)
        path.write_bytes(self.repository.signing_key.sign(json.dumps(record).encode()))


@pytest.fixture(autouse=True)
def tools() -> None:
    """The commands that the program needs."""
    for name in ("openssl", "b3sum"):
        if shutil.which(name) is None:
            lacking(name)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A classic key, and a simple name."""
    return Desk(tmp_path)


def ids(ended: subprocess.CompletedProcess[str]) -> list[str]:
    """The backups that the program shows."""
    return [line.split("\t")[0] for line in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("kind", "dataset"),
    [
        ("classic", "tank"),
        ("classic", "tank/Döner & Söhne/a:b/100%/~x/.../-"),
        ("hybrid", "tank/home"),
    ],
)
def test_it_lists_verifies_and_restores_every_level(tmp_path: Path, kind: str, dataset: str) -> None:
    desk = Desk(tmp_path, kind, dataset)
    for ended in (desk.list(), desk.verify(), desk.verify("--identity", desk.identity, "--age", desk.age)):
        assert (ended.returncode, ids(ended)) == (0, [one.backup_id for one in desk.chain]), ended.stderr
    newest = desk.chain[-1]
    for asked, links in [
        *((one.backup_id, desk.chain[: one.level + 1]) for one in desk.chain),
        (dataset, desk.chain),
        (newest.snapshot.name, desk.chain),
        (desk.chain[2].snapshot.name, desk.chain[:3]),
    ]:
        ended = desk.restore(asked)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert desk.written() == [plain(one) for one in links]
    assert not list(tmp_path.glob("tmp*")), "copies of parts are left behind"


def test_it_receives_level_after_level_without_mounting(desk: Desk) -> None:
    ended = desk.restore("tank/data", "--receive", "tank/new")
    assert ended.returncode == 0, ended.stderr
    calls, stream = desk.received()
    assert stream == b"".join(map(plain, desk.chain))
    link = ["receive", "receive -u tank/new", "set readonly=on tank/new"]
    assert calls == ["list tank/new", *link * len(desk.chain)]


def test_what_exists_is_not_received_into(desk: Desk) -> None:
    desk.zfs.write_text(FAKE_ZFS.replace("exit 1", "exit 0"))
    ended = desk.restore("tank/data", "--receive", "tank/new")
    assert (ended.returncode, desk.received()) == (1, (["list tank/new"], b""))
    assert "tank/new: it exists" in ended.stderr
    (desk.directory / "out").mkdir()
    assert desk.restore("tank/data").returncode == 1
    assert desk.written() == []


def test_a_receive_that_fails_ends_it(desk: Desk) -> None:
    desk.zfs.write_text(FAKE_ZFS.replace('cat >> "$0.stream"', "exec <&-; echo no room >&2; exit 3"))
    ended = desk.restore("tank/data", "--receive", "tank/new")
    assert ended.returncode == 1
    assert "no room" in ended.stderr
    assert "tank/new: zfs failed" in ended.stderr
    assert len([call for call in desk.received()[0] if call.startswith("receive -u")]) == 1


def test_the_page_for_an_old_age_opens_hybrid_parts_too(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "hybrid")
    wrapper = tmp_path / "old-age"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {OPEN_HYBRID_PART} "$3" "$4"\n')
    wrapper.chmod(0o755)
    desk.age = str(wrapper)
    assert desk.restore("tank/data").returncode == 0
    assert desk.written() == [plain(one) for one in desk.chain]
    desk.age = "false"
    ended = desk.restore("tank/data")
    assert ended.returncode == 1
    assert "age 1.3" in ended.stderr
    assert desk.written() == []


Damage = Callable[[Desk], None]
DAMAGES: dict[str, Damage] = {}
"""What is done to the third of five levels, or to its neighbours, by who can write to the repository."""


def damage(made: Damage) -> Damage:
    """Register one."""
    DAMAGES[made.__name__] = made
    return made


def objects(desk: Desk) -> dict[str, str]:
    """The keys of one object of each kind."""
    middle = desk.chain[2]
    return {
        "part": desk.repository.parts(middle)[0].key,
        "list": middle.parts.key,
        "manifest": desk.key_of(middle),
    }


def part_files(desk: Desk, level: int) -> list[Path]:
    return [desk.repository.file_of(part.key) for part in desk.repository.parts(desk.chain[level])]


@damage
def part_removed(desk: Desk) -> None:
    part_files(desk, 3)[1].unlink()


@damage
def part_cut_off(desk: Desk) -> None:
    path = part_files(desk, 0)[2]
    path.write_bytes(path.read_bytes()[:-1])


@damage
def part_longer(desk: Desk) -> None:
    path = part_files(desk, 0)[0]
    path.write_bytes(path.read_bytes() + b"\0")


@damage
def parts_exchanged(desk: Desk) -> None:
    first, second, _third = part_files(desk, 0)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


@damage
def part_encrypted_by_somebody_else(desk: Desk) -> None:
    other = CommittedRepository(desk.directory / "other", age_key=desk.repository.age_key)
    made = other.commit(0, dataset=desk.dataset, size=2500)
    shutil.copy(other.file_of(other.parts(made)[0].key), part_files(desk, 0)[0])


@damage
def list_removed(desk: Desk) -> None:
    desk.repository.file_of(desk.chain[2].parts.key).unlink()


@damage
def list_with_a_line_less(desk: Desk) -> None:
    path = desk.repository.file_of(desk.chain[0].parts.key)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


@damage
def list_of_another_backup(desk: Desk) -> None:
    shutil.copy(*(desk.repository.file_of(desk.chain[level].parts.key) for level in (1, 2)))


@damage
def list_in_another_place(desk: Desk) -> None:
    key = f"manifests/nas1/{desk.dataset}/20260131T030000Z-L2-abcdef01.parts"
    shutil.copy(desk.repository.file_of(desk.chain[2].parts.key), desk.repository.file_of(key))
    desk.rewrite(desk.chain[2], lambda record: record["parts"].update(key=key))


@damage
def manifest_removed(desk: Desk) -> None:
    desk.repository.file_of(desk.key_of(desk.chain[2])).unlink()


@damage
def manifest_of_another_backup(desk: Desk) -> None:
    shutil.copy(*(desk.repository.file_of(desk.key_of(desk.chain[level])) for level in (1, 2)))


@damage
def manifest_signed_by_another_key(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    path.write_bytes(SigningKey.generate().sign(b64decode(json.loads(path.read_text())["payload"])))


@damage
def manifest_with_the_signature_of_another(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    other = json.loads(desk.repository.file_of(desk.key_of(desk.chain[1])).read_text())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"signatures": other["signatures"]}))


@damage
def manifest_without_signatures(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"signatures": []}))


@damage
def manifest_of_another_type(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"payloadType": "application/json"}))


@damage
def manifest_without_an_end(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    path.write_bytes(path.read_bytes()[:-1])


@damage
def manifest_nested_without_end(desk: Desk) -> None:
    desk.repository.file_of(desk.key_of(desk.chain[2])).write_text("[" * 100_000)


@damage
def manifests_of_another_repository(desk: Desk) -> None:
    path = desk.repository.path / "zrb.json"
    path.write_text(path.read_text().replace("0123", "3210"))


@damage
def identity_damaged(desk: Desk) -> None:
    (desk.repository.path / "zrb.json").write_text("{}")


def signed(name: str, **fields: Any) -> None:
    """Register a manifest that is signed and says these things, in which a dot is a step into an object."""

    def change(record: dict[str, Any]) -> None:
        for path, value in fields.items():
            *steps, last = path.split("__")
            inner = record
            for step in steps:
                inner = inner[step]
            inner[last] = value

    DAMAGES[f"signed_{name}"] = lambda desk: desk.rewrite(desk.chain[2], change)


signed("format", format=2)
signed("format_as_truth", format=True)
signed("unknown_field", surprise="")
signed("unknown_field_inside", pool__surprise="")
signed("number_as_text", seq="3")
signed("number_with_point", seq=3.0)
signed("negative_number", snapshot__createtxg=-1)
signed("guid_as_number", snapshot__guid=1003)
signed("text_with_control_characters", tool="\x1b[2J")
signed("texts_that_are_not", properties={"compression": 1})
signed("level", level=1)
signed("level_requested", level_requested=1)
signed("host", host="nas2")
signed("dataset", dataset__name="tank/other")
signed("pool", pool__name="other")
signed("snapshot_of_another_dataset", snapshot__name="tank/other@x")
signed("chain", chain="20260131T030000Z-L0-ffffffff")
signed("chain_of_no_level_0", chain="20260131T040000Z-L1-00000002")
signed("no_base", base=None)
signed("key_of_list", parts__key="manifests/nas1/tank/data/../../../../etc/x.parts")
signed("count", parts__count=2)
signed("stored_bytes", parts__stored_bytes=5000)
signed("stored_bytes_of_plain_parts", parts__stored_bytes=1000)
signed("list_sha256", parts__sha256="0" * 64)
signed("base_guid", base__guid="77")
signed("dataset_guid", dataset__guid="77")
signed("older_than_its_base", snapshot__createtxg=1)
signed("before_its_base", seq=1, previous=None)
signed("flags", send__flags=["-L"])
signed("first_with_a_previous", seq=1, previous="0" * 64)
signed("recipients_of_two_kinds", encryption__recipients=["age1" + "q" * 58, "age1pq1" + "q" * 1952])
signed("stream_blake3", stream__blake3="0" * 64)


@damage
def signed_name_twice(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[2]))
    payload = b64decode(json.loads(path.read_text())["payload"])
    path.write_bytes(
        desk.repository.signing_key.sign(payload.replace(b'{"backup_id"', b'{"tool":"zrb","backup_id"', 1))
    )


BETWEEN_OBJECTS = {
    *("signed_stored_bytes", "signed_list_sha256", "signed_base_guid", "signed_dataset_guid", "signed_stream_blake3"),
    *("signed_older_than_its_base", "signed_before_its_base", "signed_flags", "signed_chain"),
}
"""Signed damages that the manifest alone does not show."""


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_refused_before_anything_is_written(desk: Desk, name: str) -> None:
    DAMAGES[name](desk)
    newest = desk.chain[-1].backup_id
    verified = desk.verify("--identity", desk.identity)
    assert (verified.returncode, newest in ids(verified)) == (1, False), verified.stderr
    if name.startswith("signed") and name not in BETWEEN_OBJECTS:
        assert (desk.list().returncode, desk.chain[2].backup_id in ids(desk.list())) == (1, False)
    for arguments in (("--receive", "tank/new"), ()):
        ended = desk.restore(newest, *arguments)
        assert ended.returncode == 1, ended.stdout
        assert ended.stderr
        assert "Traceback" not in ended.stderr + verified.stderr
    assert desk.written() == []
    assert desk.received()[1] == b""
    assert not [call for call in desk.received()[0] if call.startswith(("receive", "set"))]


@pytest.mark.parametrize("kind", ["part", "list", "manifest"])
def test_no_bit_can_be_flipped(desk: Desk, kind: str) -> None:
    key = objects(desk)[kind]
    size = desk.repository.file_of(key).stat().st_size
    upper = {one.backup_id for one in desk.chain[2:]}
    for position in range(0, size, size // 12):
        desk.repository.flip_bit(key, position)
        ended = desk.verify()
        assert ended.returncode == 1, position
        assert not upper & set(ids(ended)), position
        assert "Traceback" not in ended.stderr
        desk.repository.flip_bit(key, position)
    assert desk.verify().returncode == 0


def test_what_can_be_decrypted_wrongly_is_compared(desk: Desk) -> None:
    """A program for ``age`` that does not tell what it did not do."""
    for script in ("true", "echo forged", 'age "$@" | head -c 1'):
        liar = desk.directory / "liar"
        liar.write_text(f"#!/bin/sh\n{script}\n")
        liar.chmod(0o755)
        desk.age = str(liar)
        ended = desk.restore("tank/data", "--receive", "tank/new")
        assert ended.returncode == 1, script
        assert "BLAKE3" in ended.stderr
        assert desk.received()[1] == b""


def test_a_list_that_was_signed_wrongly_is_refused(desk: Desk) -> None:
    changes: list[dict[str, Any]] = [
        {"index": 1},
        {"key": "data/nas1/tank/data/level0/../../../../age.key/snapshot.part-000000.age"},
        {"plain_bytes": 999},
        {"bytes": 5000},
        {"sha256": "0" * 64},
    ]
    for change in changes:
        made = desk.commit(0, size=500, change_part=lambda part, change=change: renamed(part, **change))
        ended = desk.restore(made.backup_id)
        assert (ended.returncode, desk.written()) == (1, []), change
        assert "snapshot.part-000000.age" in ended.stderr


def test_other_files_are_ignored(desk: Desk) -> None:
    series = desk.repository.file_of(desk.key_of(desk.chain[0])).parent
    part = part_files(desk, 0)[0]
    foreign = [
        series / "README.json",
        series / ".tmp-0123456789abcdef0123456789abcdef~",
        series / "20260131T030000Z-L0-0000000g.json",
        series / "20260131T030000Z-L0-abcdef01.parts",
        series / f"{desk.chain[0].backup_id}.json.bak",
        part.with_name("snapshot.part-000003.age"),
        part.with_name("notes"),
        desk.repository.path / "lost+found",
        desk.repository.path / "manifests" / ".DS_Store",
    ]
    for path in foreign:
        path.write_text("foreign")
    assert (desk.list().returncode, desk.verify().returncode) == (0, 0)
    assert desk.restore("tank/data").returncode == 0
    assert desk.written() == [plain(one) for one in desk.chain]


def test_a_manifest_counts_in_its_own_place_alone(desk: Desk) -> None:
    series = desk.repository.file_of(desk.key_of(desk.chain[0])).parent
    for elsewhere in ("data/child", "other"):
        shutil.copytree(series, series.parent / elsewhere)
    ended = desk.list()
    assert (ended.returncode, ids(ended)) == (1, [one.backup_id for one in desk.chain])
    assert desk.restore("tank/other").returncode == 1
    assert desk.restore(desk.chain[1].backup_id).returncode == 0
    assert desk.written() == [plain(one) for one in desk.chain[:2]]


def test_a_child_dataset_is_not_its_parent(desk: Desk) -> None:
    child = desk.commit(0, dataset="tank/data/child", size=7)
    assert len(ids(desk.verify())) == 6
    assert desk.restore("tank/data/child").returncode == 0
    assert desk.written() == [plain(child)]
    assert desk.restore("tank/data").returncode == 0
    assert len(desk.written()) == 5
    assert desk.restore("tank").returncode == 1


def test_the_newest_backup_is_that_of_the_youngest_data(desk: Desk) -> None:
    """Also if one of older data was interrupted, and committed after it; a dataset that was made anew comes later."""
    late = desk.commit(0, change=lambda one: renamed(one, snapshot=renamed(one.snapshot, createtxg=2)))
    assert desk.restore("tank/data").returncode == 0
    assert desk.written() == [plain(one) for one in desk.chain[:5]]
    assert desk.restore(late.snapshot.name).returncode == 0
    assert desk.written() == [plain(late)]
    anew = desk.commit(
        0,
        change=lambda one: renamed(
            one, dataset=renamed(one.dataset, guid="99"), snapshot=renamed(one.snapshot, createtxg=1)
        ),
    )
    assert desk.restore("tank/data").returncode == 0
    assert desk.written() == [plain(anew)]


def test_a_dataset_of_two_hosts_needs_an_id(desk: Desk) -> None:
    other = desk.commit(0, host="nas 2", size=5)
    ended = desk.restore("tank/data")
    assert (ended.returncode, desk.written()) == (1, [])
    assert "2 hosts" in ended.stderr
    assert desk.restore(other.backup_id).returncode == 0
    assert desk.written() == [plain(other)]


def test_a_refused_manifest_may_have_been_the_newest(desk: Desk) -> None:
    desk.repository.flip_bit(desk.key_of(desk.chain[4]), 100)
    assert desk.list().returncode == 1
    assert ids(desk.list()) == [one.backup_id for one in desk.chain[:4]]
    ended = desk.restore("tank/data")
    assert (ended.returncode, desk.written()) == (1, [])
    assert "1 manifests beside it are refused" in ended.stderr
    assert desk.restore(desk.chain[3].backup_id).returncode == 0
    assert desk.written() == [plain(one) for one in desk.chain[:4]]


def test_numbers_betray_a_backup_that_is_gone_or_exchanged(desk: Desk) -> None:
    for level in (0, 0, 0):
        desk.commit(level, size=5)
    desk.repository.file_of(desk.key_of(desk.chain[5])).unlink()
    ended = desk.verify()
    assert ended.returncode == 1
    assert f"{desk.chain[6].backup_id}: number 6" in ended.stderr
    assert len(ids(ended)) == 7
    desk.rewrite(desk.chain[6], lambda record: record.update(tool="another"))
    ended = desk.verify()
    assert f"{desk.chain[7].backup_id}: number 7" in ended.stderr
    for one in desk.chain[:7]:
        desk.repository.file_of(desk.key_of(one)).unlink(missing_ok=True)
    assert (desk.verify().returncode, ids(desk.verify())) == (0, [desk.chain[7].backup_id])


def test_it_restores_without_the_file_that_nobody_signed(desk: Desk) -> None:
    (desk.repository.path / "zrb.json").unlink()
    assert (desk.list().returncode, "zrb.json" in desk.list().stderr) == (1, True)
    assert desk.restore("tank/data").returncode == 0
    assert len(desk.written()) == 5


def test_a_chain_of_two_repositories_is_refused(desk: Desk) -> None:
    (desk.repository.path / "zrb.json").unlink()
    desk.rewrite(desk.chain[4], lambda record: record.update(repository_id="f" * 32))
    ended = desk.restore("tank/data")
    assert (ended.returncode, desk.written()) == (1, [])
    assert "does not fit its base" in ended.stderr


def test_one_right_signature_of_several_is_enough(desk: Desk) -> None:
    path = desk.repository.file_of(desk.key_of(desk.chain[0]))
    envelope = json.loads(path.read_text())
    strange = json.loads(SigningKey.generate().sign(b64decode(envelope["payload"])))["signatures"]
    path.write_text(json.dumps(envelope | {"signatures": [*strange, *envelope["signatures"]]}))
    assert desk.verify().returncode == 0
    assert desk.verify("--key", SigningKey.generate().public).returncode == 0


def test_who_wrote_it_is_left_open_only_if_that_is_said(desk: Desk) -> None:
    desk.key = SigningKey.generate().public
    assert (desk.list().returncode, ids(desk.list())) == (1, [])
    assert desk.restore("tank/data").returncode == 1
    ended = desk.hand("list", desk.repository.path)
    assert (ended.returncode, len(ids(ended))) == (0, 5)
    assert "nobody proves who wrote it" in ended.stderr
    arguments = ("restore", desk.repository.path, "tank/data", "--identity", desk.identity)
    arguments += ("--output", desk.directory / "out")
    assert desk.hand(*arguments).returncode == 2
    assert desk.hand(*arguments, "--allow-unsigned").returncode == 0
    assert len(desk.written()) == 5


def test_wrong_keys_and_wrong_usage_are_told(desk: Desk) -> None:
    desk.identity.write_text(new_identity()[0])
    ended = desk.restore("tank/data")
    assert (ended.returncode, desk.written()) == (1, [])
    assert "no identity matched" in ended.stderr
    for key in ("zrbsign1", desk.key[:-1], desk.key.upper(), desk.key[:20] + "aaaa" + desk.key[24:]):
        assert desk.hand("list", desk.repository.path, "--key", key).returncode == 2
    for missing in (("--key", desk.key), ("--identity", desk.identity)):
        assert desk.hand("restore", desk.repository.path, "tank/data", "--output", "x", *missing).returncode == 2
    assert desk.restore("tank/data", "--output", desk.directory / "out", "--receive", "tank/new").returncode == 2
    for nothing in (desk.directory, desk.directory / "absent"):
        ended = desk.hand("verify", nothing, "--key", desk.key)
        assert ended.returncode == 1
        assert "is the copy complete" in ended.stderr
    for unknown in ("tank/other", "tank/data@other", "20260131T030000Z-L0-ffffffff", "*", "@", ".."):
        assert desk.restore(unknown).returncode == 1
    assert desk.written() == []


OPENSSL_3_0 = f"""#!/bin/sh
[ "$1" = list ] || exec {shutil.which("openssl")} "$@"
"""
"""What `openssl` before 3.5 does, on a machine with a newer one too."""
OPENSSL_3_5 = f"""#!{sys.executable}
import os, sys
from pathlib import Path
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
if sys.argv[1] == "list":
    sys.exit(print("  {{{{ 2.16.840.1.101.3.4.3.18, id-ml-dsa-65, ML-DSA-65, MLDSA65 }}}} @ default"))
message, signature, key = (
    Path(sys.argv[sys.argv.index(one) + 1]).read_bytes() for one in ("-in", "-sigfile", "-inkey")
)
try:
    public = load_der_public_key(key)
except ValueError:
    sys.exit("Could not read key")
if not isinstance(public, MLDSA65PublicKey):
    os.execv("{shutil.which("openssl")}", ["openssl", *sys.argv[1:]])
try:
    public.verify(signature, message)
except InvalidSignature:
    sys.exit("Signature Verification Failure")
"""
"""What `openssl` 3.5 does, since Debian 12 has 3.0."""


def with_signatures(desk: Desk, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    """Change the signatures of the newest manifest."""
    path = desk.repository.file_of(desk.key_of(desk.chain[4]))
    envelope = json.loads(path.read_text())
    path.write_text(json.dumps(envelope | {"signatures": change(envelope["signatures"])}))


@pytest.mark.parametrize("openssl", [OPENSSL_3_0, OPENSSL_3_5], ids=["3.0", "3.5"])
def test_a_hybrid_signing_key_needs_both_signatures(tmp_path: Path, openssl: str) -> None:
    desk = Desk(tmp_path, signs_with="hybrid")
    assert desk.key.startswith("zrbsign1pq1")
    program = desk.zfs.with_name("openssl")
    program.write_text(openssl)
    program.chmod(0o755)
    ended = desk.verify()
    assert (ended.returncode, "cannot check ML-DSA" in ended.stderr) == (0, openssl is OPENSSL_3_0)
    other = SigningKey.generate("hybrid").public
    assert desk.hand("verify", desk.repository.path, "--key", other).returncode == 1
    for key in (desk.key[:-1], desk.key.replace("pq1", ""), desk.key[:20] + "aaaa" + desk.key[24:]):
        assert desk.hand("list", desk.repository.path, "--key", key).returncode == 2
    path = desk.repository.file_of(desk.key_of(desk.chain[4]))
    whole = path.read_bytes()
    with_signatures(desk, lambda both: both[:1])
    assert desk.list().returncode == 1, "who can break Ed25519 leaves the second one out"
    path.write_bytes(whole)
    with_signatures(desk, lambda both: [both[0], both[1] | {"sig": b64encode(bytes(3309)).decode()}])
    assert desk.list().returncode == (1 if openssl is OPENSSL_3_5 else 0)


def test_what_a_signature_says_of_its_key_is_not_believed(desk: Desk) -> None:
    public = b32decode(desk.key.removeprefix("zrbsign1").upper() + "======")[:32]
    forged = {"sig": b64encode(bytes(64)).decode(), "public": b64encode(public).decode()}
    with_signatures(desk, lambda own: [own[0] | forged])
    ended = desk.list()
    assert (ended.returncode, len(ids(ended))) == (1, 4)


# --- what was retired ---


def retire(desk: Desk, *manifests: Manifest, key: SigningKey | None = None) -> Path:
    """Write a record that names these; where it is."""
    store = desk.repository.store
    signing_key = key or desk.repository.signing_key
    catalogue = read_catalogue(store, trusted=[desk.key])
    chosen = [one.backup_id for one in manifests]
    before = set(desk.repository.path.rglob("*.record"))
    RecordWriter(store, lambda _key: None, signing_key).retire(
        catalogue, manifests[0].series, chosen, reason="keep_last: 1", now=BEGINNING
    )
    (made,) = set(desk.repository.path.rglob("*.record")) - before
    return made


def remove(desk: Desk, manifest: Manifest) -> None:
    """Delete all of a backup."""
    for part in desk.repository.parts(manifest):
        desk.repository.file_of(part.key).unlink()
    desk.repository.file_of(manifest.parts.key).unlink()
    desk.repository.file_of(desk.key_of(manifest)).unlink()


@pytest.mark.parametrize("removed", [False, True])
def test_what_is_retired_is_neither_shown_nor_missed_nor_restored(desk: Desk, removed: bool) -> None:
    later = desk.commit(0, size=5)
    for retired in (desk.chain[3:5], desk.chain[1:3]):
        retire(desk, *retired)
        for one in retired if removed else ():
            remove(desk, one)
    for ended in (desk.list(), desk.verify()):
        assert (ended.returncode, ids(ended)) == (0, [desk.chain[0].backup_id, later.backup_id]), ended.stderr
    assert desk.restore(desk.chain[4].backup_id).returncode == 1
    assert desk.restore("tank/data").returncode == 0
    assert desk.written() == [plain(later)]


def test_what_vanished_beside_what_is_retired_is_told(desk: Desk) -> None:
    retire(desk, *desk.chain[3:5])
    desk.commit(0, size=5)
    desk.commit(0, size=5)
    assert desk.verify().returncode == 0
    remove(desk, desk.chain[5])
    ended = desk.verify()
    assert ended.returncode == 1
    assert f"{desk.chain[6].backup_id}: number 6" in ended.stderr


def test_a_record_that_nobody_trusted_signed_retires_nothing(desk: Desk) -> None:
    record = retire(desk, *desk.chain[3:5])
    assert len(ids(desk.list())) == 3
    ended = desk.hand("list", desk.repository.path)
    assert (ended.returncode, len(ids(ended))) == (0, 5), "without a key, nobody proves it"
    whole = record.read_bytes()
    for position in range(0, len(whole), len(whole) // 12):
        desk.repository.flip_bit(record.relative_to(desk.repository.path).as_posix(), position)
        ended = desk.list()
        assert (ended.returncode, len(ids(ended))) == (1, 5), position
        assert record.name in ended.stderr
        record.write_bytes(whole)
    stranger = retire(desk, desk.chain[2], desk.chain[3], desk.chain[4], key=SigningKey.generate())
    ended = desk.list()
    assert (ended.returncode, len(ids(ended))) == (1, 3)
    stranger.unlink()
    desk.commit(0, dataset="tank/other", size=5)
    for elsewhere in (
        record.with_name(record.name.replace("retired-0002", "retired-0001")),
        desk.repository.file_of("manifests/nas1/tank/other") / record.name,
    ):
        record.rename(elsewhere)
        ended = desk.list()
        assert (ended.returncode, len(ids(ended))) == (1, 6)
        elsewhere.rename(record)
    assert (desk.list().returncode, len(ids(desk.list()))) == (0, 4)


def test_it_is_one_file_of_300_lines_that_needs_no_library() -> None:
    text = PAGE.read_text(encoding="utf-8")
    imported = {
        (node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name).partition(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= sys.stdlib_module_names
    assert len(text.splitlines()) <= 300
