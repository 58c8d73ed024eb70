# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The committed backups of a repository: every manifest that a trusted signer proves, and what is wrong with others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ..errors import EngineError, IntegrityError, ManifestInvalid, ObjectArchived, ObjectMissing, ThawNeeded
from ..seal.signing import MAX_ENVELOPE_BYTES, no_trusted_signer, open_envelope
from ..store.protocol import Store
from ..values.manifest import CataloguedManifest
from ..values.manifest_json import decode_manifest
from ..values.repository_names import (
    IDENTITY_KEY,
    MANIFEST_SUFFIX,
    PART_LIST_SUFFIX,
    BackupId,
    Series,
    encode_component,
    parse_manifest_key,
)
from .identity import RepositoryIdentity, identity_problem, read_identity

__all__ = ["Catalogue", "CataloguedManifest", "read_catalogue"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``manifests`` by host and dataset, then by number in their series; ``problems`` are those of single objects."""

    manifests: tuple[CataloguedManifest, ...]
    problems: tuple[EngineError, ...]
    identity: RepositoryIdentity | None = None

    def refused(self, series: Series) -> int:
        """How many manifests of ``series`` are there and were left out."""
        count = 0
        for problem in self.problems:
            with suppress(ManifestInvalid):
                count += parse_manifest_key(problem.subject)[0] == series
        return count


def read_catalogue(
    store: Store,
    *,
    trusted: Sequence[str],
    host: str | None = None,
    dataset: str | None = None,
    recursive: bool = False,
    allow_unsigned: bool = False,
    known: str | None = None,
    workers: int = 8,
) -> Catalogue:
    """All committed backups, of one ``host`` or one ``dataset`` (full name) if given; ``recursive``: and those of all
    datasets below it. ``known`` is the id that this machine remembers of the repository: another one, or none, is a
    problem.

    A manifest that is damaged, that nobody trusted signed, or that stands under another key than it names is left
    out and reported. Raises ``SignatureInvalid`` if no trusted signer is given at all, unless ``allow_unsigned``,
    and what the store raises if it does not answer.
    """
    if not trusted and not allow_unsigned:
        raise no_trusted_signer()
    problems: list[EngineError] = []
    keys, list_sizes = _listed(store, host, dataset, problems, recursive=recursive)
    identity = _identity(store, problems, known=known, has_manifests=bool(keys))
    read = partial(_read_manifest, store, list_sizes, identity=identity, trusted=trusted, allow_unsigned=allow_unsigned)
    found: list[CataloguedManifest] = []
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="catalogue") as pool:
        for result in pool.map(read, keys):
            if isinstance(result, CataloguedManifest):
                found.append(result)
            elif result is not None:
                problems.append(result)
    found.sort(key=lambda entry: (entry.manifest.host, entry.manifest.dataset.name, entry.manifest.seq, entry.key))
    return Catalogue(tuple(found), tuple(problems), identity)


def _listed(
    store: Store, host: str | None, dataset: str | None, problems: list[EngineError], *, recursive: bool
) -> tuple[list[tuple[str, Series, BackupId]], dict[str, int]]:
    """The manifests, and the lengths of the lists of parts by key."""
    keys: list[tuple[str, Series, BackupId]] = []
    list_sizes: dict[str, int] = {}
    for item in store.list(_prefix(host, dataset)):
        is_list = item.key.endswith(PART_LIST_SUFFIX)
        if not is_list and not item.key.endswith(MANIFEST_SUFFIX):
            continue  # what file managers and copy programs leave
        try:
            series, backup_id = parse_manifest_key(item.key, suffix=PART_LIST_SUFFIX if is_list else MANIFEST_SUFFIX)
        except ManifestInvalid as error:
            problems.append(error)
            continue
        if is_list:
            list_sizes[item.key] = item.bytes  # without a manifest it is what a killed run left, or is being written
            continue
        # The manifests of child datasets lie under the prefix of their parent.
        if recursive or dataset in (None, series.dataset):
            keys.append((item.key, series, backup_id))
    return keys, list_sizes


def _prefix(host: str | None, dataset: str | None) -> str:
    if host is None:
        return "manifests/"
    if dataset is None:
        return f"manifests/{encode_component(host)}/"
    return Series(host=host, dataset=dataset).manifest_prefix


def _identity(
    store: Store, problems: list[EngineError], *, known: str | None, has_manifests: bool
) -> RepositoryIdentity | None:
    try:
        identity = read_identity(store)
    except ManifestInvalid as error:
        problems.append(error)
        return None
    if problem := identity_problem(store, identity, known=known, has_manifests=has_manifests):
        problems.append(problem)
    return identity


def _read_manifest(
    store: Store,
    list_sizes: Mapping[str, int],
    place: tuple[str, Series, BackupId],
    *,
    identity: RepositoryIdentity | None,
    trusted: Sequence[str],
    allow_unsigned: bool,
) -> CataloguedManifest | EngineError | None:
    """The manifest, or what is wrong with it, or nothing if it was removed since it was listed."""
    key, series, backup_id = place
    try:
        opened = open_envelope(store.get(key, limit=MAX_ENVELOPE_BYTES), trusted=trusted, allow_unsigned=allow_unsigned)
        manifest = decode_manifest(opened.payload)
        if (manifest.series, manifest.backup_id) != (series, backup_id):
            raise _misplaced(f"says that it is {manifest.backup_id} of {manifest.dataset.name} on {manifest.host}")
        if identity is not None and manifest.repository_id != identity.repository_id:
            raise _misplaced(
                f"belongs to the repository {manifest.repository_id}, and {IDENTITY_KEY} names {identity.repository_id}"
            )
    except ObjectMissing:
        return None
    except ObjectArchived:
        return _archived(key)
    except IntegrityError as error:
        return _about(key, error)
    return CataloguedManifest(
        manifest,
        key,
        opened.signer,
        hashlib.sha256(opened.payload).hexdigest(),
        has_part_list=list_sizes.get(manifest.parts.key) == manifest.parts.bytes,
    )


def _misplaced(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The manifest {reason}",
        next_step=f"It was copied or moved there, or {IDENTITY_KEY} was exchanged: find out who can write to the "
        "repository, and remove the one that is wrong. `zrb verify --accept-losses` makes a removed "
        f"{IDENTITY_KEY} again from signed manifests",
    )


def _archived(key: str) -> ThawNeeded:
    return ThawNeeded(
        f"The manifest {key} was moved to an archive class",
        subject=key,
        next_step="Thaw that object, and take `manifests/` out of the lifecycle rule that moved it",
    )


def _about(key: str, error: IntegrityError) -> IntegrityError:
    """The same error, naming the object it is about."""
    if error.subject == key:
        return error
    return type(error)(f"{key}: {error.problem}", subject=key, answer=error.answer, next_step=error.next_step)
