# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decides which backups of a series stay, which go, and which go later: by the rules of its owner, by their chains, and
by what the store allows or charges. Deletes nothing: see ``run/cleanup``.

Whatever order backups are removed in, and whoever stops in the middle, no backup that stays loses a base. Plans are
stable: a plan for what a plan has left removes nothing more until time passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ..values.json_records import write_time
from ..values.manifest import BackupSummary
from ..values.repository_names import BackupId, Series
from ..values.retention import Retention
from .chain import base_of, oldest_first
from .price_list import MONTH_DAYS, PriceList

ABANDONED_AFTER = timedelta(days=7)
"""How much younger a backup has to be than what an unfinished one wrote last. The clocks of a machine and of its store
differ by less."""
_PERIODS: Mapping[str, Callable[[datetime], object]] = {
    "keep_hourly": lambda local: (local.date(), local.hour, local.utcoffset()),  # an hour that clocks repeat is two
    "keep_daily": lambda local: local.date(),
    "keep_weekly": lambda local: local.isocalendar()[:2],
    "keep_monthly": lambda local: (local.year, local.month),
    "keep_yearly": lambda local: local.year,
}


@dataclass(frozen=True, slots=True)
class StoredParts:
    """The parts of one backup that are in one storage class: how many, the bytes that they are billed as, and when the
    youngest of them was written."""

    storage_class: str
    objects: int
    billed_bytes: int
    written: datetime


@dataclass(frozen=True, slots=True)
class StoredBackup:
    """A committed backup, and what the store says about its parts."""

    manifest: BackupSummary
    parts: tuple[StoredParts, ...]
    locked_until: datetime | None = None
    """By Object Lock."""
    legal_hold: bool = False


@dataclass(frozen=True, slots=True)
class PlannedBackup:
    """What becomes of one backup, and why.

    ``rules`` are those that keep it: names of the configuration, and ``newest``, ``legal_hold``, ``no_policy``. Kept
    without a rule, it is ``needed_by`` a younger one. One that goes ``later`` does so ``until`` that time, because of
    ``obstacle`` (``object_lock``, ``minimum_duration``), or because one that goes later needs it. ``month_price`` is
    what its parts cost in a month, and ``early_fee`` what removing them now costs at most; ``None`` if a price is
    unknown.
    """

    manifest: BackupSummary
    fate: Literal["keep", "later", "remove"]
    rules: tuple[str, ...]
    needed_by: BackupId | None
    until: datetime | None
    obstacle: str
    month_price: float | None
    early_fee: float | None

    @property
    def bytes(self) -> int:
        """Of its parts, and of the list of them."""
        return self.manifest.stored_bytes + self.manifest.list_bytes

    def as_json(self) -> dict[str, Any]:
        """The entry for machines."""
        return {
            "backup_id": self.manifest.backup_id,
            "level": self.manifest.level,
            "snapshot_creation": write_time(self.manifest.snapshot.creation),
            "bytes": self.bytes,
            "fate": self.fate,
            "rules": list(self.rules),
            "needed_by": self.needed_by,
            "until": write_time(self.until) if self.until else None,
            "obstacle": self.obstacle,
            "month_price": _cents(self.month_price),
            "early_fee": _cents(self.early_fee),
        }


@dataclass(frozen=True, slots=True)
class Sums:
    """How many backups have one fate, their bytes, and their prices."""

    backups: int
    bytes: int
    month_price: float | None
    early_fee: float | None

    def as_json(self) -> dict[str, Any]:
        """The sums for machines."""
        return {
            "backups": self.backups,
            "bytes": self.bytes,
            "month_price": _cents(self.month_price),
            "early_fee": _cents(self.early_fee),
        }


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """What becomes of each backup of a series, the oldest snapshot first."""

    series: Series
    policy: str
    backups: tuple[PlannedBackup, ...]

    @property
    def removals(self) -> tuple[PlannedBackup, ...]:
        """Those that go now."""
        return tuple(one for one in self.backups if one.fate == "remove")

    def as_json(self) -> dict[str, Any]:
        """The plan for machines."""
        return {
            "host": self.series.host,
            "dataset": self.series.dataset,
            "policy": self.policy,
            "backups": [one.as_json() for one in self.backups],
        }


def plan_series(
    series: Series,
    backups: Sequence[StoredBackup],
    policies: Sequence[Retention],
    *,
    now: datetime,
    prices: PriceList,
    hidden: Iterable[BackupSummary] = (),
    pay_early_deletion: bool = False,
) -> SeriesPlan:
    """Plan for all ``backups`` of ``series``. What any of ``policies`` keeps is kept; without any, everything is.
    ``hidden`` are no backups at the moment, but what they are based on stays.

    Unless ``pay_early_deletion``, nothing goes before the shortest time for which its storage class is charged, as
    ``prices`` say. Raises ``ChainBroken`` if a base is missing or does not fit.
    """
    by_id = {one.manifest.backup_id: one.manifest for one in backups}
    bases = {backup_id: base_of(manifest, by_id) for backup_id, manifest in by_id.items()}
    ordered = sorted(backups, key=lambda one: _age_key(one.manifest))
    rules = _rules(ordered, policies)
    # A base has a lower level than what is based on it: so all that need a backup come before it.
    from_the_top = sorted(backups, key=lambda one: (one.manifest.level, *_age_key(one.manifest)), reverse=True)
    needed_by = {one.base.backup_id: one.backup_id for one in hidden if one.base and one.base.backup_id in by_id}
    for one in from_the_top:
        own_id, base = one.manifest.backup_id, bases[one.manifest.backup_id]
        if base is not None and (own_id in rules or own_id in needed_by):
            needed_by.setdefault(base.backup_id, own_id)
    kept = rules.keys() | needed_by.keys()
    until: dict[BackupId, datetime] = {}
    obstacles: dict[BackupId, str] = {}
    for one in from_the_top:
        own_id, base = one.manifest.backup_id, bases[one.manifest.backup_id]
        if own_id in kept:
            continue
        for obstacle, moment in _obstacles(one, None if pay_early_deletion else prices):
            if moment > max(now, until.get(own_id, now)):
                until[own_id], obstacles[own_id] = moment, obstacle
                needed_by.pop(own_id, None)
        if base is None or base.backup_id in kept or own_id not in until:
            continue
        if until[own_id] > until.get(base.backup_id, now):
            until[base.backup_id], needed_by[base.backup_id] = until[own_id], own_id

    def planned(one: StoredBackup) -> PlannedBackup:
        own_id = one.manifest.backup_id
        return PlannedBackup(
            manifest=one.manifest,
            fate="keep" if own_id in kept else "later" if own_id in until else "remove",
            rules=tuple(rules.get(own_id, ())),
            needed_by=None if own_id in rules else needed_by.get(own_id),
            until=until.get(own_id),
            obstacle=obstacles.get(own_id, ""),
            month_price=_month_price(one.parts, prices),
            early_fee=early_fee(one.parts, prices, now),
        )

    told = " or ".join(dict.fromkeys(map(str, policies))) or "none: no task covers this dataset"
    return SeriesPlan(series, told, tuple(planned(one) for one in ordered))


def is_abandoned(level: int, written: datetime, backups: Iterable[StoredBackup]) -> bool:
    """Whether no run goes on with an unfinished backup of this ``level`` whose youngest object was ``written`` then: a
    younger snapshot is backed up, at the same level or a lower one, and a run gives up what that supersedes.

    Runs of one dataset follow one another, so what is being uploaded now is superseded by none."""
    return any(
        min(one.manifest.snapshot.creation, max((parts.written for parts in one.parts), default=written))
        >= written + ABANDONED_AFTER
        for one in backups
        if one.manifest.level <= level
    )


def sum_up(backups: Iterable[PlannedBackup]) -> Sums:
    """The sums over ``backups``. A price is unknown as soon as one is."""
    count = size = 0
    price: float | None = 0.0
    fee: float | None = 0.0
    for one in backups:
        count, size = count + 1, size + one.bytes
        price = None if price is None or one.month_price is None else price + one.month_price
        fee = None if fee is None or one.early_fee is None else fee + one.early_fee
    return Sums(count, size, price, fee)


def _age_key(manifest: BackupSummary) -> tuple[datetime, int, int]:
    # Facts of the backup alone: the order of those that stay is not changed by those that go.
    return manifest.snapshot.creation, manifest.snapshot.createtxg, manifest.seq


def _rules(ordered: Sequence[StoredBackup], policies: Sequence[Retention]) -> dict[BackupId, list[str]]:
    """The rules that keep backups, by the backups that any keeps. ``ordered`` begins with the oldest."""
    found: dict[BackupId, list[str]] = {}

    def keep(manifest: BackupSummary, rule: str) -> None:
        names = found.setdefault(manifest.backup_id, [])
        if rule not in names:
            names.append(rule)

    manifests = [one.manifest for one in ordered]
    if not policies:
        return {manifest.backup_id: ["no_policy"] for manifest in manifests}
    for policy in policies:
        for rule, manifest in _kept_by(policy, manifests):
            keep(manifest, rule)
    for one in ordered:
        if one.legal_hold:
            keep(one.manifest, "legal_hold")
    # The one that a restore takes, and the last of the series: it decides between datasets that had the same name.
    for manifest in (*oldest_first(manifests)[-1:], *sorted(manifests, key=lambda one: one.seq)[-1:]):
        if manifest.backup_id not in found:
            keep(manifest, "newest")
    return found


def _kept_by(policy: Retention, manifests: Sequence[BackupSummary]) -> Iterator[tuple[str, BackupSummary]]:
    """Each rule of ``policy`` with each backup that it keeps. ``manifests`` begin with the oldest."""
    if policy.keeps_all:
        yield from (("never", manifest) for manifest in manifests)
        return
    newest_first = manifests[::-1]
    yield from (("keep_last", manifest) for manifest in newest_first[: policy.keep_last])
    if policy.keep_within_s and newest_first:
        # Counted from the newest one, since else everything would go when backups have stopped.
        oldest = newest_first[0].snapshot.creation - timedelta(seconds=policy.keep_within_s)
        yield from (("keep_within", one) for one in newest_first if one.snapshot.creation >= oldest)
    zone: tzinfo = UTC if policy.time_zone == "UTC" else ZoneInfo(policy.time_zone)
    local = [one.snapshot.creation.astimezone(zone) for one in newest_first]
    for rule, period_of in _PERIODS.items():
        seen: set[object] = set()
        for moment, manifest in zip(local, newest_first, strict=True):
            if len(seen) == getattr(policy, rule):
                break
            period = period_of(moment)
            if period not in seen:
                seen.add(period)
                yield rule, manifest


def _obstacles(one: StoredBackup, prices: PriceList | None) -> Iterator[tuple[str, datetime]]:
    if one.locked_until is not None:
        yield "object_lock", one.locked_until
    if prices is not None:
        yield from (("minimum_duration", until) for _parts, until in _charged_until(one.parts, prices))


def _charged_until(stored: Iterable[StoredParts], prices: PriceList) -> Iterator[tuple[StoredParts, datetime]]:
    """What lies in classes that are charged for a shortest time, and until when."""
    for parts in stored:
        if days := prices.billing_of(parts.storage_class).least_days:
            yield parts, parts.written + timedelta(days=days)


def _month_price(stored: Iterable[StoredParts], prices: PriceList) -> float | None:
    total = 0.0
    for parts in stored:
        price = prices.month_price(parts.storage_class, billed_bytes=parts.billed_bytes, objects=parts.objects)
        if price is None:
            return None
        total += price
    return total


def early_fee(stored: Iterable[StoredParts], prices: PriceList, now: datetime) -> float | None:
    """What removing ``stored`` now costs: as much as storing it for the rest of the shortest time that is charged."""
    fee = 0.0
    for parts, until in _charged_until(stored, prices):
        if until > now:
            month = _month_price((parts,), prices)
            if month is None:
                return None
            fee += month * ((until - now) / timedelta(days=MONTH_DAYS))
    return fee


def _cents(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 4)
