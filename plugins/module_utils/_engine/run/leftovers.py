# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs left behind when they were killed: journals, uploads, holds. The next run clears them away."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..errors import NoSuchSnapshot
from ..store.protocol import Store
from ..values.progress import Progress
from .commit import settle_committed
from .environment import Environment
from .journal import Journal, snapshot_named_in
from .lock import dataset_state_dir
from .pending_snapshot import release_pending
from .situation import Decision


def clear_leftovers(env: Environment, store: Store, decision: Decision) -> None:
    """Finish what an earlier run committed and was killed right after; give up what nothing can resume; release
    what a run held that was killed before it had a journal."""
    situation, task = decision.situation, decision.task
    for journal in situation.journals:
        manifest = situation.committed(journal.binding.backup_id)
        if manifest is not None:
            settle_committed(env, task, situation, manifest, journal)
        elif journal in decision.obsolete:
            forget(store, journal, env.progress)
            with suppress(NoSuchSnapshot):
                env.zfs.release(journal.binding.snapshot, task.hold_tag)
    for path in situation.damaged_journals:
        _forget_damaged(env, path, hold_tag=task.hold_tag)
    state_dir = dataset_state_dir(env.base_dir, situation.dataset.name)
    release_pending(state_dir, env.zfs, hold_tag=task.hold_tag, bound=situation.bound_snapshots)


def forget(store: Store, journal: Journal, progress: Progress) -> None:
    """Throw away the unfinished uploads of a backup, and its journal. Its stored parts are garbage from now on."""
    journal.abort_uploads(store, progress)
    journal.remove()


def _forget_damaged(env: Environment, path: Path, *, hold_tag: str) -> None:
    snapshot = snapshot_named_in(path)
    if snapshot:
        with suppress(NoSuchSnapshot):
            env.zfs.release(snapshot, hold_tag)
    else:
        env.progress.log(
            f"The journal {path} could not be read and was removed. The snapshot that it held stays held: look for "
            f"{hold_tag} in `zfs holds`, and release it with `zfs release {hold_tag} SNAPSHOT`.",
            level="warning",
        )
    path.unlink(missing_ok=True)
