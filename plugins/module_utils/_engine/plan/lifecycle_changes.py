# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lifecycle rules that a bucket is to have: which of them are ours, what changes, and what to be warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from ..values.lifecycle_rule import LifecycleRule
from ..values.storage_classes import ARCHIVE_CLASSES

State = Literal["present", "absent"]


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """All rules of the bucket before and after."""

    before: tuple[LifecycleRule, ...]
    after: tuple[LifecycleRule, ...]
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything has to be written. The order of rules means nothing."""
        return unordered(self.before) != unordered(self.after)


def unordered(rules: Sequence[LifecycleRule]) -> list[LifecycleRule]:
    """Rules in an order that depends on nothing but themselves, to compare sets of them."""
    return sorted(rules, key=lambda rule: (rule.id, str(sorted(rule.options.items()))))


def plan_lifecycle(
    current: Sequence[LifecycleRule],
    wanted: Sequence[LifecycleRule],
    *,
    state: State = "present",
    purge: bool = False,
    repository_prefix: str | None = None,
) -> LifecyclePlan:
    """Rules are matched by id; those whose id is not in ``wanted`` belong to others and stay, unless ``purge``.

    ``repository_prefix`` is where in the bucket the repository is (ending with a slash, or empty), for the warnings;
    ``None`` if that is not known. Of ``absent`` rules only the id counts. What the rules say is S3's to check;
    raises :class:`UsageError` for ids that make no sense.
    """
    ours = {rule.id: rule for rule in wanted}
    if len(ours) < len(wanted) or "" in ours:
        raise UsageError(
            "Every rule needs an id of its own",
            subject="rules",
            answer=", ".join(repr(rule.id) for rule in wanted),
            next_step="S3 makes up an id for a rule without one, so that each run would add another: name them all",
        )
    if state == "absent":
        if purge:
            raise UsageError(
                "state=absent and purge=true say different things",
                subject="purge",
                next_step="Name the rules to remove, or use state=present with purge=true to keep only those named",
            )
        after = tuple(rule for rule in current if rule.id not in ours)
    else:
        kept = tuple(
            rule if rule == ours.get(rule.id) else ours.get(rule.id, rule)  # what is as wanted stays in its own form
            for rule in current
            if rule.id in ours or not purge
        )
        seen = {rule.id for rule in kept}
        after = kept + tuple(rule for rule in wanted if rule.id not in seen)
    return LifecyclePlan(
        before=tuple(current), after=after, warnings=tuple(_warnings(after, set(ours), repository_prefix))
    )


def _warnings(rules: Sequence[LifecycleRule], ours: set[str], repository_prefix: str | None) -> list[str]:
    warnings = []
    for rule in rules:
        whose = "" if rule.id in ours else " (not one of those named here)"
        if rule.expires_by_age and _can_match(rule, ("data/", "manifests/", "zrb.json"), repository_prefix):
            warnings.append(
                f"Rule {rule.id}{whose} can delete backups by their age. Expiry by age is not retention: it keeps "
                "deleting when backups have stopped, and takes the full backup that newer ones need."
            )
        archives = sorted(
            {step["storage_class"] for step in rule.options.get("transitions", ())}.intersection(ARCHIVE_CLASSES)
        )
        if rule.options["enabled"] and archives and _can_match(rule, ("manifests/", "zrb.json"), repository_prefix):
            warnings.append(
                f"Rule {rule.id}{whose} can move manifests to {' and '.join(archives)}. Manifests that must be thawed "
                "cannot be listed, and no restore can be planned. Give the rule the prefix of the data."
            )
    return warnings


def _can_match(rule: LifecycleRule, names: Sequence[str], repository_prefix: str | None) -> bool:
    """Whether the rule can be for objects of the repository whose keys begin with one of ``names``."""
    if "tags" in rule.options:
        return False  # objects of a repository have no tags
    prefix = str(rule.options["prefix"])
    if repository_prefix is None:
        return not prefix or any(f"/{prefix}/".find(f"/{name.removesuffix('/')}/") >= 0 for name in names)
    keys = [repository_prefix + name for name in names]
    return any(key.startswith(prefix) or prefix.startswith(key) for key in keys)
