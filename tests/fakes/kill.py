# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that is killed at a named point: SIGKILL to its whole process group, as power loss would."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from zrb.run.context import Context
from zrb.store.protocol import Buffer, Store, StoredObject, Upload
from zrb.values.manifest import Checksum

When = Literal["before", "after"]


def kill_own_group() -> None:
    """End this process and all of its group at once."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def dies_by_kill(action: Callable[[], object]) -> bool:
    """Run ``action`` in a forked process with a group of its own; whether it died by SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            action()
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def at_checkpoint(context: Context, name: str) -> Context:
    """``context``, in which the process dies when it reaches checkpoint ``name``."""

    def checkpoint(reached: str) -> None:
        if reached == name:
            kill_own_group()

    return replace(context, checkpoint=checkpoint)


def at_store_call(
    context: Context, call: str, *, when: When, nth: int = 1, key_part: str = "", completed: int = 0
) -> Context:
    """``context``, in which the process dies ``before`` or ``after`` the ``nth`` ``call`` to the store for a key that
    contains ``key_part``, but not before ``completed`` chunked uploads are complete. ``call`` is a method of the
    store or of its uploads."""

    def open_store() -> Store:
        return _KillingStore(context.open_store(), call, when, nth, key_part, completed)

    return replace(context, open_store=open_store)


class _KillingStore:
    """A store that hands everything on, and kills this process at one call."""

    def __init__(self, store: Store, call: str, when: When, nth: int, key_part: str, completed: int) -> None:
        self._store = store
        self._call = call
        self._when = when
        self._nth = nth
        self._key_part = key_part
        self._counts: Counter[str] = Counter()
        self._completed = threading.Semaphore(0)
        self._wanted = completed

    @contextmanager
    def reached(self, call: str, key: str) -> Iterator[None]:
        """Count a call and die at the right one."""
        due = False
        if call == self._call and self._key_part in key:
            self._counts[call] += 1
            due = self._counts[call] == self._nth
        if due:
            for _ in range(self._wanted):
                self._completed.acquire()
        if due and self._when == "before":
            kill_own_group()
        yield
        if call == "complete":
            self._completed.release()
        if due:
            kill_own_group()

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        with self.reached("put", key):
            return self._store.put(key, data, storage_class=storage_class, sha256=sha256)

    def open_upload(self, key: str, *, total_chunks: int | None, storage_class: str = "STANDARD") -> Upload:
        with self.reached("open_upload", key):
            return _KillingUpload(
                self, key, self._store.open_upload(key, total_chunks=total_chunks, storage_class=storage_class)
            )

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        with self.reached("read_into", key):
            self._store.read_into(key, offset, buffer)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._store.list(prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class _KillingUpload:
    """The uploads of a :class:`_KillingStore`."""

    def __init__(self, store: _KillingStore, key: str, upload: Upload) -> None:
        self._store = store
        self._key = key
        self._upload = upload

    @property
    def upload_id(self) -> str:
        return self._upload.upload_id

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        with self._store.reached("put_chunk", self._key):
            self._upload.put_chunk(number, offset, data, sha256=sha256)

    def expected_checksum(self) -> Checksum:
        return self._upload.expected_checksum()

    def complete(self) -> Checksum:
        with self._store.reached("complete", self._key):
            return self._upload.complete()

    def abort(self) -> None:
        self._upload.abort()
