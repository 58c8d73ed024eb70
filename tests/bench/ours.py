# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our pipelines without ZFS around them, as a process of their own.

``python -m tests.bench.ours store PLACE KEY [LIMIT=VALUE...]`` stores stdin for the recipient KEY and prints what a
manifest would say; ``fetch PLACE KEY FILE`` writes the stream that FILE describes to stdout, with the private KEY.
PLACE is a directory, ``discard``, or the URL of an S3 endpoint.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from zrb.plan.buffer_layout import plan_backup_buffers, plan_restore_buffers
from zrb.plan.part_sizes import choose_sizes
from zrb.seal.age import AgeOpener, AgeSealer
from zrb.store.directory import DirectoryStore
from zrb.store.open_store import open_store
from zrb.store.protocol import Buffer, Flow
from zrb.stream.backup_pipeline import BackupPipeline
from zrb.stream.part_downloads import Source
from zrb.stream.part_uploads import Destination
from zrb.stream.restore_pipeline import RestorePipeline
from zrb.stream.threads import usable_cores
from zrb.values.config import Config, Limits, S3Settings
from zrb.values.manifest import Checksum, Part, StreamDigest
from zrb.values.repository_names import BackupId, Series

from tests.bench.servers import BUCKET
from tests.fixtures.sample_manifests import sample_manifest

SERIES = Series(host="bench", dataset="tank/data")


class Ledger:
    """Remembers the parts of one stream."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}

    def known(self, index: int) -> Part | None:
        """Nothing was stored before."""
        return None

    def opened(self, index: int, key: str, upload_id: str) -> None:
        """Nothing."""

    def sealed(self, part: Part) -> None:
        """Nothing."""

    def stored(self, part: Part) -> None:
        """Remember it."""
        self.parts[part.index] = part


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

    def until(self, end: object) -> DiscardingStore:
        """It never waits."""
        return self

    def regulate(self, flow: Flow) -> None:
        """Nothing moves."""

    def put(self, key: str, data: Buffer, *, storage_class: str = "STANDARD", sha256: bytes | None = None) -> Checksum:
        """Nothing."""
        return Checksum("none", "")

    def open_upload(self, key: str, **_: Any) -> DiscardedUpload:
        """An upload that forgets."""
        return DiscardedUpload()


def open_place(place: str) -> Any:
    """The store that ``place`` names."""
    if place == "discard":
        return DiscardingStore()
    if not place.startswith("http"):
        return DirectoryStore(Path(place))
    prefix = os.environ.get("BENCH_PREFIX", "zrb/")
    base = PurePosixPath(tempfile.mkdtemp(prefix="zrb-bench-state-"))
    atexit.register(shutil.rmtree, base)
    s3 = S3Settings(bucket=BUCKET, prefix=prefix, endpoint=place, ca_bundle=os.environ.get("BENCH_CA", ""))
    return open_store(Config(base_dir=base, log_dir=base, host="bench", recipients=(), signing_key=None, s3=s3))


def store(place: str, recipient: str, *options: str) -> None:
    """Store stdin."""
    values = dict(option.split("=") for option in options)
    limits = choose_sizes(replace(Limits(), **{name: int(value) for name, value in values.items()}))
    pipeline = BackupPipeline(
        plan_backup_buffers(limits, cores=usable_cores()),
        sealer=AgeSealer([recipient]),
        uploaders=limits.workers,
        proof=bool(limits.proof),
    )
    backup_id = BackupId("20260131T020000Z-L0-00000001")
    ledger = Ledger()
    destination = Destination(
        store=open_place(place),
        key_of=lambda index: SERIES.part_key(backup_id, 0, index),
        storage_class="STANDARD",
        part_size=limits.part_size,
        ledger=ledger,
        moved=lambda count: None,
    )
    stored = pipeline.store_stream(sys.stdin.fileno(), destination, at_end=lambda head, tail: None)
    described = {
        "bytes": stored.stream_bytes,
        "blake3": stored.blake3,
        "part_size": limits.part_size,
        "parts": [
            [p.index, p.key, p.plain_bytes, p.plain_blake3, p.bytes, p.sha256]
            for p in map(ledger.parts.__getitem__, range(stored.parts))
        ],
    }
    print(json.dumps(described))


def fetch(place: str, identity: str, described: str) -> None:
    """Write the stream to stdout."""
    limits = Limits()
    known = json.loads(Path(described).read_text(encoding="utf-8"))
    manifest = replace(
        sample_manifest(1, sizes=(1,), created=datetime(2026, 1, 31, 2, tzinfo=UTC)),
        part_size=known["part_size"],
        stream=StreamDigest(known["bytes"], known["blake3"]),
    )
    parts = [Part(*fields, Checksum("none", "")) for fields in known["parts"]]
    layout = plan_restore_buffers(limits, cores=usable_cores())
    pipeline = RestorePipeline(layout, opener=AgeOpener([identity]), downloaders=limits.workers)
    with tempfile.TemporaryDirectory() as spool:
        source = Source(open_place(place), lambda: Path(spool), lambda count: None)
        pipeline.fetch_stream(manifest, parts, source, _write_all)


def _write_all(view: memoryview) -> None:
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    {"store": store, "fetch": fetch}[sys.argv[1]](*sys.argv[2:])
