# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules of a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LifecycleRule:
    """One rule. Two rules that mean the same are equal, even if the endpoint keeps them in different forms."""

    options: Mapping[str, Any]
    """The options of the module, without those that are not set; transitions are sorted."""
    xml: str = field(default="", compare=False)
    """The endpoint's form, with all that this code does not know; empty if the endpoint does not have the rule yet."""

    @property
    def id(self) -> str:
        """The id, unique in the bucket; empty if the rule has none."""
        return str(self.options["id"])

    @property
    def expires_by_age(self) -> bool:
        """Whether the rule deletes objects because of their age."""
        return bool(self.options["enabled"]) and not self.options.keys().isdisjoint(
            ("expiration_days", "expiration_date")
        )

    @classmethod
    def of(cls, options: Mapping[str, Any], *, xml: str = "") -> LifecycleRule:
        """The rule with these ``options``. Some may be empty."""
        plain = {name: value for name, value in options.items() if value or (value == 0 and value is not False)}
        for name in ("transitions", "noncurrent_version_transitions"):
            if name in plain:
                steps = [{key: value for key, value in step.items() if value is not None} for step in plain[name]]
                plain[name] = sorted(steps, key=lambda step: (step.get("days", 0), str(sorted(step.items()))))
        if "tags" in plain:
            plain["tags"] = {str(key): str(value) for key, value in sorted(plain["tags"].items())}
        always = {name: options.get(name, default) for name, default in (("id", ""), ("enabled", True), ("prefix", ""))}
        return cls(always | plain, xml)
