# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The committed backups of a repository, and whether they can be read now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...config.tasks import as_tasks, covered_by_any
from ...errors import EngineError, UsageError
from ...repository.catalogue import read_catalogue
from ...store.protocol import Store, StoredObject
from ...values.config import Task
from ...values.json_records import write_time
from ...values.manifest import Base, CataloguedManifest
from ...values.repository import BackupId, Series
from ..context import Context

ALL_HOSTS = "*"


@dataclass(frozen=True, slots=True)
class ListedBackup:
    """One committed backup. ``signer`` is the trusted key that signed it, or ``None``; ``storage_class`` names the
    classes that its parts are in now, joined by ``+`` if they differ; ``readable`` says whether all parts are
    there and none must be thawed first."""

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
            "readable": self.readable,
            "signer": self.signer,
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """Backups by dataset, oldest first, and what was wrong with manifests that could not be listed. ``answer`` is
    the result of the JMESPath query, if there was one."""

    entries: tuple[ListedBackup, ...]
    problems: tuple[EngineError, ...]
    answer: Any = None

    @property
    def exit_code(self) -> int:
        """0, or that of the worst problem."""
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
    """What is committed in the repository.

    ``task`` limits to the datasets of one or several tasks, ``host`` names another machine than this one, or all
    with ``*``. Without a trusted signer everything is listed and nothing counts as signed. Raises
    :class:`UsageError` for a query that is no JMESPath, and what the store raises.
    """
    ask = compile_query(query) if query is not None else None
    trusted = context.trusted_signers()
    tasks = as_tasks(task)
    store = context.open_store()
    try:
        catalogue = read_catalogue(
            store,
            trusted=trusted,
            host=None if host == ALL_HOSTS else host or context.config.host,
            allow_unsigned=not trusted,
            known=context.known_id,
        )
        chosen = [
            found
            for found in catalogue.manifests
            if (level is None or found.manifest.level == level) and covered_by_any(tasks, found.manifest.dataset.name)
        ]
        stored = _stored_parts(store, {found.manifest.series for found in chosen})
    finally:
        store.close()
    listing = Listing(tuple(_entry(found, stored) for found in chosen), catalogue.problems)
    return Listing(listing.entries, listing.problems, ask(listing.as_json())) if ask else listing


def _stored_parts(store: Store, series: Iterable[Series]) -> dict[str, StoredObject]:
    # One listing a series, a thousand objects a request: asking for every part by itself would take hours.
    return {item.key: item for series in series for item in store.list(f"data/{series.path}/")}


def _entry(found: CataloguedManifest, stored: dict[str, StoredObject]) -> ListedBackup:
    manifest = found.manifest
    present = [stored[part.key] for part in manifest.parts if part.key in stored]
    missing = len(manifest.parts) - len(present)
    return ListedBackup(
        backup_id=manifest.backup_id,
        host=manifest.host,
        dataset=manifest.dataset.name,
        level=manifest.level,
        level_requested=manifest.level_requested,
        base=manifest.base,
        chain=manifest.chain,
        seq=manifest.seq,
        created=manifest.created,
        snapshot=manifest.snapshot.name,
        snapshot_guid=manifest.snapshot.guid,
        snapshot_creation=manifest.snapshot.creation,
        stream_bytes=manifest.stream.bytes,
        stored_bytes=manifest.stored_bytes,
        parts=len(manifest.parts),
        missing_parts=missing,
        storage_class="+".join(sorted({item.storage_class for item in present})) or "-",
        readable=missing == 0 and all(item.readable for item in present),
        signer=found.signer,
    )


def compile_query(query: str) -> Callable[[Any], Any]:
    """The JMESPath ``query`` as a function of the document. Raises :class:`UsageError` if it is none, or, when
    called, if it does not fit."""
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
