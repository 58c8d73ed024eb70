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

    def __init__(self, context: Context, target: str, manifest: Manifest, *, token: str, resumes: bool) -> None:
        self._context = context
        self._token = token
        self._target = target
        self._manifest = manifest
        self._resumes = resumes
        self._process: ReceiveProcess | None = None
        self._fd = -1

    def write(self, view: memoryview) -> None:
        """Give ``view`` to ``zfs receive``."""
        if self._process is None:
            self._process = self._context.zfs.receive(
                self._target,
                type=self._manifest.dataset.type,
                first=self._manifest.base is None,
                token=self._token,
                resumes=self._resumes,
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

    def abandon(self, *, give_up: bool) -> bool:
        """End ``zfs receive`` before it sees the end of its stream; whether what it has got is kept, to go on there.

        ZFS keeps it if it can, and else removes it by itself. With ``give_up``, and if a dataset without snapshots is
        there all the same, we remove it. That may be another's, created since the target was checked: so only what
        bears the token of this run is removed.
        """
        if self._process is None:
            return False
        self._process.kill()
        self._process = None
        try:
            return self._clear_away(give_up=give_up)
        except EngineError as error:
            self._warn(error.explain())
            return False

    def _clear_away(self, *, give_up: bool) -> bool:
        zfs, target = self._context.zfs, self._target
        if not zfs.exists(target):
            return False
        point = zfs.resume_point(target)
        cut = point is not None and point.to_guid == self._manifest.snapshot.guid
        if cut and not give_up:
            return True
        if not cut and (self._manifest.base is not None or zfs.snapshots(target)):
            return False
        if zfs.local_properties(target).get(RECEIVED_BY) != self._token:
            self._warn("it does not bear the token of this run. If nobody else made it, destroy it by hand.")
        elif cut:
            zfs.abort_receive(target)
        else:
            zfs.destroy_dataset(target)
        return False

    def _warn(self, reason: str) -> None:
        self._context.progress.log(f"{self._target} was not removed: {reason}", level="warning")
