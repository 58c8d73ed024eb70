# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commit point and what follows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from zrb.config.key_files import read_signing_key
from zrb.errors import Interrupted, StreamDamaged, ZfsError
from zrb.run.backup import back_up
from zrb.run.backup.commit import build_manifest, check_stream_edges, commit, finish_commit, sign_manifest
from zrb.run.backup.survey import Survey, look, survey_dataset
from zrb.seal.signing import open_envelope
from zrb.state.highest_seen import highest_seen, remember
from zrb.state.journal import Binding, Journal
from zrb.stream.backup_pipeline import StoredStream
from zrb.values.manifest import Manifest
from zrb.values.manifest_json import decode_manifest
from zrb.values.repository_names import Series
from zrb.version import VERSION

from tests.fakes.fleet import DATASET, TAG, Fleet
from tests.fakes.zfs_streams import make_stream


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def stream(to_guid: str, from_guid: str | None = None) -> bytes:
    return make_stream(
        to_name=f"{DATASET}@x", to_guid=to_guid, from_guid=from_guid, content=b"c" * 1000, base_content=b"", nonce=0
    )


def binding_of(manifest: Manifest) -> Binding:
    return Binding(
        repository_id=manifest.repository_id,
        backup_id=manifest.backup_id,
        host=manifest.host,
        dataset=DATASET,
        dataset_guid=manifest.dataset.guid,
        snapshot=manifest.snapshot.name,
        snapshot_guid=manifest.snapshot.guid,
        base_id=manifest.base.backup_id if manifest.base else None,
        base_guid=manifest.base.guid if manifest.base else None,
        level=manifest.level,
        level_requested=manifest.level_requested,
        reason="",
        flags=manifest.send.flags,
        zfs_version=manifest.send.zfs_version,
        part_size=manifest.part_size,
        recipients=manifest.encryption.recipients,
        storage_class="STANDARD",
    )


class TestStreamEdges:
    BINDING = replace(
        Binding(**dict.fromkeys(Binding.__dataclass_fields__)),  # type: ignore[arg-type]
        snapshot=f"{DATASET}@x",
        snapshot_guid="11",
    )

    def test_a_full_and_an_incremental_stream(self) -> None:
        for base in (None, "7"):
            data = stream("11", base)
            check_stream_edges(replace(self.BINDING, base_guid=base), data[:312], data[-312:])

    @pytest.mark.parametrize(("to_guid", "from_guid", "end_guid"), [("12", "7", "11"), ("11", "8", "11")])
    def test_another_snapshot_or_another_base(self, to_guid: str, from_guid: str, end_guid: str) -> None:
        head, tail = stream(to_guid, from_guid)[:312], stream(end_guid)[-312:]
        with pytest.raises(StreamDamaged, match="another snapshot") as caught:
            check_stream_edges(replace(self.BINDING, base_guid="7"), head, tail)
        assert caught.value.subject == f"{DATASET}@x"
        assert f"{(to_guid, from_guid, end_guid)}, expected {('11', '7', '11')}" in caught.value.answer

    def test_the_end_of_another_stream(self) -> None:
        with pytest.raises(StreamDamaged, match="another snapshot"):
            check_stream_edges(self.BINDING, stream("11")[:312], stream("12")[-312:])

    def test_a_full_stream_where_an_increment_was_wanted(self) -> None:
        data = stream("11")
        with pytest.raises(StreamDamaged, match="another snapshot"):
            check_stream_edges(replace(self.BINDING, base_guid="7"), data[:312], data[-312:])

    def test_no_edges_at_all(self) -> None:
        for head, tail in ((b"", b""), (stream("11")[:312], b"x" * 312), (b"x" * 312, stream("11")[-312:])):
            with pytest.raises(StreamDamaged):
                check_stream_edges(self.BINDING, head, tail)


class TestManifest:
    def test_it_repeats_what_was_bound(self, fleet: Fleet) -> None:
        full = fleet.back_up(0).manifest
        first = fleet.back_up(1).manifest
        found = survey_dataset(fleet.context(), look(fleet.context(), fleet.store, fleet.task), DATASET)
        (snapshot,) = [one for one in found.snapshots if one.guid == first.snapshot.guid]
        stored = StoredStream(first.stream.bytes, first.stream.blake3, first.parts.count, 0)
        made = build_manifest(
            fleet.context(),
            found,
            binding_of(first),
            snapshot,
            stored,
            first.parts,
            properties=first.properties,
            job={"id": "1"},
        )
        assert made == replace(first, created=made.created, seq=3, previous=made.previous, job={"id": "1"})
        assert made.previous != first.previous
        assert made.chain == full.backup_id
        assert made.tool == f"zrb {VERSION}"

    def test_numbers_that_were_seen_are_not_used_again(self, fleet: Fleet) -> None:
        repository_id = fleet.back_up(0).manifest.repository_id
        remember(fleet.context().base_dir, repository_id, Series("nas1", DATASET), 41, accepted=("2 to 41",))
        assert fleet.back_up(0).manifest.seq == 42
        assert fleet.back_up(0).manifest.seq == 43

    def test_it_is_signed_and_under_its_key(self, fleet: Fleet) -> None:
        result = fleet.back_up(0)
        envelope = fleet.store.get(result.manifest_key, limit=1 << 20)
        public = read_signing_key(fleet.signing_key).public
        opened = open_envelope(envelope, trusted=[public])
        assert opened.signer == public
        assert decode_manifest(opened.payload) == result.manifest

    def test_the_checkpoints_stand_around_the_one_write(self, fleet: Fleet) -> None:
        manifest = fleet.back_up(0).manifest
        key = manifest.series.manifest_key(manifest.backup_id)
        steps: list[tuple[str, bool]] = []
        context = fleet.context(checkpoint=lambda name: steps.append((name, key in fleet.store.keys)))
        found = survey_dataset(context, look(context, fleet.store, fleet.task), DATASET)
        fleet.store.remove(key)
        envelope = sign_manifest(context, read_signing_key(fleet.signing_key), manifest)
        assert commit(context, fleet.store, found, manifest, envelope) == key
        assert steps == [("manifest-signed", False), ("manifest-stored", True)]


class TestSettle:
    @pytest.fixture
    def left(self, fleet: Fleet) -> tuple[Survey, Manifest, Journal]:
        """A backup that is committed, and nothing after it was done."""

        def stop(name: str) -> None:
            if name == "manifest-stored":
                raise Interrupted(15, next_step="Run again")

        fleet.back_up(0)
        with pytest.raises(Interrupted):
            fleet.run(0, checkpoint=stop)
        found = survey_dataset(fleet.context(), look(fleet.context(), fleet.store, fleet.task), DATASET)
        return found, found.manifests[-1], found.journals[0]

    def test_it_may_be_repeated(self, fleet: Fleet, left: tuple[Survey, Manifest, Journal]) -> None:
        found, manifest, journal = left
        for _ in range(2):
            assert finish_commit(fleet.context(), found, manifest, journal) == []
            assert fleet.held() == {manifest.snapshot.name}
            assert len(fleet.zfs.bookmarks(DATASET)) == 2
            assert fleet.journals() == []
            assert highest_seen(fleet.context().base_dir, manifest.repository_id, manifest.series) == 2

    def test_the_journal_goes_last(self, fleet: Fleet, left: tuple[Survey, Manifest, Journal]) -> None:
        """A crash before it lets the next run do all of it again."""
        steps: list[tuple[str, bool]] = []
        context = fleet.context(checkpoint=lambda name: steps.append((name, bool(fleet.journals()))))
        finish_commit(context, *left)
        assert steps == [
            ("bookmarked", True),
            ("holds-released", True),
            ("seq-remembered", True),
            ("journal-removed", False),
        ]

    def test_each_step_is_tried_whatever_the_others_do(
        self, fleet: Fleet, left: tuple[Survey, Manifest, Journal]
    ) -> None:
        fleet.zfs.fail("bookmark", ZfsError("No bookmark", next_step="Look"))
        fleet.zfs.fail("release", ZfsError("No release", next_step="Look"))
        assert finish_commit(fleet.context(), *left) == ["No bookmark. Look.", "No release. Look."]
        assert fleet.journals() == []

    def test_an_interrupt_is_not_taken_for_a_warning(
        self, fleet: Fleet, left: tuple[Survey, Manifest, Journal]
    ) -> None:
        fleet.zfs.fail("bookmark", Interrupted(2, next_step="Run again"))
        with pytest.raises(Interrupted):
            finish_commit(fleet.context(), *left)
        assert len(fleet.journals()) == 1

    def test_the_snapshot_is_gone_by_then(self, fleet: Fleet, left: tuple[Survey, Manifest, Journal]) -> None:
        _, manifest, _ = left
        fleet.zfs.release(manifest.snapshot.name, TAG)
        fleet.zfs.destroy_snapshot(manifest.snapshot.name)
        assert finish_commit(fleet.context(), *left) == []
        assert len(fleet.zfs.bookmarks(DATASET)) == 1
        assert back_up(fleet.context(), task=fleet.task, level=0).exit_code == 0
