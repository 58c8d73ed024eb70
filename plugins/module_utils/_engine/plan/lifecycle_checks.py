# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What S3 demands of lifecycle rules, checked before they are sent ("Lifecycle configuration elements" and
"Transitioning objects using Amazon S3 Lifecycle" of the S3 User Guide), so that the complaint names the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ..errors import UsageError
from ..values.lifecycle import LifecycleRule

MAX_RULES = 1000
_ID_CHARACTERS = 255
_INFREQUENT = {"STANDARD_IA", "ONEZONE_IA"}
_INFREQUENT_DAYS = 30
_WATERFALL = ("STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
"""From one of these an object can go only to a later one."""


def check_rules(rules: Sequence[LifecycleRule]) -> None:
    """Raises :class:`UsageError` for the first rule that S3 would refuse."""
    if len(rules) > MAX_RULES:
        raise _unusable("The bucket", f"would have {len(rules)} rules, and S3 takes {MAX_RULES}")
    for rule_id, times in Counter(rule.id for rule in rules).items():
        if times > 1:
            raise _unusable(f"Rule {rule_id}", "is there twice: ids are unique")
    for rule in rules:
        check_rule_id(rule.id)
        for complaint in _complaints(rule):
            raise _unusable(f"Rule {rule.id}", complaint)


def check_rule_id(rule_id: str) -> None:
    """Raises :class:`UsageError` for an id that S3 would refuse."""
    if not 1 <= len(rule_id) <= _ID_CHARACTERS:
        raise _unusable(f"The rule id {rule_id[:40]!r}", f"has {len(rule_id)} characters, not 1 to {_ID_CHARACTERS}")


def _unusable(what: str, complaint: str) -> UsageError:
    return UsageError(f"{what} {complaint}", subject="rules", next_step="Correct it; nothing was changed")


def _complaints(rule: LifecycleRule) -> Iterator[str]:
    yield from _about_actions(rule)
    yield from _about_numbers(rule)
    yield from _about_filter(rule)
    yield from _about_transitions(rule)
    yield from _about_expiration(rule)


def _about_actions(rule: LifecycleRule) -> Iterator[str]:
    actions = (
        rule.transitions,
        rule.noncurrent_transitions,
        rule.expiration_days is not None,
        rule.expiration_day is not None,
        rule.expired_object_delete_marker,
        rule.noncurrent_expiration_days is not None,
        rule.abort_days is not None,
    )
    if not any(actions):
        yield "does nothing: give it at least one action"


def _about_numbers(rule: LifecycleRule) -> Iterator[str]:
    numbers = [
        ("expiration_days", rule.expiration_days, 1),
        ("noncurrent_version_expiration_days", rule.noncurrent_expiration_days, 1),
        ("newer_noncurrent_versions", rule.newer_noncurrent_versions, 1),
        ("abort_incomplete_multipart_upload_days", rule.abort_days, 1),
        ("object_size_greater_than", rule.filter.size_greater_than, 0),
        ("object_size_less_than", rule.filter.size_less_than, 1),
        *(("days of a transition", entry.days, 0) for entry in rule.transitions),
        *(("days of a noncurrent version transition", entry.days, 0) for entry in rule.noncurrent_transitions),
        *(("newer_noncurrent_versions", entry.newer_versions, 1) for entry in rule.noncurrent_transitions),
    ]
    for name, number, least in numbers:
        if number is not None and number < least:
            yield f"has {name} {number}; {least} is the least"
    if rule.newer_noncurrent_versions is not None and rule.noncurrent_expiration_days is None:
        yield "has newer_noncurrent_versions without noncurrent_version_expiration_days"


def _about_filter(rule: LifecycleRule) -> Iterator[str]:
    greater, less = rule.filter.size_greater_than, rule.filter.size_less_than
    if greater is not None and less is not None and less <= greater:
        yield f"is for no object at all: none is greater than {greater} and less than {less} bytes"
    if rule.filter.tags and rule.abort_days is not None:
        yield "aborts uploads by tags: uploads have none"
    if rule.filter.tags and rule.expired_object_delete_marker:
        yield "removes delete markers by tags: delete markers have none"


def _about_transitions(rule: LifecycleRule) -> Iterator[str]:
    for entry in rule.transitions:
        if (entry.days is None) == (entry.day is None):
            yield f"needs either days or date for the transition to {entry.storage_class}"
    for kind in (rule.transitions, rule.noncurrent_transitions):
        classes: list[tuple[str, int | None]] = [(entry.storage_class, entry.days) for entry in kind]
        for storage_class, times in Counter(name for name, _times in classes).items():
            if times > 1:
                yield f"has two transitions to {storage_class}"
        for storage_class, days in classes:
            if storage_class in _INFREQUENT and days is not None and days < _INFREQUENT_DAYS:
                yield f"moves objects to {storage_class} after {days} days; S3 wants {_INFREQUENT_DAYS} or more"
        yield from _about_order(classes)


def _about_order(classes: list[tuple[str, int | None]]) -> Iterator[str]:
    for (earlier, first), (later, second) in pairwise(classes):
        if first is None or second is None:
            continue
        if second <= first:
            yield f"moves objects to {earlier} and to {later} at the same age of {first} days"
        if {earlier, later} <= set(_WATERFALL) and _WATERFALL.index(later) < _WATERFALL.index(earlier):
            yield f"moves objects from {earlier} back to {later}, which S3 cannot do"
        if earlier in _INFREQUENT and second - first < _INFREQUENT_DAYS:
            yield (
                f"moves objects from {earlier} to {later} after {second - first} days; "
                f"they have to stay there for {_INFREQUENT_DAYS} or more"
            )


def _about_expiration(rule: LifecycleRule) -> Iterator[str]:
    kinds = (rule.expiration_days, rule.expiration_day, rule.expired_object_delete_marker or None)
    if sum(kind is not None for kind in kinds) > 1:
        yield "has more than one of expiration_days, expiration_date and expired_object_delete_marker"
    by_day = [entry.day is not None for entry in rule.transitions]
    by_day += [rule.expiration_day is not None] if (rule.expiration_days or rule.expiration_day) else []
    if any(by_day) and not all(by_day):
        yield "mixes days and dates; S3 takes only one of them in a rule"
    for entry in rule.transitions:
        if entry.days is not None and rule.expiration_days is not None and rule.expiration_days <= entry.days:
            yield f"deletes objects after {rule.expiration_days} days, before they go to {entry.storage_class}"
    for noncurrent in rule.noncurrent_transitions:
        last = rule.noncurrent_expiration_days
        if last is not None and last <= noncurrent.days:
            yield f"deletes noncurrent versions after {last} days, before they go to {noncurrent.storage_class}"
