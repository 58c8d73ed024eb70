# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""However the owner of a pipeline dies, its worker processes do not outlive it; and they leave its signals to it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.store import MemoryStore
from tests.unit.stream.piping import (
    PART,
    backup_pipeline,
    child_processes,
    destination,
    manifest_of,
    random_bytes,
    restore_pipeline,
    store_bytes,
)

DATA = random_bytes(3 * PART)
Moment = Callable[[Callable[[], None]], None]


def idle_backup(die: Callable[[], None]) -> None:
    with backup_pipeline(sealers=2):
        die()


def sealing(die: Callable[[], None]) -> None:
    with backup_pipeline(sealers=2) as pipeline:
        store_bytes(pipeline, DATA, destination(MemoryStore(), moved=lambda _count: die()))


def between_streams(die: Callable[[], None]) -> None:
    with backup_pipeline(sealers=2) as pipeline:
        store_bytes(pipeline, DATA, destination(MemoryStore()))
        die()


def opening(die: Callable[[], None]) -> None:
    from zrb.stream.restore import Source

    store = MemoryStore()
    with backup_pipeline() as pipeline:
        manifest = manifest_of(store_bytes(pipeline, DATA, destination(store)))
    with restore_pipeline(openers=2) as pipeline:
        pipeline.fetch_stream(manifest, manifest.parts, Source(store, Path, lambda _count: None), lambda _view: die())


@pytest.fixture
def adopt() -> Iterator[None]:
    """Orphans become children of this process, which can then wait for them."""
    import ctypes

    set_child_subreaper = 36
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    yield
    libc.prctl(set_child_subreaper, 0, 0, 0, 0)


@pytest.mark.usefixtures("adopt")
@pytest.mark.parametrize("moment", [idle_backup, sealing, between_streams, opening])
def test_workers_end_with_a_killed_owner(moment: Moment) -> None:
    before = child_processes()
    owner = os.fork()
    if owner == 0:
        # The last act of the owner: no handler, no `finally`, no `atexit` of it runs.
        moment(lambda: os.kill(os.getpid(), signal.SIGKILL))
        os._exit(99)
    _, status = os.waitpid(owner, 0)
    assert os.WIFSIGNALED(status)
    orphans = child_processes() - before
    try:
        while orphans:
            os.waitpid(min(orphans), 0)  # the fixture of this directory ends a wait for ever
            orphans = child_processes() - before
    finally:
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
            os.waitpid(orphan, 0)


def test_a_worker_leaves_an_interrupt_to_its_owner() -> None:
    """Ctrl-C goes to the whole foreground process group."""
    before = child_processes()
    with backup_pipeline() as pipeline:
        (worker,) = child_processes() - before
        os.kill(worker, signal.SIGINT)
        assert store_bytes(pipeline, DATA, destination(MemoryStore())).stream_bytes == len(DATA)


def test_a_worker_does_not_run_what_the_owner_does_on_sigterm() -> None:
    ran = threading.Event()
    handler = signal.signal(signal.SIGTERM, lambda *_: ran.set())
    try:
        before = child_processes()
        with backup_pipeline():
            (worker,) = child_processes() - before
            os.kill(worker, signal.SIGTERM)
            assert os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT) is not None
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert not ran.is_set()
