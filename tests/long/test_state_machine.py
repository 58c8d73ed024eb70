# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The state machine goes red if a defect that was found is put back. It may need thousands of steps for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zrb.plan import chain, retention
from zrb.repository import catalogue, identity, retirement
from zrb.run.backup import commit, recovery
from zrb.state.journal import Journal

from tests.unit.test_state_machine import take

MOST_STEPS = 60_000


def believe_the_journal(patch: pytest.MonkeyPatch) -> None:
    """A resumed backup commits parts that are gone."""
    patch.setattr(Journal, "reconcile", lambda *_: 0)
    patch.setattr(commit, "_present", lambda _store, parts, _prefix: parts)


def order_by_commits(patch: pytest.MonkeyPatch) -> None:
    """The newest backup is the last commit, and not the youngest data."""
    patch.setattr(chain, "oldest_first", lambda manifests: sorted(manifests, key=lambda manifest: manifest.seq))


def forget_the_identity(patch: pytest.MonkeyPatch) -> None:
    """A repository that lost its unsigned ``zrb.json`` gets a new id, and no earlier backup belongs to it."""
    patch.setattr(identity, "identity_problem", lambda *_, **__: None)


def insist_on_aborting(patch: pytest.MonkeyPatch) -> None:
    """A run that cannot tidy up after an earlier one ends, and so does every later one."""

    def abort_uploads(journal: Journal, store: Any, _progress: object) -> None:
        for key, upload_id in journal._opened.values():
            store.abort_upload(key, upload_id)

    patch.setattr(Journal, "abort_uploads", abort_uploads)


def leave_holds(patch: pytest.MonkeyPatch) -> None:
    """What a killed run held stays held."""
    patch.setattr(recovery, "release_pending", lambda *_, **__: None)
    patch.setattr(commit, "snapshots_to_release", lambda *_, **__: ())


def remove_bases(patch: pytest.MonkeyPatch) -> None:
    """A cleanup removes what a backup that stays is based on."""
    patch.setattr(retention, "base_of", lambda *_: None)
    patch.setattr(retirement, "_check_not_needed", lambda *_: None)


def ignore_records(patch: pytest.MonkeyPatch) -> None:
    """What is retired is offered until it is deleted, and missed then."""
    patch.setattr(catalogue, "_place_of", lambda _found: None)
    patch.setattr(catalogue, "_retired", lambda *_: {})


def delete_for_anybody(patch: pytest.MonkeyPatch) -> None:
    """A cleanup deletes what another key retired."""

    def retired_by(found: Any, _signer: str, series: Any) -> list[str]:
        return [one.backup_id for one in found.retired(series)]

    patch.setattr(catalogue.Catalogue, "retired_by", retired_by)


def let_others_hide(patch: pytest.MonkeyPatch) -> None:
    """A cleanup takes the base from what another key retired."""
    patch.setattr(catalogue.Catalogue, "hidden_from", lambda *_: [])


@pytest.mark.parametrize(
    "put_back",
    [
        believe_the_journal,
        order_by_commits,
        forget_the_identity,
        insist_on_aborting,
        leave_holds,
        remove_bases,
        ignore_records,
        delete_for_anybody,
        let_others_hide,
    ],
)
def test_the_machine_notices_each_of_these_defects(put_back: Callable[[pytest.MonkeyPatch], None]) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(BaseException) as noticed:
        put_back(patch)
        take(MOST_STEPS)
    assert not isinstance(noticed.value, pytest.fail.Exception)
