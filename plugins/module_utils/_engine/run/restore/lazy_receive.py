# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One ``zfs receive`` of a restore: it begins with verified bytes and commits nothing that was cut short."""

from __future__ import annotations

import os

from ...errors import EngineError, ReceiveFailed
from ...values.manifest import Manifest
from ...zfs.protected_receive import RECEIVED_BY
from ...zfs.protocol import ReceiveProcess
from ..context import Context


class LazyReceive:
    """``zfs receive``, started by the first verified bytes: what fails before them creates nothing."""

    def __init__(self, context: Context, target: str, manifest: Manifest, *, token: str) -> None:
        self._context = context
        self._token = token
        self._target = target
        self._manifest = manifest
        self._process: ReceiveProcess | None = None
        self._fd = -1

    def write(self, view: memoryview) -> None:
        """Give ``view`` to ``zfs receive``."""
        if self._process is None:
            self._process = self._context.zfs.receive(
                self._target, type=self._manifest.dataset.type, first=self._manifest.base is None, token=self._token
            )
            self._fd = self._process.fileno()
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BrokenPipeError as error:
            self._process.finish()  # raises what receive said
            raise ReceiveFailed(
                f"zfs receive into {self._target} ended well before it had read the stream of "
                f"{self._manifest.backup_id}",
                subject=self._target,
                next_step="Look at `zfs list -t snapshot` of the target; destroy it and restore again",
            ) from error

    def finish(self) -> None:
        """The stream is whole: let ``zfs receive`` commit it."""
        if self._process is not None:
            self._process.finish()
            self._process = None

    def abandon(self) -> None:
        """End ``zfs receive`` before it sees the end of its stream, and remove a dataset that it alone created.

        ZFS removes it by itself. What is there all the same may be another's, created since the target was checked:
        it is destroyed only if it bears the token of this run.
        """
        if self._process is None:
            return
        self._process.kill()
        self._process = None
        if self._manifest.base is None:
            zfs, target = self._context.zfs, self._target
            try:
                if not zfs.exists(target) or zfs.snapshots(target):
                    return
                if zfs.local_properties(target).get(RECEIVED_BY) == self._token:
                    zfs.destroy_dataset(target)
                    return
                reason = "it does not bear the token of this run. If nobody else made it, destroy it by hand."
            except EngineError as error:
                reason = error.explain()
            self._context.progress.log(f"{target} was not removed: {reason}", level="warning")
