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
    """One rule. Two rules that mean the same are equal, in whatever form the endpoint keeps them."""

    options: Mapping[str, Any]
    """In the words of the module's options; what is not set is left out, and transitions are sorted."""
    xml: str = field(default="", compare=False)
    """As the endpoint keeps it, with what this code does not know; empty if it is not there yet."""

    @property
    def id(self) -> str:
        """Its name, unique in the bucket; empty if it has none."""
        return str(self.options["id"])

    @property
    def expires_by_age(self) -> bool:
        """Whether it deletes objects because they are old."""
        return bool(self.options["enabled"]) and not self.options.keys().isdisjoint(
            ("expiration_days", "expiration_date")
        )

    @classmethod
    def of(cls, options: Mapping[str, Any], *, xml: str = "") -> LifecycleRule:
        """The rule with these ``options``, of which some may be empty."""
        plain = {name: value for name, value in options.items() if value or (value == 0 and value is not False)}
        for name in ("transitions", "noncurrent_version_transitions"):
            if name in plain:
                steps = [{key: value for key, value in step.items() if value is not None} for step in plain[name]]
                plain[name] = sorted(steps, key=lambda step: (step.get("days", 0), str(sorted(step.items()))))
        if "tags" in plain:
            plain["tags"] = {str(key): str(value) for key, value in sorted(plain["tags"].items())}
        always = {name: options.get(name, default) for name, default in (("id", ""), ("enabled", True), ("prefix", ""))}
        return cls(always | plain, xml)
