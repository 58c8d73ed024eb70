# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run at a time per dataset, and no lock that outlives its process."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest
from zrb.errors import LocalStateError, Locked
from zrb.state.locks import dataset_locks, dataset_state_dir


def test_where_the_state_of_a_dataset_is() -> None:
    base = Path("/var/lib/zrb")
    assert dataset_state_dir(base, "tank") == base / "run/tank"
    assert dataset_state_dir(base, "tank/a b/ü") == base / "run/tank/a%20b/%C3%BC"
    assert dataset_state_dir(base, "tank/../x") == base / "run/tank/%2E%2E/x"


def test_one_at_a_time_for_each_dataset(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as ours, dataset_locks(tmp_path) as theirs:
        ours.take("tank/data")
        with pytest.raises(Locked) as caught:
            theirs.take("tank/data")
        assert f"(pid {os.getpid()})" in caught.value.explain()
        assert caught.value.subject == "tank/data"
        assert caught.value.exit_code == 3
        theirs.take("tank/data/child")
        theirs.take("tank")
        with pytest.raises(Locked):
            ours.take("tank")
    with dataset_locks(tmp_path) as locks:
        locks.take("tank/data")


def test_a_thousand_take_one_descriptor(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as ours, dataset_locks(tmp_path) as theirs:
        before = len([*Path("/proc/self/fd").iterdir()])
        for number in range(1000):
            ours.take(f"tank/{number}")
        assert len([*Path("/proc/self/fd").iterdir()]) == before
        for number in range(1000):
            with pytest.raises(Locked):
                theirs.take(f"tank/{number}")


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), dataset_locks(tmp_path) as locks:
        locks.take("tank")
        raise KeyError
    with dataset_locks(tmp_path) as locks:
        locks.take("tank")


def test_it_is_free_after_a_kill(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with dataset_locks(tmp_path) as locks:
            locks.take("tank")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with dataset_locks(tmp_path) as locks:
        locks.take("tank")


def test_it_stays_when_somebody_looks_at_the_file(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as ours, dataset_locks(tmp_path) as theirs:
        ours.take("tank")
        (tmp_path / "run/.lock").read_bytes()
        with pytest.raises(Locked):
            theirs.take("tank")


def test_a_holder_that_has_not_yet_said_who_it_is(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as ours, dataset_locks(tmp_path) as theirs:
        ours.take("tank")
        (tmp_path / "run/tank/.locked-by").unlink()
        with pytest.raises(Locked, match="an unknown process"):
            theirs.take("tank")


def test_it_is_private(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as locks:
        locks.take("tank/data")
        assert stat.S_IMODE((tmp_path / "run/tank/data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "run/.lock").stat().st_mode) == 0o600


def test_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(LocalStateError) as caught, dataset_locks(tmp_path):
        pass
    assert caught.value.subject == str(tmp_path)
    assert f"{tmp_path} (base_dir)" in caught.value.next_step


def test_the_directory_of_a_dataset_cannot_be_made(tmp_path: Path) -> None:
    with dataset_locks(tmp_path) as locks:
        (tmp_path / "run/tank").touch()
        with pytest.raises(LocalStateError):
            locks.take("tank/data")
