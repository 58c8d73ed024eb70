# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine of several that share a repository. Its runs may be killed, and it remembers what is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from zrb.errors import EngineError
from zrb.run.backup import BackupResult, back_up
from zrb.run.cleanup import CleanupOutcome, clean_up
from zrb.run.verify import verify
from zrb.store.protocol import free_flow
from zrb.values.config import Task

from tests.fakes.fleet import DATASET, Fleet
from tests.fakes.mortal import Killed, Life
from tests.fakes.store import MemoryRemover, MemoryStore


class Machine:
    """The machine ``host``, the ``number``-th of them. Two of its tasks back up the same dataset."""

    def __init__(self, root: Path, host: str, store: MemoryStore, *, number: int) -> None:
        root.mkdir()
        self.fleet = Fleet(root, store=store, tick=timedelta(seconds=1))
        self.fleet.tokens = count(number << 24)  # no two machines choose the same id
        self.tasks = [Task(name=name, pool="tank", dataset="data") for name in ("nightly", "weekly")]
        self.fleet.change_config(host=host, patience_s=0, tasks=tuple(self.tasks))
        self.contents: dict[str, bytes] = {}
        """What each snapshot holds, by its guid, also if it was destroyed since."""
        self.foreign: set[str] = set()
        """Snapshots that somebody else took, or made his own by another name: guids."""
        self.targets = 0

    @property
    def state(self) -> Path:
        """Where this machine remembers."""
        return Path(self.fleet.config.base_dir)

    def note_snapshots(self) -> None:
        """Remember what is in every snapshot."""
        for snapshot in self.fleet.zfs.snapshots(DATASET):
            self.contents.setdefault(snapshot.guid, self.fleet.zfs.content(snapshot.name))

    def run(self, action: Callable[[Any], Any], *, killed_at: int | None = None) -> Any:
        """``action`` with a context; ``None`` if it was killed."""
        self.state.mkdir(parents=True, exist_ok=True)
        life = Life(killed_at, self.state)
        try:
            return action(life.context(self.fleet.context()))
        except Killed:
            return None
        finally:
            life.bury()
            self.fleet.store.regulate(free_flow)  # what a process asked of a store ends with it
            self.note_snapshots()

    def back_up(
        self, task: Task, level: int, *, killed_at: int | None = None
    ) -> tuple[Sequence[BackupResult], Sequence[EngineError]]:
        """A run of ``task``: what it calls a success, and what it says otherwise. Neither if it was killed."""
        try:
            outcome = self.run(lambda context: back_up(context, task=task, level=level), killed_at=killed_at)
        except EngineError as error:
            return (), (error,)
        if outcome is None:
            return (), ()
        return outcome.results, [error for _, error in outcome.failures]

    def clean_up(self, *, killed_at: int | None = None, **how: Any) -> CleanupOutcome | None:
        """A cleanup; ``None`` if it was killed."""

        def action(context: Any) -> CleanupOutcome:
            remover = MemoryRemover(self.fleet.store, lambda: context.checkpoint("an object is gone"))
            return clean_up(context, max_removals=1 << 30, open_remover=lambda _config: remover, **how)

        return self.run(action, killed_at=killed_at)  # type: ignore[no-any-return]

    def accept(self) -> None:
        """Accept what is lost, by hand."""
        self.run(lambda context: verify(context, depth="signature", accept_losses=True))
