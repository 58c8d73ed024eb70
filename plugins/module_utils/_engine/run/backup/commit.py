# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commit of a backup: the signed manifest is written last, and is the only thing that makes a backup exist."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ...errors import EngineError, NoSuchSnapshot, StreamDamaged
from ...plan.chain import next_place
from ...plan.holds import snapshots_to_release
from ...seal.signing import SigningKey
from ...state.heads import highest_seen, remember
from ...state.journal import Binding, Journal
from ...store.protocol import Store
from ...stream.backup import StoredStream
from ...values.config import Task
from ...values.manifest import (
    Base,
    Checksum,
    Encryption,
    Manifest,
    ManifestDataset,
    ManifestPool,
    ManifestSnapshot,
    Part,
    SendRecord,
    StreamDigest,
)
from ...values.manifest_json import encode_manifest
from ...values.repository import BackupId
from ...values.zfs import Snapshot
from ...version import VERSION
from ...zfs.stream_records import parse_begin, parse_end
from ..context import Context
from .survey import Survey


def check_stream_edges(binding: Binding, head: bytes, tail: bytes) -> None:
    """The stream is the one that was asked for, and whole: its BEGIN names snapshot and base, its END is there.

    Raises :class:`StreamDamaged`.
    """
    begin, end = parse_begin(head), parse_end(tail)
    found = (begin.to_guid, begin.from_guid, end.to_guid)
    wanted = (binding.snapshot_guid, binding.base_guid, binding.snapshot_guid)
    if found != wanted:
        raise StreamDamaged(
            f"zfs send gave the stream of another snapshot than {binding.snapshot}",
            subject=binding.snapshot,
            answer=f"guids to, from, end are {found}, expected {wanted}",
            next_step="The snapshot was exchanged while it was sent: run the backup again",
        )


def build_manifest(
    context: Context,
    survey: Survey,
    binding: Binding,
    snapshot: Snapshot,
    stored: StoredStream,
    *,
    properties: dict[str, str],
    job: dict[str, str],
) -> Manifest:
    """The manifest of a stream that is stored whole; ``properties`` are the local ones of the dataset."""
    base = survey.committed(binding.base_id) if binding.base_id else None
    seq, previous = next_place(survey.entries)
    backup_id = BackupId(binding.backup_id)
    dataset = survey.dataset
    return Manifest(
        repository_id=binding.repository_id,
        backup_id=backup_id,
        host=binding.host,
        created=context.clock(),
        seq=max(seq, highest_seen(context.base_dir, survey.repository_id, survey.series) + 1),
        previous=previous,
        level=binding.level,
        level_requested=binding.level_requested,
        chain=base.chain if base else backup_id,
        base=Base(base.backup_id, base.snapshot.name, base.snapshot.guid) if base else None,
        pool=ManifestPool(survey.pool.name, survey.pool.guid),
        dataset=ManifestDataset(dataset.name, dataset.guid, dataset.type, dataset.encrypted),
        snapshot=ManifestSnapshot(snapshot.name, snapshot.guid, snapshot.createtxg, snapshot.creation),
        send=SendRecord(binding.flags, binding.zfs_version, context.zfs.capabilities.platform),
        stream=StreamDigest(stored.stream_bytes, stored.blake3),
        encryption=Encryption(binding.recipients),
        part_size=binding.part_size,
        parts=stored.parts,
        properties=properties,
        tool=f"zrb {VERSION}",
        job=job,
    )


def rehearse_manifest(
    context: Context,
    survey: Survey,
    binding: Binding,
    snapshot: Snapshot,
    *,
    properties: dict[str, str],
    job: dict[str, str],
) -> None:
    """Raise :class:`ManifestInvalid` now for what would make the manifest invalid after days of uploading: a name, a
    property, a number that the format does not allow."""
    digest = "0" * 64
    key = survey.series.part_key(BackupId(binding.backup_id), binding.level, 0)
    part = Part(0, key, 1, digest, 1000, digest, Checksum("none", ""))
    one_byte = StoredStream(stream_bytes=1, blake3=digest, parts=(part,), parts_resumed=0)
    encode_manifest(build_manifest(context, survey, binding, snapshot, one_byte, properties=properties, job=job))


def commit(context: Context, store: Store, signing_key: SigningKey, survey: Survey, manifest: Manifest) -> str:
    """Sign and write the manifest; its key. From here on the backup exists."""
    payload = encode_manifest(manifest)
    key = survey.series.manifest_key(manifest.backup_id)
    envelope = signing_key.sign(payload)
    context.checkpoint("manifest-signed")
    store.put(key, envelope, storage_class=context.config.storage_classes.manifest)
    context.checkpoint("manifest-stored")
    return key


def finish_commit(context: Context, task: Task, survey: Survey, manifest: Manifest, journal: Journal) -> list[str]:
    """What follows a commit: bookmark, holds, journal. Nothing here can fail a backup; what goes wrong is returned
    as sentences. Safe to repeat after a crash. ``survey`` knows the snapshot, unless it is gone."""
    warnings: list[str] = []

    def attempt(step: str, action: Callable[[], None]) -> None:
        try:
            action()
        except EngineError as error:
            warnings.append(error.explain())
        except OSError as error:
            warnings.append(f"{step}: {error.strerror or error}")
        context.checkpoint(step)

    attempt("bookmarked", lambda: _bookmark(context, survey, manifest))
    attempt("holds-released", lambda: _release(context, task, survey, manifest))
    attempt("seq-remembered", lambda: remember(context.base_dir, survey.repository_id, survey.series, manifest.seq))
    attempt("journal-removed", journal.remove)
    return warnings


def _bookmark(context: Context, survey: Survey, manifest: Manifest) -> None:
    if not context.zfs.capabilities.bookmarks:
        return
    snapshot = survey.snapshot_with(manifest.snapshot.guid)
    if snapshot is not None:
        with suppress(NoSuchSnapshot):
            context.zfs.bookmark(snapshot.name, f"{snapshot.dataset_name}#{snapshot.short_name}")


def _release(context: Context, task: Task, survey: Survey, manifest: Manifest) -> None:
    others = [other for other in survey.manifests if other.backup_id != manifest.backup_id]
    for snapshot in snapshots_to_release([*others, manifest], survey.snapshots):
        with suppress(NoSuchSnapshot):
            context.zfs.release(snapshot.name, task.hold_tag)
