# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lists the committed backups of a repository, and whether they can be read now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from ...config.tasks import as_tasks, common_root, covered_by_any
from ...errors import BackupsVanished, ChainBroken, EngineError, PartMissing, UsageError
from ...plan.chain import check_series, walk_chain
from ...repository.catalogue import Catalogue, read_catalogue
from ...state.catalogue_cache import CatalogueCache
from ...state.highest_seen import read_head, series_seen
from ...store.protocol import Store
from ...values.config import Task
from ...values.json_records import write_time
from ...values.manifest import BackupSummary, Base, CataloguedManifest
from ...values.repository_names import BackupId, Series, part_index
from ..context import Context

ALL_HOSTS = "*"


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """One committed backup. ``signer`` is the trusted key that signed it, or ``None``; ``storage_class`` names the
    classes that its parts are in now, joined by ``+`` if they differ. ``complete`` says whether all parts and lists of
    parts of its chain exist; ``readable``, whether in addition none of them must be thawed first."""

    backup_id: BackupId
    host: str
    dataset: str
    level: int
    level_requested: int
    base: Base | None
    chain: BackupId
    seq: int
    created: datetime
    snapshot: str
    snapshot_guid: str
    snapshot_creation: datetime
    stream_bytes: int
    stored_bytes: int
    parts: int
    missing_parts: int
    storage_class: str
    complete: bool
    readable: bool
    signer: str | None

    def as_json(self) -> dict[str, Any]:
        """The entry for machines."""
        base = self.base
        return {
            "backup_id": self.backup_id,
            "host": self.host,
            "dataset": self.dataset,
            "level": self.level,
            "level_requested": self.level_requested,
            "base": {"backup_id": base.backup_id, "snapshot": base.snapshot, "guid": base.guid} if base else None,
            "chain": self.chain,
            "seq": self.seq,
            "created": write_time(self.created),
            "snapshot": self.snapshot,
            "snapshot_guid": self.snapshot_guid,
            "snapshot_creation": write_time(self.snapshot_creation),
            "stream_bytes": self.stream_bytes,
            "stored_bytes": self.stored_bytes,
            "parts": self.parts,
            "missing_parts": self.missing_parts,
            "storage_class": self.storage_class,
            "complete": self.complete,
            "readable": self.readable,
            "signer": self.signer,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """Backups by dataset, oldest first, and problems: manifests that could not be listed, backups that are not
    complete, backups that vanished. ``answer`` is the result of the JMESPath query, if there was one."""

    entries: tuple[ListedBackup, ...]
    problems: tuple[EngineError, ...]
    answer: Any = None

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the worst problem."""
        return max((problem.exit_code for problem in self.problems), default=0)

    def as_json(self) -> dict[str, Any]:
        """The document that a query is applied to."""
        return {
            "exit_code": self.exit_code,
            "entries": [entry.as_json() for entry in self.entries],
            "problems": [problem.facts() for problem in self.problems],
        }


def list_backups(
    context: Context,
    *,
    task: Task | Sequence[Task] | None = None,
    level: int | None = None,
    host: str | None = None,
    query: str | None = None,
) -> Listing:
    """List the committed backups of the repository.

    ``task`` limits the list to the datasets of one or several tasks. ``host`` names another machine than this one, or
    all with ``*``. Without a trusted signer, everything is listed and nothing counts as signed. Raises
    :class:`UsageError` for a query that is not JMESPath, and what the store raises.
    """
    ask = compile_query(query) if query is not None else None
    trusted = context.trusted_signers()
    tasks = as_tasks(task)
    dataset, recursive = common_root(tasks)
    store = context.store_to_look_at()
    try:
        catalogue = read_catalogue(
            store,
            trusted=trusted,
            host=None if host == ALL_HOSTS else host or context.config.host,
            dataset=dataset,
            recursive=recursive,
            allow_unsigned=not trusted,
            known=context.known_id,
            open_cache=lambda repository_id: CatalogueCache(
                context.base_dir, repository_id=repository_id, trusted=trusted
            ),
        )
        chosen = [
            found
            for found in catalogue.manifests
            if (level is None or found.manifest.level == level) and covered_by_any(tasks, found.manifest.dataset.name)
        ]
        chains = _chains(chosen, catalogue.manifests)
        needed = _look_at_parts(store, chains)
        location = store.location
    finally:
        store.close()
    problems = [
        *catalogue.problems,
        *(chain.broken for chain in chains if chain.broken),
        *(_incomplete(parts, location) for parts in needed if not parts.whole),
        *_losses(context, catalogue, tasks, host=None if host == ALL_HOSTS else host or context.config.host),
    ]
    listing = Listing(tuple(map(_entry, chains)), tuple(problems))
    return Listing(listing.entries, listing.problems, ask(listing.as_json())) if ask else listing


_NO_CLASS: frozenset[str] = frozenset()


@cache
def _with(classes: frozenset[str], one: str) -> frozenset[str]:
    """``classes`` and ``one``: the same object for the same classes, since there are many backups and few classes."""
    return classes | {one}


@dataclass(slots=True)
class _StoredParts:
    """What a listing shows about the parts of one backup."""

    of: CataloguedManifest
    count: int = 0
    classes: frozenset[str] = _NO_CLASS
    readable: bool = True

    @property
    def missing(self) -> int:
        return self.of.manifest.part_count - self.count

    @property
    def whole(self) -> bool:
        return self.of.has_part_list and not self.missing


@dataclass(frozen=True, slots=True)
class _Chain:
    """The known backups that one needs, itself the last, and the error if they are not a complete chain."""

    links: tuple[_StoredParts, ...]
    broken: ChainBroken | None = None


def _chains(chosen: Iterable[CataloguedManifest], known: Iterable[CataloguedManifest]) -> list[_Chain]:
    """The chain of each of ``chosen``."""
    summaries: dict[Series, dict[BackupId, BackupSummary]] = {}
    parts: dict[Series, dict[BackupId, _StoredParts]] = {}
    for one in known:
        summaries.setdefault(one.manifest.series, {})[one.manifest.backup_id] = one.manifest
        parts.setdefault(one.manifest.series, {})[one.manifest.backup_id] = _StoredParts(one)
    chains = []
    for one in chosen:
        of_series = parts[one.manifest.series]
        try:
            links = walk_chain(one.manifest, summaries[one.manifest.series])
            chains.append(_Chain(tuple(of_series[link.backup_id] for link in links)))
        except ChainBroken as error:
            chains.append(_Chain((of_series[one.manifest.backup_id],), error))
    return chains


def _look_at_parts(store: Store, chains: Sequence[_Chain]) -> list[_StoredParts]:
    """Fill in what a listing shows about the parts of each link, and return all links. Makes one listing per series and
    level, with a thousand objects per request: one request per part would take hours."""
    of_level: dict[tuple[Series, int], dict[BackupId, _StoredParts]] = {}
    for link in (link for chain in chains for link in chain.links):
        summary = link.of.manifest
        of_level.setdefault((summary.series, summary.level), {})[summary.backup_id] = link
    by_prefix = {_above(series.data_prefix(min(links), level)): links for (series, level), links in of_level.items()}
    done = "/"
    for prefix in sorted(by_prefix):
        if prefix.startswith(done):
            continue  # listed already, with a dataset named like a level
        done = prefix
        for item in store.list(prefix):
            directory, _slash, name = item.key.rpartition("/")
            above, _slash, backup_id = directory.rpartition("/")
            found = by_prefix.get(f"{above}/", {}).get(BackupId(backup_id))
            index = part_index(name)
            if found is not None and index is not None and index < found.of.manifest.part_count:
                found.count += 1
                found.classes = _with(found.classes, item.storage_class)
                found.readable = found.readable and item.readable
    return [link for links in of_level.values() for link in links.values()]


def _above(path: str) -> str:
    """The directory above ``path``, with a slash."""
    return path[: path.rindex("/", 0, -1) + 1]


def _incomplete(stored: _StoredParts, location: str) -> PartMissing:
    manifest, missing = stored.of.manifest, stored.missing
    name = f"backup {manifest.backup_id} of {manifest.dataset.name}"
    return PartMissing(
        f"{missing} of {manifest.part_count} parts of {name} are not in {location}"
        if missing
        else f"The list of parts of {name} is not in {location}, or has another length",
        subject=manifest.backup_id,
        next_step="Neither it nor backups based on it can be restored: `zrb verify --depth exists` names what is "
        "missing; make a new full backup",
    )


def _losses(
    context: Context, catalogue: Catalogue, tasks: Sequence[Task], *, host: str | None
) -> list[BackupsVanished]:
    """Backups that this machine has seen, that are gone, and whose loss nobody accepted."""
    if catalogue.identity is None:
        return []  # that is a problem already, and a worse one
    repository_id = catalogue.identity.repository_id
    shown: dict[Series, list[CataloguedManifest]] = {
        series: [] for series in series_seen(context.base_dir, repository_id, host)
    }
    for found in catalogue.manifests:
        shown.setdefault(found.manifest.series, []).append(found)
    losses = []
    for series, entries in shown.items():
        if covered_by_any(tasks, series.dataset):
            head = read_head(context.base_dir, repository_id, series)
            known = check_series(
                entries,
                catalogue.retired(series),
                highest_seen=head.seq,
                refused=catalogue.refused(series),
            )
            losses += [loss.error(series) for loss in known if loss.key not in head.accepted]
    return losses


def _entry(chain: _Chain) -> ListedBackup:
    own = chain.links[-1]
    manifest = own.of.manifest
    complete = chain.broken is None and all(link.whole for link in chain.links)
    return ListedBackup(
        backup_id=manifest.backup_id,
        host=manifest.series.host,
        dataset=manifest.series.dataset,
        level=manifest.level,
        level_requested=manifest.level_requested,
        base=manifest.base,
        chain=manifest.chain,
        seq=manifest.seq,
        created=manifest.created,
        snapshot=manifest.snapshot.name,
        snapshot_guid=manifest.snapshot.guid,
        snapshot_creation=manifest.snapshot.creation,
        stream_bytes=manifest.stream_bytes,
        stored_bytes=manifest.stored_bytes,
        parts=manifest.part_count,
        missing_parts=own.missing,
        storage_class="+".join(sorted(own.classes)) or "-",
        complete=complete,
        readable=complete and all(link.readable for link in chain.links),
        signer=own.of.signer,
    )


def compile_query(query: str) -> Callable[[Any], Any]:
    """The JMESPath ``query`` as a function of the document. Raises :class:`UsageError` if it is not JMESPath; the
    function raises it if the query does not fit the document."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    def unusable(error: JMESPathError) -> UsageError:
        return UsageError(
            f"The query {query!r} cannot be applied",
            subject=query,
            answer=str(error),
            next_step="Write it as JMESPath (jmespath.org), e.g. entries[?level==`0`].backup_id",
        )

    try:
        compiled = jmespath.compile(query)
    except JMESPathError as error:
        raise unusable(error) from error

    def ask(document: Any) -> Any:
        try:
            return compiled.search(document)
        except JMESPathError as error:
            raise unusable(error) from error

    return ask
