# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a cleanup is going to do, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...errors import EngineError, RemovalsUnconfirmed
from ...plan.retention import SeriesPlan, sum_up
from ...values.repository_names import BackupId, Series
from .unfinished import LeftUpload, Unfinished

MOST_REMOVALS: Final = 50
MOST_OF_A_SERIES: Final = 0.3
"""What a cleanup removes at most if nobody has said how much it may: so many in all, and this share of each series."""


@dataclass(frozen=True, slots=True)
class CleanupPlan:
    """What becomes of all backups. ``refused`` are series in which nothing is removed, each with the reason.
    ``remains`` counts backups that this signer retired before, and of which objects are still there. ``unfinished`` is
    what is there of backups without a manifest, ``uploads`` what is there of objects."""

    series: tuple[SeriesPlan, ...]
    refused: tuple[tuple[Series, EngineError], ...] = ()
    remains: int = 0
    unfinished: tuple[Unfinished, ...] = ()
    uploads: tuple[LeftUpload, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def removals(self) -> int:
        """How many backups go, finished or not."""
        return sum(len(one.removals) for one in self.series) + len(self.abandoned())

    def abandoned(self, series: Series | None = None) -> list[Unfinished]:
        """The unfinished backups, of this series, that go."""
        return [one for one in self.unfinished if one.abandoned and series in (None, one.series)]

    @property
    def unconfirmed(self) -> RemovalsUnconfirmed | None:
        """Why this has to be confirmed, if it has to be."""
        if self.removals > MOST_REMOVALS:
            return self._unconfirmed(f"more than {MOST_REMOVALS} backups")
        for one in self.series:
            if len(one.removals) > max(1, MOST_OF_A_SERIES * len(one.backups)):
                share = f"{len(one.removals)} of the {len(one.backups)} backups of {one.series.dataset}"
                return self._unconfirmed(share, subject=one.series.dataset)
            # Whoever lost manifests, and said so, has parts without them.
            if (count := len(self.abandoned(one.series))) > max(1, MOST_OF_A_SERIES * len(one.backups)):
                beside = f"{count} unfinished ones beside {len(one.backups)} of {one.series.dataset}"
                return self._unconfirmed(beside, subject=one.series.dataset)
        return None

    @property
    def ended_uploads(self) -> list[LeftUpload]:
        """The uploads that go. They are no backups, and need no confirmation."""
        return [one for one in self.uploads if one.abandoned]

    def check_confirmed(self, most: int | None) -> None:
        """Raise :class:`RemovalsUnconfirmed` if this removes more than ``most`` backups, or, if that is not given, more
        than goes without saying. A number is what somebody says who has looked at the plan; a plain yes would stay in a
        script and agree to any later plan too."""
        if most is None and self.unconfirmed is not None:
            raise self.unconfirmed
        if most is not None and self.removals > most:
            raise self._unconfirmed(f"more than {most}")

    def _unconfirmed(self, what: str, *, subject: str = "max_removals") -> RemovalsUnconfirmed:
        return RemovalsUnconfirmed(
            f"This cleanup would remove {self.removals} backups: {what}",
            subject=subject,
            next_step="Nothing was changed. Look at the plan of a dry run. If it is what you want, allow that many "
            f"with `zrb cleanup --max-removals {self.removals}`",
        )

    @property
    def exit_code(self) -> int:
        """0; the code of what keeps series from being cleaned up; 4 for warnings, or if it has to be confirmed."""
        return shared_exit_code([error for _series, error in self.refused]) or (
            4 if self.unconfirmed or self.warnings else 0
        )

    def as_json(self) -> dict[str, Any]:
        """The plan for machines. It is the same whether it is carried out or not."""
        by_fate = {
            fate: sum_up(backup for one in self.series for backup in one.backups if backup.fate == fate).as_json()
            for fate in ("keep", "later", "remove")
        }
        return {
            "series": [one.as_json() for one in self.series],
            "totals": by_fate,
            "remains": self.remains,
            "unfinished": [one.as_json() for one in self.unfinished],
            "uploads": [one.as_json() for one in self.uploads],
            "warnings": list(self.warnings),
            "refused": [_facts(series, error) for series, error in self.refused],
            "unconfirmed": self.unconfirmed.facts() if self.unconfirmed else None,
        }


@dataclass(frozen=True, slots=True)
class CleanupOutcome:
    """What was done. ``removed`` are the backups that were retired now, ``objects`` counts what was deleted."""

    plan: CleanupPlan
    removed: tuple[BackupId, ...]
    objects: int
    failures: tuple[tuple[Series, EngineError], ...]
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0; 4 for warnings; the code that all failures share, or 1."""
        errors = [error for _series, error in (*self.plan.refused, *self.failures)]
        return shared_exit_code(errors) or (4 if self.warnings else 0)

    def as_json(self) -> dict[str, Any]:
        """The outcome for machines."""
        return {
            "plan": self.plan.as_json(),
            "removed": list(self.removed),
            "objects": self.objects,
            "failures": [_facts(series, error) for series, error in self.failures],
            "warnings": list(self.warnings),
        }


def shared_exit_code(errors: list[EngineError]) -> int:
    """The code that all errors share, 1 if they differ, 0 without any."""
    codes = {error.exit_code for error in errors}
    return 1 if len(codes) > 1 else next(iter(codes), 0)


def _facts(series: Series, error: EngineError) -> dict[str, Any]:
    return {"host": series.host, "dataset": series.dataset} | error.facts()
