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
from zrb.state.locks import dataset_lock, dataset_state_dir


def test_where_the_state_of_a_dataset_is() -> None:
    base = Path("/var/lib/zrb")
    assert dataset_state_dir(base, "tank") == base / "run/tank"
    assert dataset_state_dir(base, "tank/a b/ü") == base / "run/tank/a%20b/%C3%BC"
    assert dataset_state_dir(base, "tank/../x") == base / "run/tank/%2E%2E/x"


def test_one_at_a_time_for_each_dataset(tmp_path: Path) -> None:
    with dataset_lock(tmp_path, "tank/data"):
        with pytest.raises(Locked) as caught, dataset_lock(tmp_path, "tank/data"):
            pass
        assert f"(pid {os.getpid()})" in caught.value.explain()
        assert caught.value.subject == "tank/data"
        assert caught.value.exit_code == 3
        with dataset_lock(tmp_path, "tank/data/child"), dataset_lock(tmp_path, "tank"):
            pass
    with dataset_lock(tmp_path, "tank/data"):
        pass


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), dataset_lock(tmp_path, "tank"):
        raise KeyError
    with dataset_lock(tmp_path, "tank"):
        pass


def test_it_is_free_after_a_kill(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with dataset_lock(tmp_path, "tank"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with dataset_lock(tmp_path, "tank"):
        assert (tmp_path / "run/tank/.lock").read_text() == f"pid {os.getpid()}\n"


def test_a_holder_that_has_not_yet_said_who_it_is(tmp_path: Path) -> None:
    with dataset_lock(tmp_path, "tank"):
        (tmp_path / "run/tank/.lock").write_text("")
        with pytest.raises(Locked, match="an unknown process"), dataset_lock(tmp_path, "tank"):
            pass


def test_it_is_private(tmp_path: Path) -> None:
    with dataset_lock(tmp_path, "tank/data"):
        assert stat.S_IMODE((tmp_path / "run/tank/data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "run/tank/data/.lock").stat().st_mode) == 0o600


def test_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(LocalStateError) as caught, dataset_lock(tmp_path, "tank"):
        pass
    assert caught.value.subject == f"{tmp_path}/run/tank/.lock"
    assert caught.value.answer == "Not a directory"
    assert f"{tmp_path} (base_dir)" in caught.value.next_step
