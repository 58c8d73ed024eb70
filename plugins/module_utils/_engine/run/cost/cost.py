# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Says what a repository costs in a month, by storage class, level, dataset and host; what removing all of it now would
cost; and what the policy will have left in a month and in a year, and what that will cost. Changes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from ...config.tasks import policies_for
from ...errors import EngineError, ManifestInvalid, UsageError
from ...plan.cost_forecast import MadeBackup, foresee
from ...plan.price_list import PriceList, price_list
from ...plan.retention import StoredParts, Sums, early_fee
from ...repository.catalogue import Catalogue, read_catalogue
from ...repository.listed_objects import Listed, ListedClass
from ...state.catalogue_cache import CatalogueCache
from ...store.protocol import Store, StoredObject
from ...values.manifest import CataloguedManifest
from ...values.repository_names import (
    BackupId,
    Series,
    encode_component,
    level_of,
    parse_backup_id,
    parse_series,
    time_of,
)
from ..context import Context

DAYS_AHEAD: Final = (30, 365)


@dataclass(slots=True)
class Cost:
    """Objects, and what they cost in a month: ``None`` if a price is unknown."""

    objects: int = 0
    bytes: int = 0
    month_price: float | None = 0.0

    def add(self, other: Cost) -> None:
        """Add those of ``other``."""
        self.objects += other.objects
        self.bytes += other.bytes
        known = self.month_price is not None and other.month_price is not None
        self.month_price = (self.month_price or 0) + (other.month_price or 0) if known else None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"objects": self.objects, "bytes": self.bytes, "month_price": _cents(self.month_price)}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What will be there in so many ``days``, and what it will cost in a month then."""

    days: int
    backups: int
    bytes: int
    month_price: float | None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "days": self.days,
            "backups": self.backups,
            "bytes": self.bytes,
            "month_price": _cents(self.month_price),
        }


@dataclass(frozen=True, slots=True)
class CostReport:
    """What a repository costs. ``parts`` are sums by ``storage_class``, ``level``, ``dataset`` and ``host``; ``other``
    is what belongs to no backup that a trusted signer proves. ``early_fee`` is what removing everything now would cost.
    ``not_foreseen`` are the series that no outlook counts: too young to tell, or damaged. ``unpriced`` are the classes
    without a known price. ``most`` is what a month may cost."""

    prices: PriceList
    total: Cost
    parts: Mapping[str, Mapping[str, Cost]]
    other: Cost
    early_fee: float | None
    outlooks: tuple[Outlook, ...]
    not_foreseen: tuple[Series, ...]
    unpriced: tuple[str, ...]
    problems: tuple[EngineError, ...]
    most: float | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """That a month costs more than it may, now or as foreseen, or that nobody knows."""
        if self.most is None:
            return ()
        if self.unpriced:
            return (
                f"Whether a month costs more than {self.most:.2f} is not known. Give a price of "
                f"{', '.join(self.unpriced)} under `prices` in the configuration",
            )
        months = [("now", self.total.month_price)]
        months += [(f"in {one.days} days", one.month_price) for one in self.outlooks]
        return tuple(
            f"What a month costs {when} is {price:.2f}, more than {self.most:.2f}"
            for when, price in months
            if price is not None and price > self.most
        )[:1]

    @property
    def exit_code(self) -> int:
        """0, or the exit code of the worst problem; 4 for warnings."""
        return max((problem.exit_code for problem in self.problems), default=4 if self.warnings else 0)

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "exit_code": self.exit_code,
            "prices": self.prices.as_json(),
            "total": self.total.as_json(),
            "parts": {
                kind: [{"name": name} | cost.as_json() for name, cost in costs.items()]
                for kind, costs in self.parts.items()
            },
            "other": self.other.as_json(),
            "early_fee": _cents(self.early_fee),
            "outlooks": [one.as_json() for one in self.outlooks],
            "not_foreseen": [{"host": one.host, "dataset": one.dataset} for one in self.not_foreseen],
            "unpriced": list(self.unpriced),
            "problems": [problem.facts() for problem in self.problems],
            "warnings": list(self.warnings),
        }


def cost_of_repository(context: Context, *, host: str | None = None, most: float | None = None) -> CostReport:
    """What the repository costs, or what the machine ``host`` has in it, with a warning if that is more than ``most`` a
    month. Reads manifests, as a list does, and lists all objects once. Raises :class:`UsageError`, ``SignatureInvalid``
    if nobody is trusted, and what the store raises."""
    if most is not None and not 0 <= most < math.inf:
        raise UsageError(
            f"{most} is no price", subject=str(most), next_step="Say what a month may cost at most, such as 25"
        )
    trusted = context.trusted_signers()
    prices = price_list(context.config)
    now = context.clock()
    with closing(context.store_to_look_at()) as store:
        catalogue = read_catalogue(
            store,
            trusted=trusted,
            host=host,
            known=context.known_id,
            open_cache=lambda repository_id: CatalogueCache(
                context.base_dir, repository_id=repository_id, trusted=trusted
            ),
        )
        tally = _Tally(prices, now, {one.manifest.backup_id for one in catalogue.manifests})
        for item in _objects(store, host):
            tally.add(item)
    outlooks, not_foreseen = _outlooks(context, catalogue, tally, now)
    return CostReport(
        prices=prices,
        total=tally.sum_by(lambda _key: "").get("", Cost()),
        parts={
            "storage_class": tally.sum_by(lambda key: key.storage_class),
            "level": tally.sum_by(lambda key: "-" if key.level is None else str(key.level)),
            "dataset": tally.sum_by(lambda key: f"{key.host}:{key.dataset}"),
            "host": tally.sum_by(lambda key: key.host),
        },
        other=tally.sum_by(lambda key: "" if key.listed else "other").get("other", Cost()),
        early_fee=tally.early_fee,
        outlooks=outlooks,
        not_foreseen=not_foreseen,
        unpriced=tuple(name for name, cost in tally.sum_by(_class_of).items() if cost.month_price is None),
        problems=catalogue.problems,
        most=most,
    )


class _Key(NamedTuple):
    """What objects are added up by. ``level`` is ``None`` for what is of no backup."""

    host: str
    dataset: str
    level: int | None
    storage_class: str
    listed: bool


def _class_of(key: _Key) -> str:
    return key.storage_class


@dataclass
class _Tally:
    """What a listing adds up to. ``listed`` are the backups of the catalogue."""

    prices: PriceList
    now: datetime
    listed: set[BackupId]
    early_fee: float | None = 0.0
    sums: dict[_Key, ListedClass] = field(default_factory=dict)
    backups: dict[BackupId, Listed] = field(default_factory=dict)

    def add(self, item: StoredObject) -> None:
        directory, _slash, name = item.key.rpartition("/")
        series, backup_id = _owner(directory, name)
        storage_class = item.storage_class
        billed = self.prices.billed_bytes(storage_class, item.bytes)
        level = level_of(backup_id) if backup_id else None
        key = _Key(series.host, series.dataset, level, storage_class, backup_id in self.listed)
        self.sums.setdefault(key, ListedClass()).add(item, billed)
        if backup_id is not None and key.listed:
            self.backups.setdefault(backup_id, Listed()).add(item, self.prices)
        if item.modified is not None and self.early_fee is not None:
            fee = early_fee((StoredParts(storage_class, 1, billed, item.modified),), self.prices, self.now)
            self.early_fee = None if fee is None else self.early_fee + fee

    def sum_by(self, name_of: Callable[[_Key], str]) -> dict[str, Cost]:
        """The sums by what ``name_of`` says, in its order."""
        found: dict[str, Cost] = {}
        for key, stored in self.sums.items():
            price = self.prices.month_price(key.storage_class, billed_bytes=stored.billed_bytes, objects=stored.objects)
            found.setdefault(name_of(key), Cost()).add(Cost(stored.objects, stored.bytes, price))
        return dict(sorted(found.items()))


def _objects(store: Store, host: str | None) -> Iterator[StoredObject]:
    for kind in ("data/", "manifests/"):
        yield from store.list(kind if host is None else f"{kind}{encode_component(host)}/")


def _owner(directory: str, name: str) -> tuple[Series, BackupId | None]:
    """The series and the backup that an object is of."""
    if directory.startswith("data/"):
        return _owner_of_parts(directory)
    series = Series("", "")
    with suppress(ManifestInvalid):
        series = parse_series(f"{directory}/{name}")
    return series, _backup_id(name.partition(".")[0])


@lru_cache(maxsize=1024)
def _owner_of_parts(directory: str) -> tuple[Series, BackupId | None]:
    """Remembered, since a listing shows one backup after the other."""
    _data, *pieces = map(unquote, directory.split("/"))
    return Series(pieces[0], "/".join(pieces[1:-2])), _backup_id(pieces[-1])


def _backup_id(text: str) -> BackupId | None:
    try:
        return parse_backup_id(text)
    except UsageError:
        return None


def _outlooks(
    context: Context, catalogue: Catalogue, tally: _Tally, now: datetime
) -> tuple[tuple[Outlook, ...], tuple[Series, ...]]:
    by_series: dict[Series, list[CataloguedManifest]] = {}
    for found in catalogue.manifests:
        by_series.setdefault(found.manifest.series, []).append(found)
    sums: dict[int, list[Sums]] = {days: [] for days in DAYS_AHEAD}
    not_foreseen: list[Series] = []
    for series, manifests in by_series.items():
        backups = [tally.backups.get(one.manifest.backup_id, Listed()).as_backup(one.manifest) for one in manifests]
        history = _history(catalogue, series, manifests)
        policies = policies_for(context.config, series.dataset)
        try:
            for days in DAYS_AHEAD:
                at = now + timedelta(days=days)
                left = foresee(series, backups, history, policies, now=now, at=at, prices=tally.prices)
                if left is None:
                    not_foreseen.append(series)
                    break
                sums[days].append(left)
        except EngineError:  # the catalogue or `zrb verify` names it
            not_foreseen.append(series)
    return tuple(_outlook(days, found) for days, found in sums.items()), tuple(not_foreseen)


def _outlook(days: int, found: Iterable[Sums]) -> Outlook:
    total = Cost()
    for one in found:
        total.add(Cost(one.backups, one.bytes, one.month_price))
    return Outlook(days, total.objects, total.bytes, total.month_price)


def _history(catalogue: Catalogue, series: Series, manifests: Sequence[CataloguedManifest]) -> list[MadeBackup]:
    """All backups of ``series`` that were made, those too that are retired: of them, the id says when."""
    retired = (one.backup_id for one in catalogue.retired(series))
    return [
        *(MadeBackup(one.manifest.level, one.manifest.created) for one in manifests),
        *(MadeBackup(level_of(one), time_of(one)) for one in retired),
    ]


def _cents(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)
