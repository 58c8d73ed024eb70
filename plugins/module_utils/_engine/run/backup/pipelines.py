# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pipeline of a run: forked before the store has a client, replaced after a stream that failed."""

from __future__ import annotations

from ...plan.buffers import plan_backup_buffers
from ...stream.backup import BackupPipeline
from ..context import Context


class BackupPipelines:
    """One pipeline at a time; a stream that failed uses its pipeline up, and the next one gets another."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._current: BackupPipeline | None = self._make()

    def __enter__(self) -> BackupPipelines:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def current(self) -> BackupPipeline:
        """A pipeline that is ready for a stream."""
        if self._current is None:
            self._current = self._make()
        return self._current

    def discard(self) -> None:
        """End the pipeline after a failure."""
        if self._current is not None:
            self._current.__exit__()
            self._current = None

    def _make(self) -> BackupPipeline:
        config = self._context.config
        return BackupPipeline(
            plan_backup_buffers(config.limits),
            recipients=config.recipients,
            uploaders=config.limits.workers,
            bandwidth_limit=config.limits.bandwidth_limit,
        )
