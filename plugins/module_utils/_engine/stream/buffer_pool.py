# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The buffers of a pipeline: a fixed number, used again and again. Waiting for a free one is all back-pressure."""

from __future__ import annotations

import mmap

from .first_failure import Failure


class BufferPool:
    """``count`` buffers of ``size`` bytes, for one stream. Memory is taken from the system as buffers are first
    used."""

    def __init__(self, count: int, size: int, failure: Failure) -> None:
        self.count = count
        self.size = size
        self._failure = failure
        self._memory = mmap.mmap(-1, count * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = memoryview(self._memory)
        self._free = [whole[start : start + size] for start in reversed(range(0, count * size, size))]

    def take(self) -> memoryview:
        """A free buffer, the one given back last (it may still be in a cache). Raises the pipeline's failure."""
        with self._failure.changed:
            self._failure.wait_until(lambda: self._free)
            return self._free.pop()

    def give(self, buffer: memoryview) -> None:
        """Give back a buffer, as :meth:`take` gave it."""
        with self._failure.changed:
            self._free.append(buffer)
            self._failure.changed.notify_all()

    def close(self) -> None:
        """Give the memory back to the system, when no thread uses it any more.

        An error that is kept holds the frames that it passed, these hold views, and the views hold the mapping. So
        the pages are dropped, and not only the references.
        """
        self._free.clear()
        self._memory.madvise(mmap.MADV_DONTNEED)
