# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The committed backups of a repository: every manifest that a trusted signer proves, less what a retirement record
names that one proves; and what is wrong with other objects."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Protocol, TypeVar

from ..errors import (
    EngineError,
    ManifestInvalid,
    ObjectMissing,
)
from ..seal.signing import no_trusted_signer
from ..store.protocol import Store
from ..values.manifest import CataloguedManifest
from ..values.repository_names import (
    MANIFEST_SUFFIX,
    PART_LIST_SUFFIX,
    RETIREMENT_PREFIX,
    RETIREMENT_SUFFIX,
    BackupId,
    Series,
    encode_component,
    parse_manifest_key,
    parse_retirement_key,
    parse_series,
)
from ..values.retirement_json import RetiredBackup, merge_retired
from .identity import RepositoryIdentity, identity_problem, read_identity
from .signed_objects import CataloguedRecord, Place, ReadRecord, SignedReader

_T = TypeVar("_T")
_U = TypeVar("_U")
_AT_ONCE: Final = 1000
_MOST_LOOKS: Final = 5
"""How often a repository is listed, while something that was listed is gone when it is to be read."""


class SummaryCache(Protocol):
    """Remembers summaries, each with a stamp: as long as an object has it, it is the same as far as a listing shows."""

    def load(self, series: Series) -> Mapping[BackupId, tuple[str, CataloguedManifest]]:
        """What is remembered of ``series``; nothing if that is not certain."""

    def save(self, series: Series, entries: Mapping[BackupId, tuple[str, CataloguedManifest]]) -> None:
        """Remember this of ``series``, and nothing else. Never fails."""

    def keep_only(self, kept: Collection[Series], *, host: str | None) -> None:
        """Forget all series of ``host``, or of all hosts, but these. Never fails."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """``manifests``, as summaries, of the backups that are not retired, by host and dataset, then by number in their
    series; ``problems`` are those of single objects; ``records`` say what is retired, and ``retired_backups`` the same
    by series; ``hidden`` are manifests that are still there of what is retired. ``lone_lists`` are the ids of which
    there is a list of parts and no manifest."""

    manifests: tuple[CataloguedManifest, ...]
    problems: tuple[EngineError, ...]
    identity: RepositoryIdentity | None = None
    records: tuple[CataloguedRecord, ...] = ()
    retired_backups: Mapping[Series, tuple[RetiredBackup, ...]] = field(default_factory=dict)
    hidden: tuple[CataloguedManifest, ...] = ()
    lone_lists: Mapping[Series, frozenset[BackupId]] = field(default_factory=dict)

    def refused(self, series: Series) -> int:
        """How many manifests of ``series`` are there and were left out."""
        count = 0
        for problem in self.problems:
            with suppress(ManifestInvalid):
                count += parse_manifest_key(problem.subject)[0] == series
        return count

    def problems_of(self, series: Series) -> tuple[EngineError, ...]:
        """The problems of the objects of ``series``, and those that are of no series."""

        def concerns(problem: EngineError) -> bool:
            try:
                return parse_series(problem.subject) == series
            except ManifestInvalid:
                return True

        return tuple(problem for problem in self.problems if concerns(problem))

    def retired(self, series: Series) -> tuple[RetiredBackup, ...]:
        """The retired backups of ``series``, by number."""
        return self.retired_backups.get(series, ())

    def retired_by(self, signer: str, series: Series) -> list[BackupId]:
        """The backups of ``series`` that the records of ``signer`` retire, by number."""
        own = {one.place for found in self.records if found.signer == signer for one in found.record.backups}
        return [one.backup_id for one in self.retired(series) if one.place in own]

    def hidden_from(self, signer: str, series: Series) -> list[CataloguedManifest]:
        """The manifests of ``series`` that only records of others than ``signer`` hide: they show again as soon as
        nobody trusts those, so what they need has to stay."""
        own = set(self.retired_by(signer, series))
        found = (one for one in self.hidden if one.manifest.series == series)
        return [one for one in found if one.manifest.backup_id not in own]


def read_catalogue(  # noqa: PLR0913 - what is read, and who is believed
    store: Store,
    *,
    trusted: Sequence[str],
    host: str | None = None,
    dataset: str | None = None,
    recursive: bool = False,
    records_only: bool = False,
    allow_unsigned: bool = False,
    known: str | None = None,
    open_cache: Callable[[str], SummaryCache] | None = None,
    workers: int = 8,
) -> Catalogue:
    """All committed backups, of one ``host`` or one ``dataset`` (full name) if given; ``recursive``: and those of all
    datasets below it; ``records_only``: of one dataset the retirement records alone, by one listing, however many
    backups it has. ``known`` is the id that this machine remembers of the repository: another one, or none, is a
    problem. ``open_cache`` gives what is remembered of a repository (id) by those who trust the same signers: what the
    listing shows to be unchanged is taken from there, and proves nothing about the store.

    A manifest or retirement record that is damaged, that nobody trusted signed, or that stands under another key than
    its own is left out and reported. ``allow_unsigned`` is about manifests alone: a record that no trusted key proves
    retires nothing. Raises ``SignatureInvalid`` if no trusted signer is given at all, unless ``allow_unsigned``, and
    what the store raises if it does not answer.
    """
    if not trusted and not allow_unsigned:
        raise no_trusted_signer()
    prefix = _prefix(host, dataset) + (RETIREMENT_PREFIX if records_only else "")
    read = _Read()
    stop = threading.Event()
    store = store.until(stop)
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="catalogue") as pool, _set_by_failure(stop):
        for _look in range(_MOST_LOOKS):
            problems: list[EngineError] = []
            listed = _list(store, prefix, None if recursive else dataset, problems)
            has_manifests = any(one.manifests or one.records for one in listed.values())
            identity = _identity(store, problems, known=known, has_manifests=has_manifests)
            reader = SignedReader(store, identity, trusted, allow_unsigned=allow_unsigned)
            if identity and open_cache and trusted and not allow_unsigned:
                read.recall(open_cache(identity.repository_id), listed)
            manifest, record = _set_by_failure(stop)(reader.manifest), _set_by_failure(stop)(reader.record)
            read.manifests.update(_map(pool, manifest, read.missing_manifests(listed)))
            read.records.update(_map(pool, record, read.missing_records(listed)))
            # Somebody removes what is retired, or merges records: another look shows the record that says so.
            if not read.forget_gone():
                break
    if identity and open_cache and trusted and not allow_unsigned:
        read.remember(open_cache(identity.repository_id), listed)
        if dataset is None:
            open_cache(identity.repository_id).keep_only(listed, host=host)
    return _catalogue(listed, read, problems, identity)


def _map(pool: ThreadPoolExecutor, call: Callable[[_T], _U], things: Iterator[_T]) -> Iterator[_U]:
    """As ``pool.map``, which would keep a thousand bytes of each of ``things`` until the end."""
    while some := list(islice(things, _AT_ONCE)):
        yield from pool.map(call, some)


@contextmanager
def _set_by_failure(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` if the block raises anything: nobody waits then any more for a storage that is away."""
    try:
        yield
    except BaseException:
        stop.set()
        raise


@dataclass(slots=True)
class _Listed:
    """What is among the manifests of one series: the ids of manifests with their stamps, which are empty if the listing
    gives none, the keys of records, and the lengths of the lists of parts. A list without a manifest is being written
    or removed, or a killed run left it."""

    manifests: dict[BackupId, str] = field(default_factory=dict)
    records: list[str] = field(default_factory=list)
    list_bytes: dict[BackupId, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Read:
    """What was read so far. ``recalled`` is how much of it, of each series, a cache remembered."""

    manifests: dict[Place, CataloguedManifest | EngineError] = field(default_factory=dict)
    records: dict[str, ReadRecord] = field(default_factory=dict)
    recalled: dict[Series, tuple[int, int]] = field(default_factory=dict)

    def recall(self, cache: SummaryCache, listed: Mapping[Series, _Listed]) -> None:
        """Take from ``cache`` what the listing shows to be unchanged."""
        for series, there in listed.items():
            if series not in self.recalled:
                remembered = cache.load(series)
                used = 0
                for backup_id, (stamp, entry) in remembered.items():
                    if stamp and there.manifests.get(backup_id) == stamp:
                        self.manifests[series, backup_id] = entry
                        used += 1
                self.recalled[series] = used, len(remembered)

    def remember(self, cache: SummaryCache, listed: Mapping[Series, _Listed]) -> None:
        """Put what was read into ``cache``, where it is not there already."""
        for series, there in listed.items():
            entries = {
                backup_id: (stamp, found)
                for backup_id, stamp in there.manifests.items()
                if stamp and isinstance(found := self.manifests.get((series, backup_id)), CataloguedManifest)
            }
            if self.recalled.get(series) != (len(entries), len(entries)):
                cache.save(series, entries)

    def missing_manifests(self, listed: Mapping[Series, _Listed]) -> Iterator[Place]:
        """Those that are listed and were not read."""
        for series, there in listed.items():
            yield from ((series, one) for one in there.manifests if (series, one) not in self.manifests)

    def missing_records(self, listed: Mapping[Series, _Listed]) -> Iterator[str]:
        """As :meth:`missing_manifests`."""
        for there in listed.values():
            yield from (key for key in there.records if key not in self.records)

    def forget_gone(self) -> bool:
        """Forget what was gone when it was to be read, and return whether there was any."""
        gone = [place for place, one in self.manifests.items() if isinstance(one, ObjectMissing)]
        gone_records = [key for key, one in self.records.items() if isinstance(one, ObjectMissing)]
        for place in gone:
            del self.manifests[place]
        for key in gone_records:
            del self.records[key]
        return bool(gone or gone_records)


def _list(store: Store, prefix: str, dataset: str | None, problems: list[EngineError]) -> dict[Series, _Listed]:
    listed: dict[Series, _Listed] = {}
    for item in store.list(prefix):
        if not item.key.endswith((MANIFEST_SUFFIX, PART_LIST_SUFFIX, RETIREMENT_SUFFIX)):
            continue  # what file managers and copy programs leave
        try:
            if item.key.endswith(RETIREMENT_SUFFIX):
                series = parse_retirement_key(item.key)
            else:
                is_list = item.key.endswith(PART_LIST_SUFFIX)
                suffix = PART_LIST_SUFFIX if is_list else MANIFEST_SUFFIX
                series, backup_id = parse_manifest_key(item.key, suffix=suffix)
        except ManifestInvalid as error:
            problems.append(error)
            continue
        # The manifests of child datasets lie under the prefix of their parent.
        if dataset not in (None, series.dataset):
            continue
        there = listed.setdefault(series, _Listed())
        if item.key.endswith(RETIREMENT_SUFFIX):
            there.records.append(item.key)
        elif is_list:
            there.list_bytes[backup_id] = item.bytes
        else:
            there.manifests[backup_id] = f"{item.bytes} {item.version}" if item.version else ""
    return listed


def _catalogue(
    listed: Mapping[Series, _Listed],
    read: _Read,
    problems: list[EngineError],
    identity: RepositoryIdentity | None,
) -> Catalogue:
    manifests: list[CataloguedManifest] = []
    records: list[CataloguedRecord] = []
    for series, there in listed.items():
        for backup_id in there.manifests:
            found = read.manifests.get((series, backup_id))
            if isinstance(found, CataloguedManifest):
                is_there = there.list_bytes.get(backup_id) == found.manifest.list_bytes
                manifests.append(found if is_there else replace(found, has_part_list=False))
            elif found is not None:
                problems.append(found)
    for there in listed.values():
        for key in there.records:
            record = read.records.get(key)
            if isinstance(record, CataloguedRecord):
                records.append(record)
            elif record is not None:
                problems.append(record)
    named = {
        (found.record.repository_id, found.record.series, one.backup_id, one.manifest_sha256)
        for found in records
        for one in found.record.backups
    }
    hidden = tuple(found for found in manifests if _place_of(found) in named)
    if hidden:
        manifests = [found for found in manifests if _place_of(found) not in named]
    manifests.sort(key=_order)
    lone = {series: frozenset(there.list_bytes.keys() - there.manifests.keys()) for series, there in listed.items()}
    return Catalogue(
        tuple(manifests),
        tuple(problems),
        identity,
        tuple(records),
        _retired(records, manifests),
        hidden,
        {series: ids for series, ids in lone.items() if ids},
    )


def _order(found: CataloguedManifest) -> tuple[str, str, int, str]:
    manifest = found.manifest
    return manifest.series.host, manifest.series.dataset, manifest.seq, manifest.backup_id


def _place_of(found: CataloguedManifest) -> tuple[str, Series, BackupId, str]:
    manifest = found.manifest
    return manifest.repository_id, manifest.series, manifest.backup_id, found.payload_sha256


def _retired(
    records: Sequence[CataloguedRecord], manifests: Sequence[CataloguedManifest]
) -> dict[Series, tuple[RetiredBackup, ...]]:
    """What ``records`` retire. One that names another manifest than the one that is there retires nothing."""
    there = {(found.manifest.series, found.manifest.backup_id) for found in manifests}
    groups: dict[Series, list[tuple[RetiredBackup, ...]]] = {}
    for found in records:
        groups.setdefault(found.record.series, []).append(found.record.backups)
    return {
        series: tuple(one for one in merge_retired(*group) if (series, one.backup_id) not in there)
        for series, group in groups.items()
    }


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
