# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules of a bucket, in the form in which two rules that mean the same are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """Which objects a rule is for: all conditions together. Sizes are bytes."""

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    size_greater_than: int | None = None
    size_less_than: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """Objects go to ``storage_class`` at an age of ``days``, or on a ``day``."""

    storage_class: str
    days: int | None = None
    day: date | None = None


@dataclass(frozen=True, slots=True)
class NoncurrentTransition:
    """Versions go to ``storage_class`` at ``days`` after they were replaced, but for some ``newer_versions``."""

    storage_class: str
    days: int
    newer_versions: int | None = None


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule in its normal form: two rules that mean the same are equal. Ages are days."""

    id: str
    enabled: bool = True
    filter: RuleFilter = RuleFilter()
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[NoncurrentTransition, ...] = ()
    expiration_days: int | None = None
    expiration_day: date | None = None
    expired_object_delete_marker: bool | None = None
    noncurrent_expiration_days: int | None = None
    newer_noncurrent_versions: int | None = None
    abort_days: int | None = None

    @property
    def expires_by_age(self) -> bool:
        """Whether it deletes objects because they are old."""
        return self.enabled and (self.expiration_days is not None or self.expiration_day is not None)

    def as_json(self) -> dict[str, Any]:
        """The rule in the words of the module's options; what is not set is left out."""
        everything: dict[str, Any] = {
            "id": self.id,
            "enabled": self.enabled,
            "prefix": self.filter.prefix,
            "tags": dict(self.filter.tags) or None,
            "object_size_greater_than": self.filter.size_greater_than,
            "object_size_less_than": self.filter.size_less_than,
            "transitions": [_present(_transition_json(entry)) for entry in self.transitions] or None,
            "noncurrent_version_transitions": [
                _present(_noncurrent_json(entry)) for entry in self.noncurrent_transitions
            ]
            or None,
            "expiration_days": self.expiration_days,
            "expiration_date": self.expiration_day.isoformat() if self.expiration_day else None,
            "expired_object_delete_marker": self.expired_object_delete_marker,
            "noncurrent_version_expiration_days": self.noncurrent_expiration_days,
            "newer_noncurrent_versions": self.newer_noncurrent_versions,
            "abort_incomplete_multipart_upload_days": self.abort_days,
        }
        return _present(everything)


def ordered_transitions(transitions: Sequence[Transition]) -> tuple[Transition, ...]:
    """By age, so that their order in a request does not count."""
    return tuple(sorted(transitions, key=lambda entry: (entry.days or 0, entry.day or date.min, entry.storage_class)))


def ordered_noncurrent(transitions: Sequence[NoncurrentTransition]) -> tuple[NoncurrentTransition, ...]:
    """By age, so that their order in a request does not count."""
    return tuple(sorted(transitions, key=lambda entry: (entry.days, entry.storage_class)))


def _transition_json(entry: Transition) -> dict[str, Any]:
    day = entry.day.isoformat() if entry.day else None
    return {"storage_class": entry.storage_class, "days": entry.days, "date": day}


def _noncurrent_json(entry: NoncurrentTransition) -> dict[str, Any]:
    return {
        "storage_class": entry.storage_class,
        "days": entry.days,
        "newer_noncurrent_versions": entry.newer_versions,
    }


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
