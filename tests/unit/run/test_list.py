# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the repository is said to hold."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from zrb.errors import BackupsVanished, NoSuchRepository, UsageError
from zrb.run.list import list_backups
from zrb.run.verify import verify
from zrb.seal.signing import SigningKey
from zrb.store.directory import DirectoryStore
from zrb.store.protocol import StoredObject
from zrb.values.config import Task
from zrb.values.manifest import Manifest
from zrb.values.repository_names import Series

from tests.fixtures.committed_repository import CommittedRepository


@pytest.fixture
def repository(tmp_path: Path) -> CommittedRepository:
    return CommittedRepository(tmp_path / "repository")


class Archive(DirectoryStore):
    """A directory whose level 0 parts are in an archive class."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for item in super().list(prefix):
            archived = "/level0/" in item.key
            yield replace(item, storage_class="DEEP_ARCHIVE", readable=False) if archived else item


def test_entries_say_what_was_backed_up(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.commit(1, base=full, size=10)
    entries = [entry.as_json() for entry in list_backups(repository.context()).entries]
    assert entries[1] == {
        "backup_id": "20260131T040000Z-L1-00000002",
        "host": "nas1",
        "dataset": "tank/data",
        "level": 1,
        "level_requested": 1,
        "base": {
            "backup_id": "20260131T030000Z-L0-00000001",
            "snapshot": "tank/data@zrb_level0_1",
            "guid": "1001",
        },
        "chain": "20260131T030000Z-L0-00000001",
        "seq": 2,
        "created": "2026-01-31T04:00:00Z",
        "snapshot": "tank/data@zrb_level1_2",
        "snapshot_guid": "1002",
        "snapshot_creation": "2026-01-31T04:00:00Z",
        "stream_bytes": 10,
        "stored_bytes": sum(path.stat().st_size for path in repository.path.glob("data/**/level1/*/*")),
        "parts": 1,
        "missing_parts": 0,
        "storage_class": "STANDARD",
        "complete": True,
        "readable": True,
        "signer": repository.signing_key.public,
    }
    assert entries[0]["base"] is None
    assert entries[0]["parts"] == 3


LOSSES: dict[str, Callable[[CommittedRepository, Manifest], None]] = {
    "manifest": lambda repository, one: repository.file_of(one.series.manifest_key(one.backup_id)).unlink(),
    "damaged manifest": lambda repository, one: repository.flip_bit(one.series.manifest_key(one.backup_id), 60),
    "first part": lambda repository, one: repository.file_of(repository.parts(one)[0].key).unlink(),
    "last part": lambda repository, one: repository.file_of(repository.parts(one)[-1].key).unlink(),
    "list of parts": lambda repository, one: repository.file_of(one.parts.key).unlink(),
}


@pytest.mark.parametrize("level", [None, 2])
@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("link", [0, 1, 2])
def test_what_a_loss_makes_of_all_that_builds_upon_it(
    repository: CommittedRepository, link: int, lost: str, level: int | None
) -> None:
    chain = [repository.commit()]
    for number in (1, 2):
        chain.append(repository.commit(number, base=chain[-1]))
    assert list_backups(repository.context()).exit_code == 0
    LOSSES[lost](repository, chain[link])
    listing = list_backups(repository.context(), level=level)
    shown = {entry.backup_id: (entry.complete, entry.readable) for entry in listing.entries}
    gone = "manifest" in lost
    assert shown == {
        manifest.backup_id: (number < link, number < link)
        for number, manifest in enumerate(chain)
        if level in (None, number) and not (gone and number == link)
    }
    nothing_tells = lost == "manifest" and link == 2  # and nobody had looked before
    assert listing.exit_code == (0 if nothing_tells else 5)


@pytest.mark.parametrize("look", ["list", "verify"])
@pytest.mark.parametrize(
    ("removed", "task", "told"),
    [
        ((), None, []),
        (("tank/a",), None, ["tank/a"]),
        (("tank/a", "tank/b/c d"), None, ["tank/a", "tank/b/c d"]),
        (("tank/a",), "b", []),
        (("tank/b/c d",), "b", ["tank/b/c d"]),
        (("newest of tank/a",), None, ["tank/a"]),
        (("newest of tank/a",), "b", []),
        (("nas2",), None, []),
    ],
)
def test_what_was_seen_and_is_there_no_longer(
    repository: CommittedRepository, removed: tuple[str, ...], task: str | None, told: list[str], look: str
) -> None:
    """A whole dataset, or its newest backups."""
    for dataset in ("tank/a", "tank/a", "tank/b", "tank/b/c d"):
        newest = repository.commit(dataset=dataset)
        if dataset == "tank/a":
            newest_of_a = newest
    repository.commit(host="nas2", dataset="tank/a")
    context = repository.context()
    for host in ("nas1", "nas2"):
        assert verify(context, depth="signature", host=host).exit_code == 0
    for what in removed:
        if what == "newest of tank/a":
            LOSSES["manifest"](repository, newest_of_a)
        elif what == "nas2":
            shutil.rmtree(repository.path / "manifests" / "nas2")
        else:
            directory = repository.path / Series("nas1", what).manifest_prefix
            for path in directory.glob("*.json"):
                path.unlink()
    tasks = Task(name="t", pool="tank", dataset=task, recursive=True) if task else None
    if look == "list":
        listing = list_backups(context, task=tasks)
        found = [problem for problem in listing.problems if type(problem) is BackupsVanished]
        code = listing.exit_code
    else:
        report = verify(context, depth="signature", task=tasks)
        found = [problem.error for problem in report.problems if type(problem.error) is BackupsVanished]
        code = report.exit_code
    assert [problem.subject for problem in found] == told
    assert code == (5 if told else 0)
    if removed == ("nas2",):
        assert [type(problem) for problem in list_backups(context, host="*").problems] == [BackupsVanished]


def test_a_missing_part_shows(repository: CommittedRepository) -> None:
    manifest = repository.commit()
    repository.file_of(repository.parts(manifest)[1].key).unlink()
    (entry,) = list_backups(repository.context()).entries
    assert (entry.missing_parts, entry.readable) == (1, False)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes() + b"\n")])
def test_a_list_of_parts_that_is_gone_or_of_another_length_shows(
    repository: CommittedRepository, damage: Callable[[Path], object]
) -> None:
    damage(repository.file_of(repository.commit().parts.key))
    repository.commit()
    entries = list_backups(repository.context()).entries
    assert [(entry.missing_parts, entry.readable) for entry in entries] == [(0, False), (0, True)]


def test_parts_are_counted_for_their_own_backup_alone(repository: CommittedRepository) -> None:
    """Whatever else lies there: children, one that is called like a level, parts beyond the last, foreign files."""
    manifest = repository.commit()
    for dataset in ("tank/data/child", "tank/data/level0", f"tank/data/level0/{manifest.backup_id}"):
        repository.commit(dataset=dataset)
    directory = repository.file_of(repository.parts(manifest)[0].key).parent
    for name in ("snapshot.part-000003.age", "snapshot.part-0000001.age", "notes"):
        (directory / name).write_bytes(b"x")
    repository.file_of(repository.parts(manifest)[2].key).unlink()
    listing = list_backups(repository.context())
    assert [(entry.dataset, entry.parts, entry.missing_parts) for entry in listing.entries] == [
        ("tank/data", 3, 1),
        ("tank/data/child", 3, 0),
        ("tank/data/level0", 3, 0),
        (f"tank/data/level0/{manifest.backup_id}", 3, 0),
    ]


def test_archived_parts_show(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.commit(1, base=full)
    context = repository.context(open_store=lambda: Archive(repository.path))
    assert [(entry.storage_class, entry.readable) for entry in list_backups(context).entries] == [
        ("DEEP_ARCHIVE", False),
        ("STANDARD", False),
    ]


def test_level_task_and_host_select(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.commit(1, base=full)
    repository.commit(dataset="tank/data/child")
    repository.commit(dataset="tank/database")
    repository.commit(host="nas2")
    context = repository.context()
    task = Task(name="t", pool="tank", dataset="data")

    def listed(**selection: object) -> list[tuple[str, str, int]]:
        found = list_backups(context, **selection)  # type: ignore[arg-type]
        return [(entry.host, entry.dataset, entry.level) for entry in found.entries]

    assert listed(level=1) == [("nas1", "tank/data", 1)]
    assert listed(task=task) == [("nas1", "tank/data", 0), ("nas1", "tank/data", 1)]
    assert ("nas1", "tank/data/child", 0) in listed(task=replace(task, recursive=True))
    assert ("nas1", "tank/database", 0) not in listed(task=replace(task, recursive=True))
    assert listed(host="nas2") == [("nas2", "tank/data", 0)]
    assert len(listed(host="*")) == 5
    assert len(listed()) == 4


def test_a_damaged_and_a_foreign_manifest_do_not_hide_the_good_ones(repository: CommittedRepository) -> None:
    good, damaged = repository.commit(), repository.commit()
    foreign = repository.commit(signing_key=SigningKey.generate())
    repository.flip_bit(damaged.series.manifest_key(damaged.backup_id), 100)
    listing = list_backups(repository.context())
    assert [entry.backup_id for entry in listing.entries] == [good.backup_id]
    assert listing.exit_code == 5
    told = sorted(problem.explain() for problem in listing.problems)
    assert damaged.backup_id in told[0]
    assert foreign.backup_id in told[1]
    assert "public key" in told[1]
    assert [problem["error"] for problem in listing.as_json()["problems"]] != []


def test_without_a_trusted_signer_everything_is_listed_as_unsigned(repository: CommittedRepository) -> None:
    repository.commit()
    context = repository.context()
    context = replace(context, config=replace(context.config, trusted_signers=()))
    (entry,) = list_backups(context).entries
    assert entry.signer is None


def test_a_query_answers_from_the_document(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.commit(1, base=full)
    answer = list_backups(repository.context(), query="entries[?level==`0`].backup_id").answer
    assert answer == [full.backup_id]


@pytest.mark.parametrize("query", ["entries[", "length(exit_code)", ""])
def test_a_query_that_cannot_be_applied_is_an_error_that_says_so(repository: CommittedRepository, query: str) -> None:
    with pytest.raises(UsageError) as caught:
        list_backups(repository.context(), query=query)
    assert repr(query) in caught.value.explain()
    assert "jmespath.org" in caught.value.explain()


def test_an_empty_repository_lists_nothing(repository: CommittedRepository) -> None:
    listing = list_backups(repository.context())
    assert (listing.entries, listing.problems, listing.exit_code) == ((), (), 0)


def test_a_repository_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    repository = CommittedRepository(tmp_path / "repository")
    context = repository.context(open_store=lambda: DirectoryStore(tmp_path / "unmounted"))
    with pytest.raises(NoSuchRepository):
        list_backups(context)
