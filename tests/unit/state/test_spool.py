# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The spool: private, made when it is needed, gone afterwards, and no victim of another restore."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from zrb.errors import LocalStateError
from zrb.state.spool import Spool


def in_a_child_that_is_killed(base_dir: Path) -> None:
    """A process that used the spool and left a part in it."""
    child = os.fork()
    if child == 0:
        (Spool(base_dir).directory() / "part-000000.age").write_bytes(b"left")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    with Spool(tmp_path / "base"):
        pass
    assert not (tmp_path / "base").exists()


def test_it_is_private_and_goes_with_its_content(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        directory = spool.directory()
        assert directory == spool.directory()
        assert directory.parent == tmp_path / "spool"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(directory.parent.stat().st_mode) == 0o700
        (directory / "part-000000.age").write_bytes(b"x")
    assert list((tmp_path / "spool").iterdir()) == []
    with spool:
        assert spool.directory().is_dir(), "it may be used again"


def test_what_a_killed_restore_left_is_removed(tmp_path: Path) -> None:
    in_a_child_that_is_killed(tmp_path)
    assert len([*tmp_path.glob("spool/*/part-000000.age")]) == 1
    with Spool(tmp_path) as spool:
        own = spool.directory()
        assert [*(tmp_path / "spool").iterdir()] == [own]


def test_two_containers_may_have_the_same_process_ids(tmp_path: Path) -> None:
    with Spool(tmp_path) as ours, Spool(tmp_path) as theirs:
        assert ours.directory() != theirs.directory()
        assert ours.directory().is_dir()
        assert theirs.directory().is_dir()


def test_what_another_restore_uses_stays(tmp_path: Path) -> None:
    ready_read, ready_write = os.pipe()
    end_read, end_write = os.pipe()
    other = os.fork()
    if other == 0:
        os.close(end_write)
        (Spool(tmp_path).directory() / "part-000000.age").write_bytes(b"in use")
        os.write(ready_write, b"!")
        os.read(end_read, 1)
        os._exit(0)
    try:
        os.read(ready_read, 1)
        with Spool(tmp_path) as spool:
            spool.directory()
            (part,) = tmp_path.glob("spool/*/part-000000.age")
            assert part.read_bytes() == b"in use"
    finally:
        os.write(end_write, b"!")
        os.waitpid(other, 0)
        for descriptor in (ready_read, ready_write, end_read, end_write):
            os.close(descriptor)


def test_a_file_that_lies_there_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "lost+found").mkdir()
    (tmp_path / "spool" / "README").write_text("the administrator's")
    with Spool(tmp_path) as spool:
        assert spool.directory().is_dir()
    assert {path.name for path in (tmp_path / "spool").iterdir()} == {"README", "lost+found"}


def test_many_at_once_do_not_remove_each_other(tmp_path: Path) -> None:
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with Spool(tmp_path) as spool:
                    (spool.directory() / "part-000000.age").write_bytes(b"mine")
                    status = 0 if (spool.directory() / "part-000000.age").exists() else 1
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert list((tmp_path / "spool").iterdir()) == []


def test_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with Spool(tmp_path) as spool, pytest.raises(LocalStateError) as caught:
        spool.directory()
    assert caught.value.subject == f"{tmp_path}/spool"
    assert caught.value.answer == "File exists"
    assert "memory_limit" in caught.value.next_step
