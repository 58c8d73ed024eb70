# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Commits a backup: the signed manifest is written last, and only it makes the backup exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from ...errors import ChainBroken, ManifestInvalid, NoSuchSnapshot, PartDamaged, PartMissing, StreamDamaged, explained
from ...plan.chain import next_place
from ...plan.holds import snapshots_to_release
from ...plan.part_proof import beside_listing, proves
from ...repository.catalogue import read_catalogue
from ...repository.part_list import write_part_list
from ...seal.signing import SigningKey
from ...state.highest_seen import highest_seen, remember
from ...state.journal import Binding, Journal
from ...store.protocol import Store
from ...stream.backup_pipeline import StoredStream
from ...values.manifest import (
    BackupSummary,
    Base,
    Encryption,
    Manifest,
    ManifestDataset,
    ManifestPool,
    ManifestSnapshot,
    Part,
    PartsSummary,
    SendRecord,
    StreamDigest,
)
from ...values.manifest_json import encode_manifest
from ...values.part_list_json import checked_parts
from ...values.repository_names import BackupId, Series, hold_tag
from ...values.zfs import Snapshot
from ...version import VERSION
from ...zfs.stream_records import parse_begin, parse_end
from ..context import Context
from .survey import Survey


def check_stream_edges(binding: Binding, head: bytes, tail: bytes) -> None:
    """Check that the stream is the requested one and complete: its BEGIN names snapshot and base, and it has an END.

    Raises :class:`StreamDamaged`.
    """
    begin, end = parse_begin(head), parse_end(tail)
    found = (begin.to_guid, begin.from_guid, end.to_guid)
    wanted = (binding.snapshot_guid, binding.base_guid, binding.snapshot_guid)
    if found != wanted:
        raise StreamDamaged(
            f"zfs send sent another snapshot than {binding.snapshot}",
            subject=binding.snapshot,
            answer=f"guids to, from, end are {found}, expected {wanted}",
            next_step="Something replaced the snapshot in between: run the backup again",
        )


def build_manifest(
    context: Context,
    survey: Survey,
    binding: Binding,
    snapshot: Snapshot,
    stored: StoredStream,
    parts: PartsSummary,
    *,
    properties: dict[str, str],
    job: dict[str, str],
) -> Manifest:
    """The manifest of a stream that is stored completely; ``properties`` are the local ones of the dataset."""
    base = survey.committed(binding.base_id) if binding.base_id else None
    seq, previous = next_place(survey.entries, survey.retired)
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
        parts=parts,
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
    """Raise :class:`ManifestInvalid` now, rather than after days of uploading, for a name, a property or a number that
    the format does not allow."""
    digest = "0" * 64
    key = survey.series.part_list_key(BackupId(binding.backup_id))
    one_part = PartsSummary(key, bytes=1, sha256=digest, count=1, stored_bytes=2)
    one_byte = StoredStream(stream_bytes=1, blake3=digest, parts=1, parts_resumed=0)
    encode_manifest(
        build_manifest(context, survey, binding, snapshot, one_byte, one_part, properties=properties, job=job)
    )


def list_parts(context: Context, store: Store, journal: Journal, stored: StoredStream) -> PartsSummary:
    """Write the list of the parts in the journal, if one listing shows that all of them exist.

    Raises :class:`PartMissing` or :class:`PartDamaged` if a part is not as stored, and ``ObjectExists`` if one has
    other content, or if an earlier run wrote another list.
    """
    binding = journal.binding
    series, backup_id = Series(binding.host, binding.dataset), BackupId(binding.backup_id)
    prefix = series.data_prefix(backup_id, binding.level)
    parts = checked_parts(
        islice(journal.parts(), stored.parts),
        prefix=prefix,
        part_size=binding.part_size,
        stream_bytes=stored.stream_bytes,
    )
    try:
        return write_part_list(
            store,
            series.part_list_key(backup_id),
            _present(store, parts, prefix),
            storage_class=context.config.storage_classes.manifest,
        )
    except ValueError as error:
        raise ManifestInvalid(
            f"The parts of {backup_id} cannot be listed: the journal {error}",
            subject=backup_id,
            next_step="This is a bug in zrb: please report it. Remove that journal, and the next run starts again",
        ) from error


def _present(store: Store, parts: Iterable[Part], prefix: str) -> Iterator[Part]:
    for part, found in beside_listing(parts, store.list(prefix)):
        # Somebody wrote it again, or the endpoint lists other ETags than it returns for a write.
        rewritten = found is not None and part.checksum.etag and not proves(found.checksum, part)
        if found is None or (rewritten and not _holds(store, part)):
            raise PartMissing(
                f"Part {part.index} ({part.key}) was stored, but is no longer in {store.location}",
                subject=part.key,
                next_step="Nothing was committed. Look for a lifecycle rule, or for somebody who deletes objects, then "
                "run the same command again: it sends that part again",
            )
        if found.bytes != part.bytes:
            raise PartDamaged(
                f"{part.key} has {found.bytes} bytes, but {part.bytes} were stored",
                subject=part.key,
                next_step="Nothing was committed. Find out what else writes there, then run the same command again",
            )
        yield part


def _holds(store: Store, part: Part) -> bool:
    """Whether the part exists. Raises ``ObjectExists`` if its key has other content."""
    return store.holds(part.key, size=part.bytes, sha256=part.sha256, expected=part.checksum) is not None


def sign_manifest(context: Context, signing_key: SigningKey, manifest: Manifest) -> bytes:
    """The envelope of the manifest. Signed once: hybrid keys sign otherwise each time, and after a lost reply the very
    same object is compared."""
    envelope = signing_key.sign(encode_manifest(manifest))
    context.checkpoint("manifest-signed")
    return envelope


def commit(context: Context, store: Store, survey: Survey, manifest: Manifest, envelope: bytes) -> str:
    """Write the signed manifest; its key. From here on the backup exists.

    Raises :class:`ChainBroken` if its base was retired since it was chosen, which may be days ago."""
    _check_base(context, store, manifest)
    key = survey.series.manifest_key(manifest.backup_id)
    store.put(key, envelope, storage_class=context.config.storage_classes.manifest)
    context.checkpoint("manifest-stored")
    return key


def _check_base(context: Context, store: Store, manifest: Manifest) -> None:
    if manifest.base is None:
        return
    series, base_id = manifest.series, manifest.base.backup_id
    now = read_catalogue(
        store, trusted=context.trusted_signers(), host=series.host, dataset=series.dataset, records_only=True
    )
    if any(one.backup_id == base_id for one in now.retired(series)):
        raise ChainBroken(
            f"The base {base_id} of {manifest.backup_id} was retired while this backup was made",
            subject=manifest.backup_id,
            next_step="Nothing was committed. Run the same command again: it starts from another base",
        )


def finish_commit(context: Context, survey: Survey, manifest: BackupSummary, journal: Journal) -> list[str]:
    """Do what follows a commit: bookmark, holds, journal. A failure here does not fail the backup, but returns a
    sentence. Safe to repeat after a crash. ``survey`` knows the snapshot unless that is gone."""
    warnings: list[str] = []

    def attempt(step: str, action: Callable[[], None]) -> None:
        try:
            action()
        except OSError as error:
            warnings.append(f"{step}: {error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - the backup exists already
            warnings.append(explained(error).explain())
        context.checkpoint(step)

    attempt("bookmarked", lambda: _bookmark(context, survey, manifest))
    attempt("holds-released", lambda: _release(context, survey, manifest))
    attempt("seq-remembered", lambda: _remember(context, survey, manifest))
    attempt("journal-removed", journal.remove)
    return warnings


def _bookmark(context: Context, survey: Survey, manifest: BackupSummary) -> None:
    if not context.zfs.capabilities.bookmarks:
        return
    snapshot = survey.snapshot_with(manifest.snapshot.guid)
    if snapshot is not None:
        with suppress(NoSuchSnapshot):
            context.zfs.bookmark(snapshot.name, f"{snapshot.dataset_name}#{snapshot.short_name}")


def _remember(context: Context, survey: Survey, manifest: BackupSummary) -> None:
    remember(context.base_dir, survey.repository_id, survey.series, manifest.seq, reported=survey.losses)


def _release(context: Context, survey: Survey, manifest: BackupSummary) -> None:
    others = [other for other in survey.manifests if other.backup_id != manifest.backup_id]
    bound = survey.bound_snapshots if survey.readable else None
    for snapshot in snapshots_to_release([*others, manifest], survey.snapshots, bound=bound):
        with suppress(NoSuchSnapshot):
            context.zfs.release(snapshot.name, hold_tag(manifest.repository_id))
