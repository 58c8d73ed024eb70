# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds where the lifecycle rules of a bucket contradict the configuration: its policy, and how long a run waits. Rules
that delete backups are found by ``plan/lifecycle_changes.py``, whatever the policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..values.lifecycle_rule import LifecycleRule
from ..values.retention import Retention
from .lifecycle_changes import can_match
from .price_list import PriceList

_DAY_S: Final = 86_400
_LENGTHS_S: Final[Mapping[str, int]] = {
    "keep_within_s": 1,
    "keep_hourly": 3600,
    "keep_daily": _DAY_S,
    "keep_weekly": 7 * _DAY_S,
    "keep_monthly": 30 * _DAY_S,
    "keep_yearly": 365 * _DAY_S,
}
"""How old backups get by one more of each rule. ``keep_last`` tells no age."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What is wrong, and what to do about it."""

    message: str
    next_step: str


def contradictions(
    rules: Sequence[LifecycleRule],
    policies: Sequence[Retention],
    *,
    prices: PriceList,
    repository_prefix: str,
    versioned: bool | None,
    patience_s: int,
) -> list[Contradiction]:
    """What speaks against ``rules``, if backups are kept by ``policies``, and a run waits ``patience_s`` for a store
    that is away. ``versioned`` is whether the bucket keeps what is deleted, ``None`` if nobody knows."""
    ours = [rule for rule in rules if rule.options["enabled"] and can_match(rule, ("data/",), repository_prefix)]
    removing = [policy for policy in dict.fromkeys(policies) if not policy.keeps_all]
    found = [one for rule in ours for one in _short_lived(rule, removing, prices)]
    found.extend(one for rule in ours for one in _aborts_too_soon(rule, patience_s))
    if versioned and removing and not any("noncurrent_version_expiration_days" in rule.options for rule in ours):
        found.append(
            Contradiction(
                "The bucket keeps versions, and no lifecycle rule removes old ones: what `zrb cleanup` removes stays, "
                "and is charged",
                "Add a rule with noncurrent_version_expiration_days for the prefix of the repository",
            )
        )
    return found


def _short_lived(rule: LifecycleRule, policies: Sequence[Retention], prices: PriceList) -> Iterator[Contradiction]:
    """Moves into a class that charges for longer than the policy keeps what is moved."""
    ages = [(policy, age) for policy in policies for age in _ages(policy)]
    for step in rule.options.get("transitions", ()):
        name, moved = str(step["storage_class"]), step.get("days")
        if moved is None:
            continue
        charged = moved + prices.billing_of(name).least_days
        for policy, age in ages:
            if moved < age < charged:
                yield Contradiction(
                    f"Rule {rule.id} moves backups to {name} after {moved} days, where they are charged until day "
                    f"{charged}, but the policy ({policy}) lets some go at about {age:.0f} days",
                    "Move them later, to a class with a shorter least time, or keep them longer",
                )
                break


def _ages(policy: Retention) -> list[float]:
    """How many days old backups get by each rule."""
    return [getattr(policy, name) * length_s / _DAY_S for name, length_s in _LENGTHS_S.items()]


def _aborts_too_soon(rule: LifecycleRule, patience_s: int) -> Iterator[Contradiction]:
    days = rule.options.get("abort_incomplete_multipart_upload_days")
    if days is not None and days * _DAY_S <= patience_s:
        yield Contradiction(
            f"Rule {rule.id} removes uploads after {days} days, but a run waits {patience_s / _DAY_S:g} days for an "
            "endpoint that is away (`patience`), and then goes on with them",
            "Let the rule wait longer than a run does",
        )
