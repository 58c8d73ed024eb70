# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The spool keeps encrypted parts that do not fit into memory until they are verified and decrypted."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from ..errors import LocalStateError
from .durable_files import make_private
from .locks import alone_in

_PREFIX = "restore-"


class Spool:
    """A private directory ``{base_dir}/spool/restore-{random}``, created when first needed and removed at the end.

    A lock file marks a directory in use. Directories that killed processes left are removed.
    """

    def __init__(self, base_dir: Path) -> None:
        self._root = base_dir / "spool"
        self._own: Path | None = None
        self._lock_fd = -1

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            os.close(self._lock_fd)
            self._own = None

    def directory(self) -> Path:
        """Return the directory, ready for use."""
        if self._own is None:
            try:
                make_private(self._root)
                with alone_in(self._root):  # a new directory has no lock yet, so it looks abandoned
                    self._remove_stale()
                    own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._root))
                    self._lock_fd = os.open(own / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LocalStateError(
                    f"The spool directory below {self._root} could not be created",
                    subject=str(self._root),
                    answer=error.strerror or str(error),
                    next_step="Make base_dir writable with space for two parts, or increase memory_limit",
                ) from error
            self._own = own
        return self._own

    def _remove_stale(self) -> None:
        for directory in self._root.glob(f"{_PREFIX}*"):
            try:
                descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                shutil.rmtree(directory, ignore_errors=True)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
            except BlockingIOError:
                pass  # another restore is using it
            finally:
                os.close(descriptor)
