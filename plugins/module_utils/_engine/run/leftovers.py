# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs left behind when they were killed: journals, uploads, holds. The next run clears them away."""

from __future__ import annotations

from contextlib import suppress

from ..errors import NoSuchSnapshot
from ..store.protocol import Store
from .commit import settle_committed
from .environment import Environment
from .journal import Journal
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
            forget(store, journal)
            with suppress(NoSuchSnapshot):
                env.zfs.release(journal.binding.snapshot, task.hold_tag)
    for path in situation.damaged_journals:
        path.unlink(missing_ok=True)
    if task.take_snapshot:
        _release_abandoned(env, decision)


def forget(store: Store, journal: Journal) -> None:
    """Throw away the unfinished uploads of a backup, and its journal. Its stored parts are garbage from now on."""
    journal.abort_uploads(store)
    journal.remove()


def _release_abandoned(env: Environment, decision: Decision) -> None:
    situation, task = decision.situation, decision.task
    wanted = {journal.binding.snapshot_guid for journal in situation.journals}
    wanted |= {manifest.snapshot.guid for manifest in situation.manifests}
    for snapshot in situation.snapshots:
        ours = snapshot.short_name.startswith(f"{task.snapshot_prefix}_level")
        if ours and snapshot.user_holds and snapshot.guid not in wanted:
            env.zfs.release(snapshot.name, task.hold_tag)
