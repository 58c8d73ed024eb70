# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans the lifecycle rules of a bucket: which rules are ours, what changes, and what to warn of."""

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
    """All rules of the bucket, before and after."""

    before: tuple[LifecycleRule, ...]
    after: tuple[LifecycleRule, ...]
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything must be written. The order of rules does not matter."""
        return unordered(self.before) != unordered(self.after)


def unordered(rules: Sequence[LifecycleRule]) -> list[LifecycleRule]:
    """Sort rules by their content, to compare two sets of them."""
    return sorted(rules, key=lambda rule: (rule.id, str(sorted(rule.options.items()))))


def plan_lifecycle(
    current: Sequence[LifecycleRule],
    wanted: Sequence[LifecycleRule],
    *,
    state: State = "present",
    purge: bool = False,
    repository_prefix: str | None = None,
) -> LifecyclePlan:
    """Match rules by id. Rules whose id is not in ``wanted`` belong to others, and stay unless ``purge`` is set.

    ``repository_prefix`` is the prefix of the repository in the bucket (ending with a slash, or empty), for the
    warnings; ``None`` if it is not known. For ``absent`` rules, only the id counts. S3 checks the content of the rules;
    this raises :class:`UsageError` for missing or contradictory ids.
    """
    ours = {rule.id: rule for rule in wanted}
    if len(ours) < len(wanted) or "" in ours:
        raise UsageError(
            "Every rule needs its own id",
            subject="rules",
            answer=", ".join(repr(rule.id) for rule in wanted),
            next_step="Give each rule an id: S3 invents one for a rule without, so every run would add another rule",
        )
    if state == "absent":
        if purge:
            raise UsageError(
                "state=absent and purge=true contradict each other",
                subject="purge",
                next_step="Name the rules to remove, or use state=present with purge=true to keep only the named ones",
            )
        after = tuple(rule for rule in current if rule.id not in ours)
    else:
        kept = tuple(
            rule if rule == ours.get(rule.id) else ours.get(rule.id, rule)  # an equal rule keeps its own form
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
        if rule.expires_by_age and can_match(rule, ("data/", "manifests/", "zrb.json"), repository_prefix):
            warnings.append(
                f"Rule {rule.id}{whose} can delete backups by their age. Expiry by age is not retention: it goes on "
                "deleting when backups have stopped, and deletes the full backup that newer ones need."
            )
        archives = sorted(
            {step["storage_class"] for step in rule.options.get("transitions", ())}.intersection(ARCHIVE_CLASSES)
        )
        if rule.options["enabled"] and archives and can_match(rule, ("manifests/", "zrb.json"), repository_prefix):
            warnings.append(
                f"Rule {rule.id}{whose} can move manifests to {' and '.join(archives)}. Manifests that must be thawed "
                "cannot be listed, so no restore can be planned. Limit the rule to the prefix of the data."
            )
    return warnings


def can_match(rule: LifecycleRule, names: Sequence[str], repository_prefix: str | None) -> bool:
    """Whether the rule can apply to objects of the repository whose keys begin with one of ``names``."""
    if "tags" in rule.options:
        return False  # objects of a repository have no tags
    prefix = str(rule.options["prefix"])
    if repository_prefix is None:
        return not prefix or any(f"/{prefix}/".find(f"/{name.removesuffix('/')}/") >= 0 for name in names)
    keys = [repository_prefix + name for name in names]
    return any(key.startswith(prefix) or prefix.startswith(key) for key in keys)
