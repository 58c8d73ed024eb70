# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Accepts losses by hand: from then on, this machine goes on with what the repository still has."""

from __future__ import annotations

from collections.abc import Sequence

from ...config.tasks import covered_by_any
from ...errors import EngineError, LocalStateError, ManifestInvalid, RepositoryChanged
from ...plan.chain import check_series
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.identity import RepositoryIdentity, write_identity
from ...state.highest_seen import read_head, remember, series_seen
from ...state.known_repositories import replace_repository
from ...store.protocol import Store
from ...values.config import Task
from ...values.repository_names import parse_series
from ..context import Context


def accept_what_is_there(context: Context, trusted: Sequence[str], *, host: str, tasks: Sequence[Task]) -> list[str]:
    """Accept the repository and the series of ``host`` and ``tasks`` as they are now. Return changes as sentences.

    If the identity is missing, makes it again from the signed manifests. Raises :class:`RepositoryChanged` if they
    name several, and the problem of any manifest that a new identity would leave out.
    """
    store = context.patient_store()
    try:
        told, identity = _accept_identity(context, store, trusted, host)
        if identity is None:
            return told
        catalogue = read_catalogue(store, trusted=trusted, host=host)
    finally:
        store.close()
    try:
        # Also of a series that this machine has not seen: what is there betrays what is missing.
        there = {*(entry.manifest.series for entry in catalogue.manifests), *catalogue.retired_backups}
        there |= {*series_seen(context.base_dir, identity.repository_id, host)}
        for series in sorted(there, key=lambda one: (one.host, one.dataset)):
            if covered_by_any(tasks, series.dataset):
                entries = [entry for entry in catalogue.manifests if entry.manifest.series == series]
                head = read_head(context.base_dir, identity.repository_id, series)
                losses = check_series(entries, catalogue.retired(series), highest_seen=head.seq)
                told += [
                    f"Accepted: {series.dataset}: {loss.sentence}" for loss in losses if loss.key not in head.accepted
                ]
                accepted = tuple(loss.key for loss in losses)
                remember(context.base_dir, identity.repository_id, series, 0, accepted=accepted)
    except OSError as error:
        raise LocalStateError(
            "The accepted losses could not be remembered",
            subject=str(context.base_dir),
            answer=str(error),
            next_step="Make base_dir writable and free some space, then run the same command again",
        ) from error
    return told


def _accept_identity(
    context: Context, store: Store, trusted: Sequence[str], host: str
) -> tuple[list[str], RepositoryIdentity | None]:
    known = context.known_id
    catalogue = read_catalogue(store, trusted=trusted)
    identity, told = catalogue.identity, []
    if identity is None:
        repository_id = _signed_id(store, catalogue, known)
        if repository_id is None:
            replace_repository(context.base_dir, context.config.destination, None)
            return [f"Accepted: {store.location} is empty. The next backup begins a new repository there."], None
        identity = write_identity(store, RepositoryIdentity(repository_id=repository_id, created=context.clock()))
        told.append(f"The identity {repository_id} of {store.location} was made again from its signed manifests.")
    if identity.repository_id != known:
        for problem in catalogue.problems:
            if known and not isinstance(problem, RepositoryChanged) and _is_of(host, problem):
                raise problem
        replace_repository(context.base_dir, context.config.destination, identity.repository_id)
        if known:
            told.append(
                f"Accepted: {store.location} is the repository {identity.repository_id}, and no longer {known}."
            )
    return told, identity


def _is_of(host: str, problem: EngineError) -> bool:
    """Whether ``problem`` is about the backups of ``host``. Those of others may be signed by whomever they trust."""
    try:
        return parse_series(problem.subject).host == host
    except ManifestInvalid:
        return True


def _signed_id(store: Store, catalogue: Catalogue, known: str | None) -> str | None:
    ids = {entry.manifest.repository_id for entry in catalogue.manifests}
    ids |= {found.record.repository_id for found in catalogue.records}
    others = [problem for problem in catalogue.problems if not isinstance(problem, RepositoryChanged)]
    if known in ids or len(ids) == 1:
        return known if known in ids else ids.pop()
    if ids or others:
        raise RepositoryChanged(
            f"The manifests and records in {store.location} do not tell which repository this is",
            subject=store.location,
            answer=f"they name {', '.join(sorted(ids))}" if ids else "no trusted key signed any of them",
            next_step="Restore zrb.json from a copy, or add the signer to `trusted_signers`",
        )
    return None
