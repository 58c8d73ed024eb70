# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long backups are kept, as the configuration says it."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Retention:
    """Which backups of one dataset are kept. A number of 0 is a rule that is not there; without any rule, all backups
    are kept. ``keep_hourly`` and the like count periods of ``time_zone``."""

    keep_last: int = 0
    keep_within_s: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    time_zone: str = "UTC"

    @property
    def keeps_all(self) -> bool:
        """Whether there is no rule: nothing is ever removed."""
        return not any(getattr(self, name) for name in RULES)

    def __str__(self) -> str:
        """``keep_last: 3, keep_within: 2d``: as in the configuration; ``never`` without any rule."""
        told = [
            f"keep_within: {_in_units(number)}" if name == "keep_within_s" else f"{name}: {number}"
            for name in RULES
            if (number := getattr(self, name))
        ]
        return ", ".join(told) or "never"


RULES = tuple(one.name for one in fields(Retention) if one.name.startswith("keep_"))
"""The fields that are rules."""


def _in_units(seconds: int) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % length_s == 0:
            return f"{seconds // length_s}{unit}"
    return f"{seconds}s"
