# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for all tests."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

_KEY = re.compile(r"(age|zrbsign|key-|pq-)1!?\w{10}", re.IGNORECASE)
ROOT = Path(__file__).resolve().parents[1]


KEPT = {"PATH", "USER", "LOGNAME", "TMPDIR", "CI"}
KEPT_PREFIXES = ("ZRB_TEST_", "PYTEST_", "COV")
"""What tests take from their surroundings, besides the cache, which holds machines. The terminal, the language,
proxies, and what AWS tools and Ansible find in a home directory are the same wherever they run."""


def install_for_this_run() -> None:
    """Let tests, and the commands that they start, import the engine as ``zrb``: `ansible-test units` runs where it is
    not installed, and knows nothing of pyproject.toml."""
    places = [tempfile.mkdtemp(prefix="zrbtest-engine-"), str(ROOT)]
    atexit.register(shutil.rmtree, places[0])
    Path(places[0], "zrb").symlink_to(ROOT / "plugins" / "module_utils" / "_engine")
    sys.path[:0] = places
    os.environ["PYTHONPATH"] = os.pathsep.join([places[0], *filter(None, [os.environ.get("PYTHONPATH")])])
    # What ansible-test tells the processes that it runs tests in.
    KEPT.update(name for name in os.environ if name.startswith(("ANSIBLE_", "PYTHON")))


if importlib.util.find_spec("zrb") is None:
    install_for_this_run()

pytest_plugins = ["tests.integration.zfs_fixtures", "tests.integration.s3_fixtures", "tests.integration.nas_fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Leave the surroundings behind, before anything is imported that looks at them."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = tempfile.mkdtemp(prefix="zrbtest-home-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in set(os.environ) - KEPT:
        if not name.startswith(KEPT_PREFIXES):
            del os.environ[name]
    os.environ |= {"HOME": home, "XDG_CACHE_HOME": cache, "TERM": "xterm", "LANG": "C.UTF-8"}
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


# A busy machine is no reason to fail: how long an example takes says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keys are made at random: with them in their names, tests would be others in each process of pytest-xdist."""
    return re.sub(r"[A-Za-z0-9]{20,}", "KEY", val) if isinstance(val, str) and _KEY.search(val) else None


@pytest.fixture
def signals_heard() -> Iterator[None]:
    """SIGINT and SIGHUP reach this process and the commands that it starts, as they do from a terminal: a script that
    runs tests in the background has them ignore the one, nohup the other."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
