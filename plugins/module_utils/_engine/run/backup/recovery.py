# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clears away what earlier runs left behind: journals, uploads and holds if they were killed, and snapshots that their
backups superseded."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ...errors import EngineError, NoSuchSnapshot, ZfsDenied
from ...plan.holds import superseded_snapshots
from ...state.journal import Journal, hold_named_in
from ...state.locks import dataset_state_dir
from ...state.pending_snapshot import release_pending
from ...store.protocol import Store
from ...values.progress import Progress
from ...values.repository_names import hold_tag
from ..context import Context
from .commit import finish_commit
from .survey import Decision, Survey


def recover(context: Context, store: Store, decision: Decision) -> list[str]:
    """Finish backups whose run was killed right after the commit. Give up backups that no run can resume. Release
    holds of runs that were killed before they had a journal. Destroy snapshots that are superseded. Return what the
    owner must know."""
    survey = decision.survey
    for journal in survey.journals:
        manifest = survey.committed(journal.binding.backup_id)
        if manifest is not None:
            finish_commit(context, survey, manifest, journal)
        elif journal in decision.obsolete:
            give_up(store, journal, context.progress)
            with suppress(NoSuchSnapshot):
                context.zfs.release(journal.binding.snapshot, hold_tag(journal.binding.repository_id))
    for orphan in survey.orphans:
        orphan.remove()
    for former in survey.former_repositories:
        for snapshot in survey.snapshots:
            if snapshot.user_holds:
                context.zfs.release(snapshot.name, hold_tag(former))
    for path in survey.damaged_journals:
        _forget_damaged(context, path)
    state_dir = dataset_state_dir(context.base_dir, survey.dataset.name)
    release_pending(state_dir, context.zfs, bound=survey.bound_snapshots)
    return destroy_superseded(context, survey)


def destroy_superseded(context: Context, survey: Survey) -> list[str]:
    """Destroy the snapshots that zrb took and no later backup needs. Only now, and not by the run that committed what
    supersedes them: this one has read in the repository that it is there, and what the names mean in this moment.
    Return what the owner must know."""
    if not survey.readable:
        return []  # a backup that cannot be read may be based on any of them
    sentences = []
    bound, keep = survey.bound_snapshots, context.config.keep_snapshots
    retired = {one.snapshot_guid for one in survey.retired}
    for snapshot in superseded_snapshots(survey.manifests, survey.snapshots, retired=retired, bound=bound, keep=keep):
        try:
            if not context.zfs.destroy_snapshot(snapshot.name):
                context.progress.log(f"{snapshot.name} is superseded and stays: a clone or a running send needs it")
        except EngineError as error:
            error.next_step += "; or keep all such snapshots, with `keep_snapshots: all`"
            sentences.append(error.explain())
            if isinstance(error, ZfsDenied):
                break  # nor may it destroy the others
        context.checkpoint("superseded-destroyed")
    return sentences


def give_up(store: Store, journal: Journal, progress: Progress) -> None:
    """Discard the unfinished uploads and the journal of a backup. Its stored parts are garbage from now on."""
    journal.abort_uploads(store, progress)
    journal.remove()


def _forget_damaged(context: Context, path: Path) -> None:
    hold = hold_named_in(path)
    if hold:
        with suppress(NoSuchSnapshot):
            context.zfs.release(*hold)
    else:
        context.progress.log(
            f"The journal {path} could not be read and was removed. If it was of another repository, its snapshot "
            "stays held: look for a tag that begins with zrb: in `zfs holds`, and release it with "
            "`zfs release TAG SNAPSHOT`.",
            level="warning",
        )
    path.unlink(missing_ok=True)
