# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb.json``: which repository this is, written once when the first backup is made (docs/format.md, "Keys").

It is not signed. An attacker who replaces it can hide manifests, as can anyone who may write to the repository, but
cannot make a forged manifest valid.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ..errors import IntegrityError, ManifestInvalid, ObjectExists, ObjectMissing, RepositoryChanged
from ..store.protocol import Store
from ..values.field_types import RepositoryId, Time
from ..values.json_records import read_record, write_record
from ..values.manifest_json import check_format
from ..values.repository_names import IDENTITY_KEY, MANIFEST_SUFFIX, RETIREMENT_SUFFIX
from ..values.strict_json import parse_object

MAX_IDENTITY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RepositoryIdentity:
    """``repository_id`` is 32 hex digits; every manifest of the repository names it."""

    format: Literal[1] = field(default=1, kw_only=True)
    repository_id: RepositoryId
    created: Time


def read_identity(store: Store) -> RepositoryIdentity | None:
    """Read the identity of the repository in ``store``; ``None`` if it has none yet.

    Raises :class:`ManifestInvalid` if zrb did not write ``zrb.json``.
    """
    try:
        data = store.get(IDENTITY_KEY, limit=MAX_IDENTITY_BYTES)
    except ObjectMissing:
        return None
    except IntegrityError as error:
        raise _invalid(store, error.problem) from None
    try:
        record = parse_object(data, limit=MAX_IDENTITY_BYTES)
        check_format(record)
        return read_record(RepositoryIdentity, record)
    except ValueError as error:
        raise _invalid(store, f"it {error}") from None


def identity_problem(
    store: Store, found: RepositoryIdentity | None, *, known: str | None, has_manifests: bool
) -> RepositoryChanged | None:
    """Return what is wrong with the identity ``found``; ``known`` is the id that this machine remembers, if any."""
    place = f"The repository {store.location}"
    told = ""
    if found is None and known:
        told = f"{place} has no {IDENTITY_KEY}, but this machine knows the repository {known} there"
    elif found is None and has_manifests:
        told = f"{place} has manifests, but no {IDENTITY_KEY}"
    elif found is not None and known not in (None, found.repository_id):
        told = f"{place} has the id {found.repository_id}, but this machine knows the repository {known} there"
    if not told:
        return None
    return RepositoryChanged(
        told,
        subject=store.location,
        next_step="Check that it is mounted, and that bucket, prefix and endpoint are right; restore that object if it "
        "was removed. If you know the reason, accept what is there with `zrb verify --accept-losses`",
    )


def find_identity(store: Store, *, known: str | None) -> RepositoryIdentity | None:
    """Return the identity of the repository, or ``None`` if a new one may begin here: this machine knows none here
    (``known``), and there are no manifests.

    Raises :class:`RepositoryChanged`, and what :func:`read_identity` raises.
    """
    found = read_identity(store)
    has_manifests = found is None and any(
        item.key.endswith((MANIFEST_SUFFIX, RETIREMENT_SUFFIX)) for item in store.list("manifests/")
    )
    if problem := identity_problem(store, found, known=known, has_manifests=has_manifests):
        raise problem
    return found


def ensure_identity(store: Store, *, now: datetime, new_id: str, known: str | None = None) -> RepositoryIdentity:
    """Return the identity of the repository. If there is none, write one with ``new_id``, 32 random hex digits.

    If two machines do so at once, both get the one that was written first. Raises what :func:`find_identity` and the
    store raise.
    """
    found = find_identity(store, known=known)
    if found is not None:
        return found
    return write_identity(store, RepositoryIdentity(repository_id=new_id, created=now))


def write_identity(store: Store, identity: RepositoryIdentity) -> RepositoryIdentity:
    """Write ``identity`` unless there is one, and return the one in the store. Raises as :func:`read_identity`."""
    record = write_record(identity)
    with suppress(ObjectExists):  # Another machine may have been first.
        store.put(IDENTITY_KEY, json.dumps(record, indent=2).encode("ascii") + b"\n")
    written = read_identity(store)
    if written is None:
        raise _invalid(store, "it was written, but cannot be found")
    return written


def _invalid(store: Store, reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The object {IDENTITY_KEY} of the repository {store.location} is not valid",
        answer=reason,
        subject=IDENTITY_KEY,
        next_step="It was damaged, or this is not a repository of zrb. Restore that object from a copy; if there is "
        "none, remove it and run `zrb verify --accept-losses`, which makes it again from the signed manifests",
    )
