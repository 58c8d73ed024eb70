# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a restore, from manifests and a listing alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from zrb.errors import (
    BackupsVanished,
    ChainBroken,
    EngineError,
    NoSuchBackup,
    PartDamaged,
    PartMissing,
    RepositoryChanged,
)
from zrb.run.restore.plan import RestorePlan, RestoreSelection, read_plan
from zrb.state.highest_seen import remember
from zrb.values.manifest import Manifest
from zrb.values.repository_names import Series

from tests.fakes.store import MemoryStore
from tests.fixtures.committed_repository import CommittedRepository

SELECTION = RestoreSelection(dataset="tank/data", target="tank/copy")


@pytest.fixture
def repository(tmp_path: Path) -> CommittedRepository:
    return CommittedRepository(tmp_path / "repository")


@pytest.fixture
def chain(repository: CommittedRepository) -> list[Manifest]:
    full = repository.commit(0)
    first = repository.commit(1, base=full)
    return [full, first]


def plan(repository: CommittedRepository, selection: RestoreSelection = SELECTION, **changes: object) -> RestorePlan:
    arguments = {"trusted": (repository.signing_key.public,), "allow_unsigned": False, **changes}
    return read_plan(repository.context(), repository.store, selection, **arguments)  # type: ignore[arg-type]


def refused(repository: CommittedRepository, selection: RestoreSelection = SELECTION) -> EngineError:
    with pytest.raises(EngineError) as caught:
        plan(repository, selection)
    return caught.value


def test_the_whole_chain_to_the_newest(repository: CommittedRepository, chain: list[Manifest]) -> None:
    found = plan(repository)
    assert [link.manifest for link in found.links] == chain
    assert (found.dataset, found.target, found.warnings) == ("tank/data", "tank/copy", ())
    assert found.stream_bytes == sum(manifest.stream.bytes for manifest in chain)
    assert found.stored_bytes == sum(manifest.parts.stored_bytes for manifest in chain)


def test_one_link_alone(repository: CommittedRepository, chain: list[Manifest]) -> None:
    only = RestoreSelection("tank/data", "tank/copy", backup_id=chain[1].backup_id, only=True)
    assert [link.manifest for link in plan(repository, only).links] == chain[1:]
    repository.file_of(chain[0].series.manifest_key(chain[0].backup_id)).unlink()
    assert [link.manifest for link in plan(repository, only).links] == chain[1:]
    assert type(refused(repository)) is ChainBroken


def test_nothing_there(repository: CommittedRepository) -> None:
    assert type(refused(repository)) is NoSuchBackup


def test_a_part_is_missing(repository: CommittedRepository, chain: list[Manifest]) -> None:
    part = repository.parts(chain[0])[1]
    repository.file_of(part.key).unlink()
    error = refused(repository)
    assert type(error) is PartMissing
    assert error.subject == part.key
    for name in ("Part 1 ", chain[0].backup_id, part.key, str(repository.path)):
        assert name in error.problem
    assert "`zrb verify --depth exists`" in error.next_step


def test_a_part_is_of_another_length(repository: CommittedRepository, chain: list[Manifest]) -> None:
    part = repository.parts(chain[1])[0]
    with repository.file_of(part.key).open("ab") as file:
        file.write(b"x")
    error = refused(repository)
    assert type(error) is PartDamaged
    assert error.subject == part.key
    assert f"{part.bytes + 1} bytes" in error.problem and "manifest" in error.problem


def test_a_refused_manifest_is_not_passed_over(repository: CommittedRepository, chain: list[Manifest]) -> None:
    """It may be the very one that is wanted."""
    key = chain[1].series.manifest_key(chain[1].backup_id)
    repository.flip_bit(key, 200)
    error = refused(repository)
    assert error.exit_code == 5
    assert key in error.explain()
    assert "--backup-id" in error.next_step
    wanted = RestoreSelection("tank/data", "tank/copy", backup_id=chain[1].backup_id)
    assert refused(repository, wanted).exit_code == 5
    other = plan(repository, RestoreSelection("tank/data", "tank/copy", backup_id=chain[0].backup_id))
    assert [link.manifest for link in other.links] == chain[:1]
    assert any(key in warning for warning in other.warnings)


def test_a_repository_without_its_identity(repository: CommittedRepository, chain: list[Manifest]) -> None:
    repository.file_of("zrb.json").unlink()
    assert type(refused(repository)) is RepositoryChanged


def test_a_repository_that_shows_less_than_before(repository: CommittedRepository, chain: list[Manifest]) -> None:
    remember(repository.context().base_dir, repository.repository_id, Series("nas1", "tank/data"), 5)
    error = refused(repository)
    assert (type(error), error.subject) == (BackupsVanished, "tank/data")
    older = plan(repository, RestoreSelection("tank/data", "tank/copy", backup_id=chain[0].backup_id))
    assert any("number 5" in warning for warning in older.warnings)


def test_unsigned_manifests(repository: CommittedRepository, chain: list[Manifest]) -> None:
    (warning,) = plan(repository, trusted=(), allow_unsigned=True).warnings
    assert "without a trusted signature" in warning
    assert plan(repository, allow_unsigned=True).warnings == (), "all are signed by a trusted key"


class TestArchived:
    @pytest.fixture
    def store(self, repository: CommittedRepository, chain: list[Manifest]) -> MemoryStore:
        """The same repository, where there are storage classes."""
        copy = MemoryStore()
        for item in repository.store.list(""):
            copy.put(item.key, repository.store.get(item.key, limit=1 << 20))
        return copy

    def test_a_listing_does_not_say_what_was_thawed(
        self, repository: CommittedRepository, chain: list[Manifest], store: MemoryStore
    ) -> None:
        keys = [part.key for part in repository.parts(chain[0])]
        for key in keys:
            store.archive(key, "GLACIER")

        def readable() -> list[bool]:
            found = read_plan(
                repository.context(),
                store,
                SELECTION,
                trusted=(repository.signing_key.public,),
                allow_unsigned=False,
            )
            assert [link.storage_class for link in found.links] == ["GLACIER", "STANDARD"]
            return [link.readable for link in found.links]

        assert readable() == [False, True]
        for key in keys[:-1]:
            store.thaw(key)
        assert readable() == [False, True]
        store.thaw(keys[-1])
        assert readable() == [True, True]
