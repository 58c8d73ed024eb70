# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The catalogue: good manifests are listed, bad ones are reported, and neither hides the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from zrb.errors import (
    EngineError,
    ManifestInvalid,
    ObjectArchived,
    SignatureInvalid,
    StoreDenied,
    ThawNeeded,
)
from zrb.plan.chain import check_series
from zrb.repository.catalogue import Catalogue, read_catalogue
from zrb.repository.signed_objects import read_manifest
from zrb.seal.signing import SigningKey
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import StoredObject
from zrb.values.manifest import BackupSummary, Manifest

from tests.fixtures.committed_repository import CommittedRepository


@pytest.fixture
def repository(tmp_path: Path) -> CommittedRepository:
    return CommittedRepository(tmp_path / "repository")


def read(repository: CommittedRepository, **choice: object) -> Catalogue:
    facts = {"trusted": [repository.signing_key.public]} | choice
    return read_catalogue(repository.store, **facts)  # type: ignore[arg-type]


def key_of(manifest: Manifest) -> str:
    return manifest.series.manifest_key(manifest.backup_id)


def summaries(catalogue: Catalogue) -> list[BackupSummary]:
    return [entry.manifest for entry in catalogue.manifests]


def only_problem(catalogue: Catalogue) -> EngineError:
    (problem,) = catalogue.problems
    return problem


def test_an_empty_repository_has_no_backups(repository: CommittedRepository) -> None:
    catalogue = read(repository)
    assert (catalogue.manifests, catalogue.problems) == ((), ())
    assert catalogue.identity is not None
    assert catalogue.identity.repository_id == repository.repository_id


def test_backups_come_by_line_and_number_with_their_signer_and_hash(repository: CommittedRepository) -> None:
    other = repository.commit(host="nas2", dataset="tank")
    full = repository.commit()
    first = repository.commit(1, base=full)
    child = repository.commit(dataset="tank/data/child")
    catalogue = read(repository, workers=3)
    assert summaries(catalogue) == [full.summary, first.summary, child.summary, other.summary]
    assert {entry.signer for entry in catalogue.manifests} == {repository.signing_key.public}
    assert [entry.key for entry in catalogue.manifests][:2] == [key_of(full), key_of(first)]
    assert catalogue.manifests[0].payload_sha256 == first.previous
    assert check_series(catalogue.manifests[:2]) == []


def test_a_list_of_parts_without_a_manifest_is_no_backup_and_no_problem(repository: CommittedRepository) -> None:
    kept, cut, lost = repository.commit(), repository.commit(), repository.commit()
    unfinished = repository.commit()
    repository.file_of(key_of(unfinished)).unlink()
    repository.file_of(lost.parts.key).unlink()
    repository.file_of(cut.parts.key).write_bytes(b"x")
    catalogue = read(repository)
    assert catalogue.problems == ()
    assert [(entry.manifest, entry.has_part_list) for entry in catalogue.manifests] == [
        (kept.summary, True),
        (cut.summary, False),
        (lost.summary, False),
    ]


def test_what_is_named_like_no_list_is_a_problem(repository: CommittedRepository) -> None:
    manifest = repository.commit()
    stranger = repository.file_of(manifest.parts.key).with_name("notes.parts")
    stranger.write_bytes(b"x")
    problem = only_problem(read(repository))
    assert type(problem) is ManifestInvalid
    assert problem.subject.endswith("/notes.parts")


def test_a_host_and_a_dataset_can_be_chosen(repository: CommittedRepository) -> None:
    full = repository.commit()
    child = repository.commit(dataset="tank/data/child")
    other = repository.commit(host="nas2")
    repository.commit(dataset="tank/database")

    def found(**choice: str) -> list[BackupSummary]:
        return summaries(read(repository, **choice))

    assert found(host="nas1", dataset="tank/data") == [full.summary]
    assert found(host="nas1", dataset="tank/data/child") == [child.summary]
    assert found(dataset="tank/data") == [full.summary, other.summary]
    assert found(host="nas2") == [other.summary]
    assert found(host="nas") == []
    assert len(found()) == 4


def test_a_damaged_manifest_does_not_hide_the_others(repository: CommittedRepository) -> None:
    full, second = repository.commit(), repository.commit()
    repository.flip_bit(key_of(full), 100)
    catalogue = read(repository)
    assert summaries(catalogue) == [second.summary]
    problem = only_problem(catalogue)
    assert problem.subject == key_of(full)
    assert problem.problem.startswith(f"{key_of(full)}: ")
    assert problem.next_step


def test_a_manifest_of_a_stranger_is_reported(repository: CommittedRepository) -> None:
    mine = repository.commit()
    stranger = repository.commit(signing_key=SigningKey.generate())
    catalogue = read(repository)
    assert summaries(catalogue) == [mine.summary]
    assert isinstance(only_problem(catalogue), SignatureInvalid)
    assert only_problem(catalogue).problem.startswith(f"{key_of(stranger)}: The manifest is signed by the key")
    unsigned = read(repository, allow_unsigned=True)
    assert [entry.signer for entry in unsigned.manifests] == [repository.signing_key.public, None]


def test_nothing_is_read_without_a_trusted_signer(repository: CommittedRepository) -> None:
    repository.commit()
    with pytest.raises(SignatureInvalid, match="trusted signer"):
        read(repository, trusted=[])
    assert len(read(repository, trusted=[], allow_unsigned=True).manifests) == 1


@pytest.mark.parametrize("where", ["nas2/tank/data", "nas1/tank/other", "nas1/tank/data/child"])
def test_a_manifest_that_was_copied_to_another_line_is_reported(repository: CommittedRepository, where: str) -> None:
    full = repository.commit()
    key = f"manifests/{where}/{full.backup_id}.json"
    repository.store.put(key, repository.store.get(key_of(full), limit=10**6))
    catalogue = read(repository)
    assert summaries(catalogue) == [full.summary]
    assert only_problem(catalogue).problem == (
        f"{key}: The manifest says that it is {full.backup_id} of tank/data on nas1"
    )
    assert "who can write" in only_problem(catalogue).next_step


def test_a_manifest_under_the_id_of_another_is_reported(repository: CommittedRepository) -> None:
    full = repository.commit()
    key = f"manifests/nas1/tank/data/{full.backup_id[:-1]}f.json"
    repository.store.put(key, repository.store.get(key_of(full), limit=10**6))
    assert only_problem(read(repository)).subject == key


def test_a_manifest_of_another_repository_is_reported(repository: CommittedRepository) -> None:
    mine = repository.commit()
    foreign = repository.commit(change=lambda manifest: replace(manifest, repository_id="f" * 32))
    catalogue = read(repository)
    assert summaries(catalogue) == [mine.summary]
    assert only_problem(catalogue).problem == (
        f"{key_of(foreign)}: The manifest belongs to the repository {'f' * 32}, "
        f"and zrb.json names {repository.repository_id}"
    )


def test_backups_are_listed_where_the_identity_is_lost(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.file_of("zrb.json").unlink()
    catalogue = read(repository)
    assert summaries(catalogue) == [full.summary]
    assert "no zrb.json" in only_problem(catalogue).problem
    repository.file_of("zrb.json").write_text("{}")
    catalogue = read(repository)
    assert summaries(catalogue) == [full.summary]
    assert "zrb.json" in only_problem(catalogue).problem


def test_a_place_that_holds_nothing_is_no_problem(tmp_path: Path) -> None:
    catalogue = read_catalogue(DirectoryStore(tmp_path), trusted=[SigningKey.generate().public])
    assert catalogue == Catalogue((), (), None)


def test_what_others_left_among_the_manifests_is_no_problem(repository: CommittedRepository) -> None:
    full = repository.commit()
    for name in ("notes.txt", ".DS_Store", "x.json_", "json"):
        repository.store.put(f"manifests/nas1/tank/data/{name}", b"hello")
    catalogue = read(repository)
    assert summaries(catalogue) == [full.summary]
    assert catalogue.problems == ()


class Failing(DirectoryStore):
    """Answers every ``get`` below ``manifests/`` with one error."""

    def __init__(self, root: Path, error: EngineError | None) -> None:
        super().__init__(root)
        self.error = error

    def get(self, key: str, *, limit: int) -> bytes:
        if key.startswith("manifests/") and self.error:
            raise self.error
        return super().get(key, limit=limit)


def test_an_archived_manifest_has_to_be_thawed(repository: CommittedRepository) -> None:
    full = repository.commit()
    store = Failing(repository.path, ObjectArchived("x", next_step="x"))
    catalogue = read_catalogue(store, trusted=[repository.signing_key.public])
    problem = only_problem(catalogue)
    assert isinstance(problem, ThawNeeded)
    assert key_of(full) in problem.problem
    assert "lifecycle rule" in problem.next_step


def test_a_store_that_refuses_stops_the_reading(repository: CommittedRepository) -> None:
    repository.commit()
    store = Failing(repository.path, StoreDenied("GetObject was denied", next_step="Ask for it"))
    with pytest.raises(StoreDenied, match="GetObject was denied"):
        read_catalogue(store, trusted=[repository.signing_key.public])


def test_a_manifest_that_is_too_long_is_reported(
    repository: CommittedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = repository.commit()
    monkeypatch.setattr("zrb.repository.signed_objects.MAX_ENVELOPE_BYTES", 100)
    assert only_problem(read(repository)).subject == key_of(full)


def test_a_manifest_that_is_removed_meanwhile_is_left_out(repository: CommittedRepository) -> None:
    full, second = repository.commit(), repository.commit()

    class Forgetful(DirectoryStore):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            listed = [*super().list(prefix)]
            repository.file_of(key_of(full)).unlink(missing_ok=True)
            return iter(listed)

    catalogue = read_catalogue(Forgetful(repository.path), trusted=[repository.signing_key.public])
    assert summaries(catalogue) == [second.summary]
    assert catalogue.problems == ()


def test_manifests_are_read_at_the_same_time(repository: CommittedRepository) -> None:
    for _ in range(4):
        repository.commit(size=10)
    together = threading.Barrier(4, timeout=30)

    class Meeting(DirectoryStore):
        def get(self, key: str, *, limit: int) -> bytes:
            if key.startswith("manifests/"):
                together.wait()
            return super().get(key, limit=limit)

    catalogue = read_catalogue(Meeting(repository.path), trusted=[repository.signing_key.public], workers=4)
    assert len(catalogue.manifests) == 4


def test_the_hash_is_that_of_the_payload(repository: CommittedRepository) -> None:
    from zrb.seal.signing import open_envelope

    full = repository.commit()
    envelope = repository.file_of(key_of(full)).read_bytes()
    payload = open_envelope(envelope, trusted=[repository.signing_key.public]).payload
    assert read(repository).manifests[0].payload_sha256 == sha256(payload).hexdigest()


def test_problems_are_integrity_errors(repository: CommittedRepository) -> None:
    repository.commit()
    repository.store.put("manifests/x.json", b"")
    assert isinstance(only_problem(read(repository)), ManifestInvalid)
    assert only_problem(read(repository)).exit_code == 5


def test_a_whole_manifest_is_the_one_that_was_proved(repository: CommittedRepository) -> None:
    full, second = repository.commit(), repository.commit()
    found = read(repository).manifests
    assert [read_manifest(repository.store, one) for one in found] == [full, second]
    for damage in (
        lambda: repository.flip_bit(key_of(full), 100),
        lambda: repository.file_of(key_of(full)).write_bytes(repository.file_of(key_of(second)).read_bytes()),
        lambda: repository.file_of(key_of(full)).unlink(),
    ):
        damage()
        with pytest.raises(ManifestInvalid) as caught:
            read_manifest(repository.store, found[0])
        assert caught.value.subject == key_of(full)


@pytest.mark.parametrize("length", [0, 100_000])
def test_a_summary_does_not_grow_with_its_manifest(repository: CommittedRepository, length: int) -> None:
    repository.commit(change=lambda manifest: replace(manifest, properties={"user:note": "x" * length}))
    (found,) = summaries(read(repository))
    assert len(repr(found)) < 2000
