# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb.json``: which repository this is, written once when the first backup is made (docs/format.md, "Keys").

It is not signed: who exchanges it can keep manifests from being listed, which whoever can write here can do anyway,
and cannot make one be believed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ..errors import IntegrityError, ManifestInvalid, ObjectExists, ObjectMissing
from ..store.protocol import Store
from ..values.field_types import RepositoryId, Time
from ..values.json_records import read_record, write_record
from ..values.manifest_json import check_format
from ..values.repository import IDENTITY_KEY
from ..values.strict_json import parse_object

MAX_IDENTITY_BYTES = 4096


@dataclass(frozen=True, slots=True)
class RepositoryIdentity:
    """``repository_id`` is 32 hex digits; every manifest of the repository names it."""

    format: Literal[1] = field(default=1, kw_only=True)
    repository_id: RepositoryId
    created: Time


def read_identity(store: Store) -> RepositoryIdentity | None:
    """The identity of the repository in ``store``; ``None`` for one that holds none yet.

    Raises :class:`ManifestInvalid` if ``zrb.json`` is not what zrb writes.
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


def ensure_identity(store: Store, *, now: datetime, new_id: str) -> RepositoryIdentity:
    """The identity of the repository, written first if there is none: ``new_id`` is 32 random hex digits.

    Of two machines that do so at once, both get what the one wrote. Raises as :func:`read_identity`, and what the
    store raises.
    """
    found = read_identity(store)
    if found is not None:
        return found
    record = write_record(RepositoryIdentity(repository_id=new_id, created=now))
    with suppress(ObjectExists):  # Another machine may have been first.
        store.put(IDENTITY_KEY, json.dumps(record, indent=2).encode("ascii") + b"\n")
    written = read_identity(store)
    if written is None:
        raise _invalid(store, "it was written and cannot be found")
    return written


def _invalid(store: Store, reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The object {IDENTITY_KEY} of the repository {store.location} is not valid",
        answer=reason,
        subject=IDENTITY_KEY,
        next_step="Restore that object from a copy. It was damaged, or this place holds something else than a "
        "repository of zrb",
    )
