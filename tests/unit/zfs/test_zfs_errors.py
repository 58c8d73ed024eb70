# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that zfs and zpool write, and what users read of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from zrb.errors import (
    EngineError,
    NoSuchDataset,
    NoSuchPool,
    NoSuchSnapshot,
    ReceiveFailed,
    TargetExists,
    ZfsDenied,
    ZfsError,
    ZfsMissing,
    ZfsUnable,
)
from zrb.zfs.child_processes import Ended
from zrb.zfs.short_commands import ShortCommands
from zrb.zfs.zfs_errors import how_it_ended, missing_object, quoted, says_gone, zfs_failure

from tests.unit.zfs.scripted import ScriptedLine, failed, said

RECEIVING = "cannot receive new filesystem stream: "
CASES: list[tuple[str, type[EngineError], str]] = [
    ("The ZFS modules are not loaded.\nTry running 'modprobe zfs' as root", ZfsMissing, "modprobe zfs"),
    ("cannot create snapshot 'tank/a@b': permission denied", ZfsDenied, "zfs allow"),
    ("cannot open 'tank/a': pool I/O is currently suspended", ZfsError, "zpool clear"),
    (RECEIVING + "out of space", ZfsError, "Free space"),
    (RECEIVING + "destination tank/a space quota exceeded.", ZfsError, "quota"),
    (RECEIVING + "destination 'tank/a' exists\nmust specify -F to overwrite it", TargetExists, "does not exist"),
    (RECEIVING + "destination tank/a has been modified\nsince most recent snapshot", ZfsError, "zfs rollback"),
    ("most recent snapshot of tank/a does not\nmatch incremental source", ZfsError, "from its beginning"),
    ("local fs tank/a does not have fromsnap (1 in stream)", ZfsError, "from its beginning"),
    (RECEIVING + "IV set guid mismatch. See the 'zfs receive' man page", ZfsError, "zfs load-key"),
    ("incremental send stream requires -L (--large-block), to match previous receive.", ZfsError, "same flags"),
    ("cannot send 'tank/a@b': dataset key must be loaded", ZfsError, "zfs load-key"),
    (RECEIVING + "stream has unsupported feature, feature flags = 1", ZfsUnable, "zpool upgrade"),
    ("cannot receive: pool must be upgraded to receive this stream.", ZfsUnable, "zpool upgrade"),
    ("cannot receive: kernel modules must be upgraded to receive this stream.", ZfsUnable, "zpool upgrade"),
    (RECEIVING + "invalid backup stream", ZfsError, "zrb verify"),
    (RECEIVING + "invalid stream (checksum mismatch)", ZfsError, "zrb verify"),
    ("cannot receive: incomplete stream", ZfsError, "zrb verify"),
    ("warning: cannot send 'tank/a@1': not an earlier snapshot from the same fs", ZfsError, "level 0"),
    ("incremental source (tank/a@2) is not earlier than it", ZfsError, "level 0"),
    ("cannot create snapshot 'tank/a@b': dataset already exists", ZfsError, "another name"),
    ("cannot create bookmark 'tank/a#b': bookmark exists", ZfsError, "another name"),
    ("cannot destroy 'tank/a@b': dataset is busy", ZfsError, "zfs holds"),
    ("cannot destroy snapshot tank/a@b: it's being held.", ZfsError, "look at `zfs list"),
    ("cannot destroy 'tank/a': filesystem has children\nuse '-r' to destroy", ZfsError, "zfs list"),
    ("warning: cannot send 'tank/a@b': Input/output error", ZfsError, "zpool status -v"),
    ("one or more devices is currently unavailable", ZfsError, "zpool status -v"),
    ("WARNING: could not send tank/a@b: does not exist", ZfsError, "run level 0"),
    ("internal error: cosmic rays", ZfsError, "zpool status"),
    ("", ZfsError, "zpool status"),
]


@pytest.mark.parametrize(("stderr", "kind", "advice"), CASES, ids=[case[0][:40] for case in CASES])
def test_every_cause_has_its_class_and_its_advice(stderr: str, kind: type[EngineError], advice: str) -> None:
    failure = zfs_failure(Ended(1, "", stderr), problem="zfs did not", subject="tank/a")
    assert type(failure) is kind
    assert advice in failure.next_step
    assert failure.subject == "tank/a"
    assert failure.answer == " ".join(stderr.split())
    assert failure.problem == "zfs did not (status 1)"


@pytest.mark.parametrize(("stderr", "kind", "advice"), CASES, ids=[case[0][:40] for case in CASES])
def test_a_stream_fails_as_a_stream_with_the_same_advice(stderr: str, kind: type[EngineError], advice: str) -> None:
    failure = zfs_failure(Ended(1, "", stderr), problem="p", subject="s", otherwise=ReceiveFailed, always=True)
    assert type(failure) is ReceiveFailed
    assert advice in failure.next_step


def test_the_operation_decides_where_the_cause_does_not() -> None:
    failure = zfs_failure(Ended(1, "", "strange"), problem="p", subject="s", otherwise=ReceiveFailed, next_step="Look")
    assert type(failure) is ReceiveFailed
    assert (failure.answer, failure.next_step) == ("strange", "Look")


def test_how_a_command_ended() -> None:
    assert how_it_ended(2) == "status 2"
    assert how_it_ended(-9) == "killed by signal 9"


def test_only_the_end_of_a_long_stderr_is_quoted() -> None:
    assert quoted("x" * 10_000 + "\n\n  cause  \n").endswith("x cause")
    assert len(quoted("x" * 10_000)) == 4000


def test_what_is_gone() -> None:
    for stderr in (
        "cannot open 'a': dataset does not exist",
        "no such pool",
        "cannot open 'a': no such pool or dataset",
    ):
        assert says_gone(stderr)
    assert not says_gone("permission denied")


@pytest.mark.parametrize(
    ("name", "pool_exists", "kind", "words"),
    [
        ("tank/a", False, NoSuchPool, "there is no pool 'tank' on this machine"),
        ("tank", False, NoSuchPool, "zpool import"),
        ("tank/a", True, NoSuchDataset, "there is no dataset 'tank/a'"),
        ("tank/a@b", True, NoSuchSnapshot, "zfs list -t all -r tank/a"),
        ("tank/a#b", True, NoSuchSnapshot, "'tank/a#b' does not exist"),
    ],
)
def test_what_is_missing_is_named_by_its_kind(
    name: str, pool_exists: bool, kind: type[EngineError], words: str
) -> None:
    failure = missing_object(name, "Cannot read", answer="gone", pool_exists=lambda pool: pool_exists)
    assert type(failure) is kind
    assert words in failure.explain()
    assert failure.exit_code == 6
    assert failure.answer == "gone"


def test_a_command_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zrb.zfs.child_processes._SYSTEM_DIRECTORIES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ZfsMissing, match="zfsutils-linux") as failure:
        ShortCommands().ask("zfs", "list")
    assert "No such file" in failure.value.answer


def test_a_command_that_hangs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "zfs"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ZfsError, match="killed") as failure:
        ShortCommands(timeout_s=0.3).ask("zfs", "list")
    assert "zpool status" in failure.value.next_step
    assert "`zfs list`" in failure.value.problem


def test_a_command_that_has_to_succeed() -> None:
    line = ScriptedLine(
        {
            "zfs get -o name,value": said("a\tb\n\nc\td\n"),
            "zfs gone": failed("cannot open 'tank/a': dataset does not exist"),
            "zfs denied": failed("permission denied"),
            "zpool list -H -o name tank": said("tank\n"),
        }
    )
    assert line.rows("get", "-o", "name,value", problem="p", subject="tank/a") == [("a", "b"), ("c", "d")]
    with pytest.raises(NoSuchDataset):
        line.run("zfs", "gone", problem="p", subject="tank/a")
    with pytest.raises(ZfsDenied):
        line.run("zfs", "denied", problem="p", subject="tank/a")
