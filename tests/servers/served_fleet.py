# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A NAS without root, the fake ZFS, and a repository on a real server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zrb.run.context import Context
from zrb.run.verify import VerifyReport, verify
from zrb.store.open_store import open_store
from zrb.values.config import MIB, Limits, S3Settings

from tests.fakes.fleet import DATASET, Fleet, random_bytes

LIMITS = Limits(part_size=6 * MIB, chunk_size=5 * MIB, memory_limit=64 * MIB, workers=2)
"""Two chunks a part, of the least length that S3 takes."""
CONTENT_BYTES = 23 * MIB


@dataclass
class ServedFleet(Fleet):
    """A :class:`.Fleet` with 4 parts of 2 chunks to back up."""

    settings: S3Settings = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.change_config(limits=LIMITS)
        self.zfs.write(DATASET, random_bytes(CONTENT_BYTES))
        self.use(self.settings)

    def use(self, settings: S3Settings) -> None:
        """Another way to the repository, or another repository, from now on."""
        self.settings = settings
        self.change_config(s3=settings)
        self.store = open_store(self.config)

    def context(self, **changes: Any) -> Context:
        """See :meth:`.Fleet.context`. Each run opens the store anew, as a process would."""
        return super().context(**{"open_store": lambda: open_store(self.config), **changes})

    def write_more(self) -> bytes:
        """Change what comes after the first 2 parts."""
        content = self.zfs.content(DATASET)[: 12 * MIB] + random_bytes(7 * MIB, seed=2)
        self.zfs.write(DATASET, content)
        return content

    def verify(self, depth: Any, *, exit_code: int | None = 0) -> VerifyReport:
        """Verify everything; the report has to have this exit code, unless that is ``None``."""
        report = verify(self.context(), depth=depth, identities=[self.identity])
        assert exit_code in (report.exit_code, None), report.as_json()
        return report
