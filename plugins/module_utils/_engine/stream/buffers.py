# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shared memory of a pipeline: made once, reused, visible to the worker processes without copying.

Anonymous shared mappings, so that nothing is left behind when every process is killed.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable

from .failure import Failure


class SharedBuffers:
    """``count`` buffers of ``size`` bytes. Create them before the worker processes are forked."""

    def __init__(self, *, count: int, size: int) -> None:
        self.count = count
        self.size = size
        self._view = memoryview(mmap.mmap(-1, count * size))

    def view(self, index: int, length: int | None = None) -> memoryview:
        """The first ``length`` bytes (default: all) of buffer ``index``."""
        start = index * self.size
        return self._view[start : start + (self.size if length is None else length)]


class FreeList:
    """Indices of unused buffers. Back-pressure is the wait in :meth:`take`, and nothing else."""

    def __init__(self, indices: Iterable[int], failure: Failure) -> None:
        self._free = list(indices)
        self._failure = failure
        self._changed = threading.Condition()
        failure.on_failure(self._wake)

    def take(self) -> int:
        """An unused buffer, the one returned last (it is still in the cache). Raises the pipeline's failure."""
        with self._changed:
            while not self._free:
                self._failure.check()
                self._changed.wait()
            self._failure.check()
            return self._free.pop()

    def give(self, index: int) -> None:
        """Return a buffer."""
        with self._changed:
            self._free.append(index)
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
