# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules between the form that S3 speaks (``LifecycleRule`` of its API) and the normal form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from ..values.lifecycle import (
    LifecycleRule,
    NoncurrentTransition,
    RuleFilter,
    Transition,
    ordered_noncurrent,
    ordered_transitions,
)


def rule_from_s3(raw: Mapping[str, Any]) -> LifecycleRule:
    """The normal form of a rule as S3 returns it: old rules have ``Prefix``, newer ones ``Filter``, with or without
    ``And``, and all of them may say nothing in several ways."""
    expiration = raw.get("Expiration") or {}
    noncurrent = raw.get("NoncurrentVersionExpiration") or {}
    return LifecycleRule(
        id=str(raw.get("ID") or ""),
        enabled=raw.get("Status") == "Enabled",
        filter=_filter_from_s3(raw),
        transitions=ordered_transitions(
            [
                Transition(entry["StorageClass"], days=entry.get("Days"), day=_day(entry.get("Date")))
                for entry in raw.get("Transitions") or ()
            ]
        ),
        noncurrent_transitions=ordered_noncurrent(
            [
                NoncurrentTransition(
                    entry["StorageClass"], int(entry.get("NoncurrentDays") or 0), entry.get("NewerNoncurrentVersions")
                )
                for entry in raw.get("NoncurrentVersionTransitions") or ()
            ]
        ),
        expiration_days=expiration.get("Days"),
        expiration_day=_day(expiration.get("Date")),
        expired_object_delete_marker=expiration.get("ExpiredObjectDeleteMarker"),
        noncurrent_expiration_days=noncurrent.get("NoncurrentDays"),
        newer_noncurrent_versions=noncurrent.get("NewerNoncurrentVersions"),
        abort_days=(raw.get("AbortIncompleteMultipartUpload") or {}).get("DaysAfterInitiation"),
    )


def rule_to_s3(rule: LifecycleRule) -> dict[str, Any]:
    """The rule as S3 takes it, always with ``Filter``: S3 does not take it together with the older ``Prefix``."""
    raw: dict[str, Any] = {
        "ID": rule.id or None,
        "Status": "Enabled" if rule.enabled else "Disabled",
        "Filter": _filter_to_s3(rule.filter),
        "Transitions": [
            _present({"Days": entry.days, "Date": _moment(entry.day), "StorageClass": entry.storage_class})
            for entry in rule.transitions
        ],
        "NoncurrentVersionTransitions": [
            _present(
                {
                    "NoncurrentDays": entry.days,
                    "NewerNoncurrentVersions": entry.newer_versions,
                    "StorageClass": entry.storage_class,
                }
            )
            for entry in rule.noncurrent_transitions
        ],
        "Expiration": _present(
            {
                "Days": rule.expiration_days,
                "Date": _moment(rule.expiration_day),
                "ExpiredObjectDeleteMarker": rule.expired_object_delete_marker,
            }
        ),
        "NoncurrentVersionExpiration": _present(
            {
                "NoncurrentDays": rule.noncurrent_expiration_days,
                "NewerNoncurrentVersions": rule.newer_noncurrent_versions,
            }
        ),
        "AbortIncompleteMultipartUpload": _present({"DaysAfterInitiation": rule.abort_days}),
    }
    return {name: value for name, value in raw.items() if value}


def _filter_from_s3(raw: Mapping[str, Any]) -> RuleFilter:
    found = raw.get("Filter") or {}
    conditions = {**found, **(found.get("And") or {})}
    tags = [*(conditions.get("Tags") or ()), *([found["Tag"]] if found.get("Tag") else [])]
    return RuleFilter(
        prefix=str(conditions.get("Prefix") or raw.get("Prefix") or ""),
        tags=tuple(sorted((str(tag["Key"]), str(tag.get("Value") or "")) for tag in tags)),
        size_greater_than=conditions.get("ObjectSizeGreaterThan"),
        size_less_than=conditions.get("ObjectSizeLessThan"),
    )


def _filter_to_s3(wanted: RuleFilter) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in wanted.tags]
    others = _present(
        {
            "Prefix": wanted.prefix or None,
            "ObjectSizeGreaterThan": wanted.size_greater_than,
            "ObjectSizeLessThan": wanted.size_less_than,
        }
    )
    if len(others) + len(tags) > 1:
        return {"And": {**others, **({"Tags": tags} if tags else {})}}
    if tags:
        return {"Tag": tags[0]}
    return others or {"Prefix": ""}


def _day(moment: Any) -> date | None:
    return moment.date() if isinstance(moment, datetime) else None


def _moment(day: date | None) -> datetime | None:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day else None


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
