# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification proves what it says, finds every damage, and names it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import (
    BackupsVanished,
    NoSuchBackup,
    ObjectArchived,
    PartDamaged,
    SignatureInvalid,
    StoreDenied,
    UsageError,
    WrongIdentity,
)
from zrb.plan.buffer_layout import count_chunks
from zrb.run.verify import Subset, VerifyReport, verify
from zrb.seal.age_keys import new_identity
from zrb.seal.signing import SigningKey
from zrb.store.directory import DirectoryStore
from zrb.values.config import Task
from zrb.values.manifest import Base, Part

from tests.fakes.fleet import LIMITS, Fleet
from tests.fixtures.committed_repository import CommittedRepository, renamed

READING = ("checksum", "decrypt")
LOOKING = ("exists", *READING)
DEPTHS = ("signature", *LOOKING)


@pytest.fixture
def repository(tmp_path: Path) -> CommittedRepository:
    return CommittedRepository(tmp_path / "repository")


def verified(repository: CommittedRepository, depth: str, **selection: Any) -> VerifyReport:
    context = selection.pop("context", None) or repository.context()
    selection.setdefault("identities", [repository.age_key[0]])
    return verify(context, depth=depth, **selection)  # type: ignore[arg-type]


def told(report: VerifyReport) -> str:
    return "\n".join(problem.error.explain() for problem in report.problems)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_sound_repository_has_no_problem_at_any_depth(repository: CommittedRepository, depth: str) -> None:
    full = repository.commit()
    repository.commit(1, base=full, size=900)
    report = verified(repository, depth)
    assert told(report) == ""
    assert report.as_json() == {
        "exit_code": 0,
        "depth": depth,
        "subset": None,
        "backups": ["20260131T030000Z-L0-00000001", "20260131T040000Z-L1-00000002"],
        "parts": 0 if depth == "signature" else 4,
        "parts_total": 4,
        "not_compared": 4 if depth == "exists" else 0,
        "bytes": 0
        if depth == "signature"
        else sum(path.stat().st_size for path in repository.path.glob("data/**/*.age")),
        "problems": [],
        "warnings": [],
    }


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_flipped_bit_in_any_part_is_found_where_the_depth_reads(
    repository: CommittedRepository, depth: str, index: int
) -> None:
    manifest = repository.commit()
    key = repository.parts(manifest)[index].key
    repository.flip_bit(key, 300)
    report = verified(repository, depth)
    if depth not in READING:
        assert report.exit_code == 0
        return
    assert report.exit_code == 5
    assert [problem.error.subject for problem in report.problems] == [key]
    assert repository.parts(manifest)[index].sha256 in told(report)
    assert report.problems[0].as_json()["backup_id"] == manifest.backup_id


@pytest.mark.parametrize("depth", LOOKING)
def test_every_missing_part_is_named(repository: CommittedRepository, depth: str) -> None:
    manifest = repository.commit()
    gone = [repository.parts(manifest)[0].key, repository.parts(manifest)[2].key]
    for key in gone:
        repository.file_of(key).unlink()
    report = verified(repository, depth)
    assert report.exit_code == 5
    assert sorted(problem.error.subject for problem in report.problems) == gone
    assert {problem.as_json()["error"] for problem in report.problems} == {"PartMissing"}
    assert all(name in told(report) for name in ("Part 0 ", gone[0], str(repository.path)))


@pytest.mark.parametrize("depth", LOOKING)
@pytest.mark.parametrize("kind", ["PartMissing", "PartDamaged"])
def test_a_list_of_parts_that_is_not_the_signed_one_is_named(
    repository: CommittedRepository, depth: str, kind: str
) -> None:
    first, second = repository.commit(), repository.commit()
    if kind == "PartMissing":
        repository.file_of(first.parts.key).unlink()
    else:
        repository.flip_bit(first.parts.key)
    repository.file_of(repository.parts(second)[1].key).unlink()
    report = verified(repository, depth)
    assert [(problem.as_json()["error"], problem.error.subject) for problem in report.problems] == [
        (kind, first.parts.key),
        ("PartMissing", repository.parts(second)[1].key),
    ]
    assert (report.parts, report.parts_total) == (second.parts.count, 2 * second.parts.count)
    assert report.exit_code == 5


@pytest.mark.parametrize("depth", LOOKING)
@pytest.mark.parametrize("length", [0, 200, -1])
def test_a_part_that_was_cut_is_found(repository: CommittedRepository, depth: str, length: int) -> None:
    manifest = repository.commit()
    path = repository.file_of(repository.parts(manifest)[1].key)
    path.write_bytes(path.read_bytes()[:length])
    report = verified(repository, depth)
    assert report.exit_code == 5
    assert [problem.error.subject for problem in report.problems] == [repository.parts(manifest)[1].key]


@pytest.mark.parametrize("depth", LOOKING)
def test_a_part_that_grew_is_found(repository: CommittedRepository, depth: str) -> None:
    manifest = repository.commit()
    path = repository.file_of(repository.parts(manifest)[1].key)
    path.write_bytes(path.read_bytes() + b"more")
    report = verified(repository, depth)
    for length in (repository.parts(manifest)[1].bytes, repository.parts(manifest)[1].bytes + 4):
        assert f" {length} bytes" in told(report)


def test_damage_in_one_backup_does_not_hide_that_in_another(repository: CommittedRepository) -> None:
    first, _sound, third = repository.commit(), repository.commit(), repository.commit()
    for manifest in (first, third):
        repository.flip_bit(repository.parts(manifest)[0].key)
    for depth in READING:
        report = verified(repository, depth)
        assert [problem.backup_id for problem in report.problems] == [first.backup_id, third.backup_id]


ACCIDENTS: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda _content: None,
    "empty": lambda _content: b"",
    "cut": lambda content: content[:-1],
    "grown": lambda content: content + b"more",
    "a bit flipped": lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
    "other bytes": lambda content: content[::-1],
}


@pytest.mark.parametrize(
    ("earlier", "later", "keys"),
    [
        *((earlier, None, keys) for earlier in ACCIDENTS for keys in ("right", "wrong", "both")),
        *((earlier, later, "right") for earlier in ACCIDENTS for later in ACCIDENTS if earlier != later),
    ],
)
def test_every_depth_finds_what_the_ones_before_it_find(
    repository: CommittedRepository, earlier: str, later: str | None, keys: str
) -> None:
    """Also after a change of keys: what no key opens is read all the same."""
    manifest = repository.commit(size=4500)
    hit = {1: earlier, 3: later} if later else {1: earlier}
    for index, accident in hit.items():
        path = repository.file_of(repository.parts(manifest)[index].key)
        content = ACCIDENTS[accident](path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)
    stranger = new_identity()[0]
    identities = {"right": [repository.age_key[0]], "wrong": [stranger], "both": [stranger, repository.age_key[0]]}
    found: set[str] = set()
    for depth in DEPTHS:
        report = verified(repository, depth, identities=identities[keys])
        now = {problem.error.subject for problem in report.problems if type(problem.error) is not WrongIdentity}
        assert found <= now, f"{depth} finds less"
        assert report.exit_code == (5 if now else 0)
        unopened = [problem for problem in report.problems if type(problem.error) is WrongIdentity]
        assert len(unopened) == (depth == "decrypt" and keys == "wrong")
        found = now
    assert found == {repository.parts(manifest)[index].key for index in hit}


@pytest.mark.parametrize("damaged", [{0}, {20}, {39}, {5, 30}], ids=str)
def test_decrypt_reads_little_twice(tmp_path: Path, damaged: set[int]) -> None:
    """After damage it goes on with what was not proven yet."""
    fleet = Fleet(tmp_path)
    fleet.change_limits(memory_limit=1 << 20)
    fleet.write(1, length=40 * LIMITS.part_size - 1000)
    parts = fleet.parts(fleet.back_up(0).manifest)
    for index in damaged:
        fleet.store.corrupt(parts[index].key)
    fleet.store.calls.clear()
    report = verify(fleet.context(), depth="decrypt", identities=[fleet.identity])
    assert {problem.error.subject for problem in report.problems} == {parts[index].key for index in damaged}
    reads = Counter(key for call, key in fleet.store.calls if call == "read_into")
    times = {part.index: reads[part.key] / count_chunks(part.bytes, LIMITS.chunk_size) for part in parts}
    again = {index for index, count in times.items() if count > 1}
    assert len(again) <= 18, "what was on its way when the first damage was found"
    assert max(times.values()) <= 2


def test_a_backup_that_no_key_opens_does_not_hide_damage(repository: CommittedRepository) -> None:
    """Recipients changed in between; only the new key is at hand."""
    old = repository.commit()
    repository.age_key = new_identity()
    new = repository.commit()
    for manifest in (old, new):
        repository.flip_bit(repository.parts(manifest)[2].key)
    report = verified(repository, "decrypt")
    assert [(problem.backup_id, type(problem.error)) for problem in report.problems] == [
        (old.backup_id, PartDamaged),
        (old.backup_id, WrongIdentity),
        (new.backup_id, PartDamaged),
    ]
    assert report.exit_code == 5


class TestWithoutReading:
    """The depth `exists`, on a store that keeps checksums: one listing, and one more look at what was written again."""

    @pytest.fixture
    def fleet(self, tmp_path: Path) -> Fleet:
        return Fleet(tmp_path)

    @pytest.fixture
    def keys(self, fleet: Fleet) -> list[str]:
        parts = fleet.parts(fleet.back_up(0).manifest)
        fleet.store.calls.clear()
        return [part.key for part in parts]

    def exists(self, fleet: Fleet) -> VerifyReport:
        return verify(fleet.context(), depth="exists")

    def test_untouched(self, fleet: Fleet, keys: list[str]) -> None:
        report = self.exists(fleet)
        assert (report.exit_code, report.parts, report.not_compared) == (0, len(keys), 0)
        assert not [call for call, key in fleet.store.calls if key in keys]

    def test_other_bytes_with_a_checksum_of_the_whole_are_damage(self, fleet: Fleet, keys: list[str]) -> None:
        """What was uploaded in chunks was replaced by a plain PUT, whose checksum is of another kind."""
        fleet.store.replace(keys[1], fleet.store.get(keys[1], limit=1 << 20)[::-1])
        report = self.exists(fleet)
        assert [(type(problem.error), problem.error.subject) for problem in report.problems] == [(PartDamaged, keys[1])]

    def test_an_honest_copy_with_a_checksum_of_the_whole_is_compared(self, fleet: Fleet, keys: list[str]) -> None:
        for key in keys:
            fleet.store.replace(key, fleet.store.get(key, limit=1 << 20))
        report = self.exists(fleet)
        assert (report.exit_code, report.not_compared) == (0, 0)

    def test_what_cannot_be_compared_is_counted(self, fleet: Fleet, keys: list[str]) -> None:
        """An honest copy in other chunks looks like other bytes in as many chunks."""
        for key in keys[:2]:
            fleet.store.copy(key, 7)
        report = self.exists(fleet)
        assert (report.exit_code, report.not_compared) == (0, 2)
        assert report.as_json()["not_compared"] == 2
        assert sorted(key for call, key in fleet.store.calls if call == "head" and key in keys) == keys[:2]
        assert verify(fleet.context(), depth="checksum").not_compared == 0

    def test_a_part_that_vanishes_between_two_looks(self, fleet: Fleet, keys: list[str]) -> None:
        fleet.store.copy(keys[0], 7)
        fleet.store.fail("head", key_part=keys[0], error=StoreDenied("No", next_step="Allow it"))
        with pytest.raises(StoreDenied):
            self.exists(fleet)


def test_decrypt_finds_a_part_whose_plaintext_is_not_what_was_signed(repository: CommittedRepository) -> None:
    def lie(part: Part) -> Part:
        return replace(part, plain_blake3="0" * 64) if part.index == 1 else part

    manifest = repository.commit(change_part=lie)
    assert verified(repository, "checksum").exit_code == 0
    report = verified(repository, "decrypt")
    assert [problem.error.subject for problem in report.problems] == [repository.parts(manifest)[1].key]
    assert "decrypts" in told(report)


def test_decrypt_finds_a_stream_that_is_not_what_was_signed(repository: CommittedRepository) -> None:
    manifest = repository.commit(
        change=lambda manifest: replace(manifest, stream=replace(manifest.stream, blake3="0" * 64))
    )
    report = verified(repository, "decrypt")
    assert [problem.backup_id for problem in report.problems] == [manifest.backup_id]
    assert "BLAKE3" in told(report)


def test_the_wrong_identity_is_one_problem_of_each_backup(repository: CommittedRepository) -> None:
    backups = [repository.commit(), repository.commit()]
    report = verified(repository, "decrypt", identities=[new_identity()[0]])
    assert [(problem.backup_id, type(problem.error)) for problem in report.problems] == [
        (manifest.backup_id, WrongIdentity) for manifest in backups
    ]
    assert report.exit_code == WrongIdentity.exit_code


def test_decrypt_without_an_identity_says_what_to_do(repository: CommittedRepository) -> None:
    repository.commit()
    with pytest.raises(UsageError, match="--private-key"):
        verified(repository, "decrypt", identities=[])


def test_without_a_trusted_signer_nothing_is_verified(repository: CommittedRepository) -> None:
    repository.commit()
    with pytest.raises(SignatureInvalid, match="No trusted signer"):
        verified(repository, "signature", trusted=[])


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_manifest_of_an_untrusted_signer_is_a_problem(repository: CommittedRepository, depth: str) -> None:
    repository.commit()
    foreign = repository.commit(signing_key=SigningKey.generate())
    report = verified(repository, depth)
    assert report.exit_code == 5
    assert foreign.backup_id in told(report)
    assert foreign.backup_id not in report.backups


def test_a_repository_of_damaged_manifests_alone_is_a_problem_not_an_empty_success(
    repository: CommittedRepository,
) -> None:
    manifest = repository.commit()
    repository.flip_bit(manifest.series.manifest_key(manifest.backup_id), 60)
    report = verified(repository, "exists")
    assert (report.exit_code, report.backups) == (5, ())


def test_a_chain_with_a_missing_link_is_a_problem(repository: CommittedRepository) -> None:
    full = repository.commit()
    child = repository.commit(1, base=full)
    repository.file_of(full.series.manifest_key(full.backup_id)).unlink()
    report = verified(repository, "signature")
    assert [(problem.backup_id, problem.as_json()["error"]) for problem in report.problems] == [
        (child.backup_id, "ChainBroken"),
        ("", "BackupsVanished"),
    ]


def test_a_link_that_does_not_fit_its_base_is_a_problem(repository: CommittedRepository) -> None:
    full = repository.commit()
    repository.commit(
        1,
        base=full,
        change=lambda manifest: renamed(manifest, base=Base(full.backup_id, full.snapshot.name, "999999")),
    )
    report = verified(repository, "signature")
    assert report.exit_code == 5
    assert "999999" in told(report)


def test_backups_that_vanished_since_the_last_look_are_a_problem(repository: CommittedRepository) -> None:
    repository.commit()
    newest = repository.commit()
    assert verified(repository, "signature").exit_code == 0
    repository.file_of(newest.series.manifest_key(newest.backup_id)).unlink()
    report = verified(repository, "signature")
    assert (report.exit_code, report.status) == (5, "failed")
    assert [type(problem.error) for problem in report.problems] == [BackupsVanished]
    assert report.problems[0].dataset == "tank/data"


def test_nothing_to_verify_is_no_success(repository: CommittedRepository) -> None:
    with pytest.raises(NoSuchBackup, match="nothing was verified"):
        verified(repository, "exists")
    repository.commit()
    with pytest.raises(NoSuchBackup, match=r"nas1 .* id x"):
        verified(repository, "exists", backup_id="x")


def test_task_level_host_and_id_select(repository: CommittedRepository) -> None:
    full = repository.commit()
    child = repository.commit(1, base=full)
    other = repository.commit(dataset="tank/other")
    foreign = repository.commit(host="nas2")
    task = Task(name="t", pool="tank", dataset="data")
    assert verified(repository, "exists", level=1).backups == (child.backup_id,)
    assert verified(repository, "exists", backup_id=other.backup_id).backups == (other.backup_id,)
    assert verified(repository, "exists", task=task).backups == (full.backup_id, child.backup_id)
    assert verified(repository, "exists", host="nas2").backups == (foreign.backup_id,)


@pytest.mark.parametrize("depth", LOOKING)
def test_all_shares_of_a_subset_together_are_everything_and_overlap_nowhere(
    repository: CommittedRepository, depth: str
) -> None:
    manifest = repository.commit(size=6500)
    for part in repository.parts(manifest):
        repository.file_of(part.key).unlink()
    shares = [verified(repository, depth, subset=f"{share}/3") for share in (1, 2, 3)]
    found = [problem.error.subject for report in shares for problem in report.problems]
    assert sorted(found) == [part.key for part in repository.parts(manifest)]
    assert sum(report.parts for report in shares) == 7
    assert {report.parts_total for report in shares} == {7}
    assert shares[0].as_json()["subset"] == "1/3"


def test_a_share_reads_nothing_else(repository: CommittedRepository) -> None:
    manifest = repository.commit(size=6500)
    share = Subset.parse("2/3")
    for part in repository.parts(manifest):
        if part not in share:
            repository.flip_bit(part.key)
    for depth in READING:
        assert verified(repository, depth, subset="2/3").exit_code == 0


@pytest.mark.parametrize("text", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1.0/3"])
def test_a_subset_that_is_none_says_how_to_write_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Subset.parse(text)
    assert f"{text!r} " in caught.value.problem and "subset" in caught.value.problem
    assert "1/7" in caught.value.next_step


class Archived(DirectoryStore):
    """A store whose parts are all archived."""

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        if key.startswith("data/"):
            raise ObjectArchived("archived", subject=key, answer="InvalidObjectState", next_step="Thaw it")
        super().read_into(key, offset, buffer)


@pytest.mark.parametrize(("depth", "code"), [("exists", 0), ("checksum", 7), ("decrypt", 7)])
def test_archived_parts_wait_for_thawing_where_they_must_be_read(
    repository: CommittedRepository, depth: str, code: int
) -> None:
    repository.commit()
    context = repository.context(open_store=lambda: Archived(repository.path))
    report = verified(repository, depth, context=context)
    assert report.exit_code == code
    if code:
        assert "archive class" in told(report) and "InvalidObjectState" in told(report)


def test_damage_counts_more_than_waiting(repository: CommittedRepository) -> None:
    repository.commit()
    repository.commit(signing_key=SigningKey.generate())
    context = repository.context(open_store=lambda: Archived(repository.path))
    assert verified(repository, "checksum", context=context).exit_code == 5


@pytest.mark.parametrize("depth", READING)
def test_what_makes_the_repository_unreadable_is_raised_not_reported_part_by_part(
    repository: CommittedRepository, depth: str
) -> None:
    class Denied(DirectoryStore):
        def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
            raise StoreDenied("Reading is not allowed", subject=key, next_step="Allow s3:GetObject")

    repository.commit(size=6500)
    context = repository.context(open_store=lambda: Denied(repository.path))
    with pytest.raises(StoreDenied, match="Allow s3:GetObject"):
        verified(repository, depth, context=context)


class Heard:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        self.told.append(("start", operation, total, message))

    def advance(self, phase: str, *, current: int, total: int | None, message: str = "") -> None:
        self.told.append(("advance", current, total))

    def log(self, message: str, *, level: str = "info", **facts: Any) -> None:
        self.told.append((level, message))

    def finish(self, *, status: str, result: dict[str, Any]) -> None:
        self.told.append(("finish", status, result["exit_code"]))


@pytest.mark.parametrize("depth", LOOKING)
def test_progress_reaches_the_total_and_tells_of_damage(repository: CommittedRepository, depth: str) -> None:
    sound, damaged = repository.commit(), repository.commit()
    total = sound.parts.stored_bytes + damaged.parts.stored_bytes
    heard = Heard()
    verified(repository, depth, context=repository.context(progress=heard))
    assert heard.told[0] == ("start", "verify", total, f"2 backups, {depth}")
    assert max(call[1] for call in heard.told if call[0] == "advance") == total
    assert heard.told[-1] == ("finish", "ok", 0)
    repository.file_of(repository.parts(damaged)[0].key).unlink()
    heard = Heard()
    verified(repository, depth, context=repository.context(progress=heard))
    assert [call for call in heard.told if call[0] == "warning"] != []
    assert heard.told[-1] == ("finish", "failed", 5)


def test_every_depth_closes_the_stores_that_it_opens(repository: CommittedRepository) -> None:
    open_stores: list[DirectoryStore] = []

    class Counted(DirectoryStore):
        def close(self) -> None:
            open_stores.remove(self)

    def opened() -> Iterator[None] | Any:
        store = Counted(repository.path)
        open_stores.append(store)
        return store

    repository.flip_bit(repository.parts(repository.commit())[0].key)
    for depth in DEPTHS:
        verified(repository, depth, context=repository.context(open_store=opened))
        assert open_stores == []
