# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our side of the benchmark: one stream from stdin through the real pipeline, without ZFS and without a manifest.

``python -m tests.bench.ours DIRECTORY|discard RECIPIENT MEMORY_LIMIT [no-proof]`` reads the stream from stdin.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from zrb.plan.buffers import plan_backup_buffers
from zrb.seal.age import AgeSealer
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import Buffer, Flow
from zrb.stream.backup import BackupPipeline
from zrb.stream.part_uploads import Destination
from zrb.stream.threads import usable_cores
from zrb.values.config import Limits
from zrb.values.manifest import Checksum, Part


class NoLedger:
    """Remembers nothing."""

    def known(self, index: int) -> Part | None:
        """Nothing was stored before."""
        return None

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """Nothing."""

    def sealed(self, part: Part) -> None:
        """Nothing."""

    def stored(self, part: Part) -> None:
        """Nothing."""


class DiscardedUpload:
    """Takes chunks and forgets them."""

    upload_id = "discarded"

    def put_chunk(self, number: int, offset: int, data: Buffer, *, sha256: bytes | None = None) -> None:
        """Nothing."""

    def expected_checksum(self) -> Checksum:
        """None."""
        return Checksum("none", "")

    def complete(self) -> Checksum:
        """Nothing to make visible."""
        return Checksum("none", "")

    def abort(self) -> None:
        """Nothing."""


class DiscardingStore:
    """A store for streams larger than any disk here: memory is what is measured then."""

    kind = "s3"

    def regulate(self, flow: Flow) -> None:
        """Nothing moves."""

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """Nothing."""
        return Checksum("none", "")

    def open_upload(self, key: str, **_: Any) -> DiscardedUpload:
        """An upload that forgets."""
        return DiscardedUpload()


def main(where: str, recipient: str, memory_limit: str, proof: str = "proof") -> None:
    """Store stdin."""
    limits = Limits(memory_limit=int(memory_limit))
    store: Any = DiscardingStore() if where == "discard" else DirectoryStore(Path(where))
    pipeline = BackupPipeline(
        plan_backup_buffers(limits, cores=usable_cores()),
        sealer=AgeSealer([recipient]),
        uploaders=limits.workers,
        proof=proof != "no-proof",
    )
    destination = Destination(
        store=store,
        key_of=lambda index: f"data/bench/snapshot.part-{index:06d}.age",
        storage_class="STANDARD",
        part_size=limits.part_size,
        ledger=NoLedger(),
        moved=lambda count: None,
    )
    pipeline.store_stream(sys.stdin.fileno(), destination, at_end=lambda head, tail: None)


if __name__ == "__main__":
    main(*sys.argv[1:])
