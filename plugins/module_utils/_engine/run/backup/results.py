# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a backup and its result, for people and machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import EngineError
from ...plan.level_choice import BaseChoice
from ...values.manifest import BackupSummary, Manifest


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What one backup would do now. Sizes are bytes; ``snapshot`` is the name of the snapshot to take or use."""

    task: str
    dataset: str
    level_requested: int
    choice: BaseChoice
    snapshot: str
    estimated_bytes: int | None
    parts: int | None
    part_size: int
    chunk_size: int
    storage_class: str
    destination: str
    resumes: str | None
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The plan for machines."""
        return {
            "task": self.task,
            "dataset": self.dataset,
            "level": self.choice.level,
            "level_requested": self.level_requested,
            "reason": self.choice.reason,
            "base": base_as_json(self.choice.base),
            "snapshot": self.snapshot,
            "flags": list(self.choice.flags),
            "estimated_bytes": self.estimated_bytes,
            "parts": self.parts,
            "part_size": self.part_size,
            "chunk_size": self.chunk_size,
            "storage_class": self.storage_class,
            "destination": self.destination,
            "resumes": self.resumes,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class BackupResult:
    """One committed backup."""

    task: str
    manifest: Manifest
    manifest_key: str
    reason: str
    parts_resumed: int
    storage_class: str
    location: str
    duration_s: float
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The result for machines."""
        manifest = self.manifest
        base = manifest.base
        return {
            "task": self.task,
            "dataset": manifest.dataset.name,
            "backup_id": manifest.backup_id,
            "level": manifest.level,
            "level_requested": manifest.level_requested,
            "reason": self.reason,
            "base": None
            if base is None
            else {"backup_id": base.backup_id, "snapshot": base.snapshot, "guid": base.guid},
            "snapshot": manifest.snapshot.name,
            "snapshot_guid": manifest.snapshot.guid,
            "stream_bytes": manifest.stream.bytes,
            "stored_bytes": manifest.parts.stored_bytes,
            "parts": manifest.parts.count,
            "parts_resumed": self.parts_resumed,
            "manifest_key": self.manifest_key,
            "storage_class": self.storage_class,
            "location": self.location,
            "duration_s": round(self.duration_s, 3),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """All backups of one run of a task, and the datasets that failed."""

    results: tuple[BackupResult, ...]
    failures: tuple[tuple[str, EngineError], ...]

    @property
    def exit_code(self) -> int:
        """0; 4 for warnings; after failures the exit code of their errors if that is the same, else 1."""
        codes = {error.exit_code for _name, error in self.failures}
        if codes:
            return codes.pop() if len(codes) == 1 else 1
        return 4 if any(result.warnings for result in self.results) else 0


def base_as_json(base: BackupSummary | None) -> dict[str, str] | None:
    """The backup that an increment starts from."""
    if base is None:
        return None
    return {"backup_id": base.backup_id, "snapshot": base.snapshot.name, "guid": base.snapshot.guid}
