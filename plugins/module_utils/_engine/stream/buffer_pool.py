# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fixed number of buffers that a pipeline reuses. Waiting for a free one is the only back-pressure."""

from __future__ import annotations

import mmap

from .first_failure import Failure


class BufferPool:
    """``count`` buffers of ``size`` bytes, for one stream. The system provides their memory when they are first
    used."""

    def __init__(self, count: int, size: int, failure: Failure) -> None:
        self.count = count
        self.size = size
        self._failure = failure
        self._memory = mmap.mmap(-1, count * size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = memoryview(self._memory)
        self._free = [whole[start : start + size] for start in reversed(range(0, count * size, size))]

    def take(self) -> memoryview:
        """Take the free buffer that came back last: it may still be in a cache. Raises if the pipeline has failed."""
        with self._failure.changed:
            self._failure.wait_until(lambda: self._free)
            return self._free.pop()

    def give(self, buffer: memoryview) -> None:
        """Give back a buffer from :meth:`take`."""
        with self._failure.changed:
            self._free.append(buffer)
            self._failure.changed.notify_all()

    def close(self) -> None:
        """Give the memory back to the system, once no thread uses it any more.

        This drops the pages, not only the references: an error that is kept refers to stack frames, these to views,
        and the views to the mapping.
        """
        self._free.clear()
        self._memory.madvise(mmap.MADV_DONTNEED)
