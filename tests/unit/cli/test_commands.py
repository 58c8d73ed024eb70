# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that need no ZFS: what they print for people and for machines."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from zrb.cli.tables import printable, show_table
from zrb.run.verify import verify
from zrb.seal.age_keys import public_of
from zrb.seal.signing import SigningKey
from zrb.values.recipients import kind_of
from zrb.values.size_text import human_size

from tests.fixtures.committed_repository import CommittedRepository

from .conftest import Zrb


def test_list_is_a_table_whose_columns_line_up(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    full = repository.commit(size=3_000_000 // 1000)
    repository.commit(1, base=full, size=10)
    ended = zrb("list", "--config", config)
    assert (ended.code, ended.err) == (0, "")
    header, first, second = ended.out.splitlines()
    assert " ".join(header.split()) == "BACKUP DATASET LEVEL BASE CREATED STREAM STORED PARTS CLASS READABLE"
    assert first.startswith("20260131T030000Z-L0-00000001  tank/data      0  -  ")
    assert "  2026-01-31 03:00:00 UTC  2.9 KiB  " in first
    assert first.endswith(" KiB      3  STANDARD  yes")
    assert f"  1  {full.backup_id}  2026-01-31 04:00:00 UTC     10 B" in second
    for line in (first, second):
        assert line.index("STANDARD") == header.index("CLASS")
    assert all(line == line.rstrip() for line in ended.out.splitlines())


def test_list_says_when_there_is_nothing(zrb: Zrb, config: Path) -> None:
    assert zrb("list", "--config", config).out == "No matching backups.\n"
    assert zrb("list", "--config", config, "--json").document == {"exit_code": 0, "entries": [], "problems": []}


def test_list_selects(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    full = repository.commit()
    child = repository.commit(1, base=full)
    other = repository.commit(dataset="tank/other")
    foreign = repository.commit(host="nas2")

    def listed(*options: str) -> list[str]:
        return [entry["backup_id"] for entry in zrb("list", "--config", config, "--json", *options).document["entries"]]

    assert listed() == [full.backup_id, child.backup_id, other.backup_id]
    assert listed("--level", "1") == [child.backup_id]
    assert listed("--task", "other") == [other.backup_id]
    assert listed("--task", "other", "--task", "data") == [full.backup_id, child.backup_id, other.backup_id]
    assert listed("--host", "nas2") == [foreign.backup_id]
    assert listed("--source", "local") == listed()
    hosts = zrb("list", "--config", config, "--host", "*").out
    assert "nas2:tank/data" in hosts
    refused = zrb("list", "--config", config, "--source", "s3", "--json")
    assert refused.code == 2
    assert "not `s3`" in refused.err


def test_reading_needs_no_recipient(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    repository.commit()
    config.write_text("\n".join(line for line in config.read_text().splitlines() if "age_public_key" not in line))
    assert zrb("list", "--config", config).code == 0
    assert zrb("verify", "--config", config).code == 0
    writing = zrb("backup", "--level", "0", "--config", config)
    assert writing.code == 2
    assert "names no recipient" in writing.err


def test_a_query_prints_json_without_asking_for_it(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    full = repository.commit()
    ended = zrb("list", "--config", config, "--query", "entries[].backup_id | [0]")
    assert (ended.code, ended.document) == (0, full.backup_id)
    wrong = zrb("list", "--config", config, "--query", "[")
    assert (wrong.code, wrong.out) == (2, "")
    assert "jmespath.org" in wrong.err


def test_list_shows_what_cannot_be_restored(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    broken = repository.commit()
    repository.file_of(repository.parts(broken)[0].key).unlink()
    forged = repository.commit(signing_key=SigningKey.generate())
    ended = zrb("list", "--config", config)
    assert ended.code == 5
    assert "1 part(s) missing" in ended.out
    assert forged.backup_id not in ended.out
    assert f"zrb: warning: manifests/nas1/tank/data/{forged.backup_id}.json: " in ended.err and "signed" in ended.err


def test_verify_says_which_depth_ran_over_what(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    repository.commit()
    assert zrb("verify", "--config", config).out.startswith("depth exists over 1 backup(s), 3 part(s), ")
    signature = zrb("verify", "--config", config, "--depth", "signature")
    assert signature.out == "depth signature over 1 backup(s): all is well\n"
    subset = zrb("verify", "--config", config, "--depth", "checksum", "--subset", "1/1")
    assert subset.out.startswith("depth checksum, subset 1/1 over 1 backup(s), 3 of 3 part(s), ")


def test_verify_names_every_damage_and_ends_with_5(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    first, second = repository.commit(), repository.commit()
    repository.flip_bit(repository.parts(first)[2].key)
    repository.file_of(repository.parts(second)[0].key).unlink()
    ended = zrb("verify", "--config", config, "--depth", "checksum")
    assert ended.code == 5
    assert ended.out.endswith(": 2 problem(s)\n")
    damaged, missing = [line for line in ended.err.splitlines() if line.startswith("zrb: ")]
    assert damaged.startswith(f"zrb: tank/data: {repository.parts(first)[2].key} ")
    assert "SHA-256" in damaged and repository.parts(first)[2].sha256 in damaged
    assert missing.startswith(f"zrb: tank/data: Part 0 ({repository.parts(second)[0].key}) ")
    document = zrb("verify", "--config", config, "--depth", "checksum", "--json").document
    assert document["exit_code"] == 5
    assert [problem["error"] for problem in document["problems"]] == ["PartDamaged", "PartMissing"]


def test_verify_decrypts_with_the_key_file(
    zrb: Zrb, config: Path, repository: CommittedRepository, identity_file: Path
) -> None:
    repository.commit()
    ended = zrb("verify", "--config", config, "--depth", "decrypt", "--private-key", identity_file, "--json")
    assert (ended.code, ended.document["depth"]) == (0, "decrypt")
    identity_file.chmod(0o644)
    refused = zrb("verify", "--config", config, "--depth", "decrypt", "--private-key", identity_file)
    assert refused.code == 2
    assert f"chmod 600 {identity_file}" in refused.err
    missing = zrb("verify", "--config", config, "--depth", "decrypt")
    assert missing.code == 2
    assert "--private-key" in missing.err


def test_a_signer_given_by_hand_is_trusted_too(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    stranger = SigningKey.generate()
    repository.commit(signing_key=stranger)
    assert zrb("verify", "--config", config, "--depth", "signature").code == 5
    ended = zrb("verify", "--config", config, "--depth", "signature", "--trusted-signer", stranger.public)
    assert ended.code == 0
    wrong = zrb("verify", "--config", config, "--trusted-signer", "age1nonsense")
    assert wrong.code == 2
    assert "age public key" in wrong.err


def test_verify_tells_what_vanished_until_accepted(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    repository.commit()
    newest = repository.commit()
    assert zrb("verify", "--config", config).code == 0
    repository.file_of(newest.series.manifest_key(newest.backup_id)).unlink()
    ended = zrb("verify", "--config", config)
    assert ended.code == 5
    assert "--accept-losses" in ended.err
    listed = zrb("list", "--config", config)
    assert listed.code == 5
    assert "--accept-losses" in listed.err
    accepted = zrb("verify", "--config", config, "--accept-losses")
    assert accepted.code == 4
    assert "zrb: warning: Accepted: tank/data" in accepted.err
    assert zrb("verify", "--config", config).code == 0
    assert zrb("list", "--config", config).code == 0


def test_verify_says_how_many_parts_were_not_compared(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    repository.commit()
    assert "3 part(s) have the right length" in zrb("verify", "--config", config).out
    assert "right length" not in zrb("verify", "--config", config, "--depth", "checksum").out


@pytest.mark.parametrize(("loss", "word"), [("base", "incomplete"), ("part", "1 part(s) missing"), ("", "yes")])
def test_list_says_what_cannot_be_restored(
    zrb: Zrb, config: Path, repository: CommittedRepository, loss: str, word: str
) -> None:
    full = repository.commit()
    child = repository.commit(1, base=full)
    if loss:
        repository.file_of(repository.parts(full if loss == "base" else child)[0].key).unlink()
    ended = zrb("list", "--config", config, "--level", "1")
    assert ended.code == (5 if loss else 0)
    assert word in ended.out


def test_verify_progress_as_json_goes_to_stderr(zrb: Zrb, config: Path, repository: CommittedRepository) -> None:
    repository.commit()
    ended = zrb("verify", "--config", config, "--progress", "json", "--job-id", "job-7", "--json")
    records = [json.loads(line) for line in ended.err.splitlines()]
    assert [record["type"] for record in records] == ["start", "progress", "progress", "finish"]
    assert {record["job_id"] for record in records} == {"job-7"}
    assert records[-1]["result"] == ended.document
    assert zrb("verify", "--config", config, "--progress", "none").err == ""


@pytest.mark.parametrize("command", ["genkey", "signing-key"])
def test_a_key_is_made_once_and_never_overwritten(zrb: Zrb, tmp_path: Path, command: str) -> None:
    path = tmp_path / "the.key"
    planned = zrb(command, "--output", path, "--dry-run")
    assert (planned.code, planned.out, path.exists()) == (0, f"{path} would be written\n", False)
    made = zrb(command, "--output", path, "--json")
    assert (made.code, made.document["created"], path.stat().st_mode & 0o777) == (0, True, 0o600)
    content = path.read_text()
    again = zrb(command, "--output", path)
    assert path.read_text() == content
    assert again.code == 0
    assert str(path) in again.out and f"public key: {made.document['public_key']}\n" in again.out
    assert str(path) in zrb(command, "--output", path, "--dry-run").out
    private = next(line for line in content.splitlines() if not line.startswith("#"))
    for ended in (planned, made, again):
        assert private not in ended.out + ended.err


def test_genkey_makes_a_pair(zrb: Zrb, tmp_path: Path) -> None:
    path = tmp_path / "age.key"
    public = zrb("genkey", "--output", path, "--json").document["public_key"]
    assert public_of(path.read_text().splitlines()[-1]) == public
    assert kind_of(public) == "hybrid"
    classic = zrb("genkey", "--classic", "--output", tmp_path / "classic.key", "--json").document["public_key"]
    assert kind_of(classic) == "classic"
    # A key that is there stays, whichever kind is asked for.
    assert zrb("genkey", "--output", tmp_path / "classic.key", "--json").document["public_key"] == classic


def test_signing_key_makes_a_pair(zrb: Zrb, tmp_path: Path) -> None:
    public = zrb("signing-key", "--output", tmp_path / "hybrid.key", "--json").document["public_key"]
    assert public.startswith("zrbsign1pq1")
    classic = zrb("signing-key", "--classic", "--output", tmp_path / "classic.key", "--json").document["public_key"]
    assert len(classic) < len(public)
    assert zrb("signing-key", "--output", tmp_path / "classic.key", "--json").document["public_key"] == classic


def test_a_key_that_cannot_be_written_says_why(zrb: Zrb, tmp_path: Path) -> None:
    ended = zrb("genkey", "--output", tmp_path / "nowhere" / "age.key")
    assert ended.code == 2
    assert f"{tmp_path}/nowhere/age.key " in ended.err and "No such file" in ended.err


def test_validate_config_is_a_line_a_check(zrb: Zrb, config: Path) -> None:
    ended = zrb("validate-config", "--config", config, "--offline")
    lines = ended.out.splitlines()
    assert any(line.startswith("ok      config ") for line in lines)
    assert any(line.startswith("warning recipients ") and " -> Add a second one" in line for line in lines)
    document = zrb("validate-config", "--config", config, "--offline", "--json").document
    assert len(document["checks"]) == len(lines)
    assert document["exit_code"] == ended.code


def test_restore_without_a_private_key_says_so(zrb: Zrb, config: Path) -> None:
    ended = zrb("restore", "--config", config, "--dataset", "tank/data", "--target", "tank/new")
    assert ended.code == 2
    assert "private age key" in ended.err and "--private-key" in ended.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "--task NAME"),
        (["--task", "data", "--task", "other"], "data, other"),
        (["--task", "data", "--dataset", "tank/x"], "--dataset and --task"),
    ],
)
def test_restore_wants_exactly_one_dataset(zrb: Zrb, config: Path, options: list[str], told: str) -> None:
    ended = zrb("restore", "--config", config, "--target", "tank/new", "--dry-run", *options)
    assert ended.code == 2
    assert told in ended.err


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 1024**4, "5.0 TiB"), (-2048, "-2.0 KiB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


def test_a_table_obeys_no_name(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("A", "B"), [("\x1b[31m[bold]x\n", "y" * 300)])
    printed = capsys.readouterr().out
    assert printed.splitlines()[1] == "\N{REPLACEMENT CHARACTER}[31m[bold]x\N{REPLACEMENT CHARACTER}  " + "y" * 300
    assert printable("tank/Grüße") == "tank/Grüße"


WORDS = st.text("abcΩ界", min_size=1, max_size=30)
TABLES = st.integers(1, 5).flatmap(
    lambda count: st.tuples(
        st.lists(WORDS, min_size=count, max_size=count, unique=True),
        st.lists(st.lists(WORDS, min_size=count, max_size=count), max_size=4),
    )
)


@given(TABLES, st.integers(1, 120), st.booleans(), st.data())
def test_a_table_leaves_columns_out_and_never_folds_or_cuts(
    table: tuple[list[str], list[list[str]]], width: int, terminal: bool, data: st.DataObject
) -> None:
    headers, rows = table
    dispensable = data.draw(st.lists(st.sampled_from(headers), unique=True))
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdout", stream)
        patched.setenv("COLUMNS", str(width))
        show_table(headers, rows, dispensable=dispensable)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + len(rows)
    shown = {header for header in headers if header in lines[0].split()}
    assert shown >= set(headers) - set(dispensable)
    for line, cells in zip(lines[1:], rows, strict=True):
        assert all(cell in line for header, cell in zip(headers, cells, strict=True) if header in shown)
    if not terminal:
        assert shown == set(headers)
    elif shown & set(dispensable):
        assert max(cell_len(line) for line in lines) <= width


def test_a_list_fits_eighty_columns(
    zrb: Zrb, config: Path, repository: CommittedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = repository.commit(size=3000)
    level_1 = repository.commit(1, base=full, size=10)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    header, *lines = zrb("list", "--config", config).out.splitlines()
    assert header.split() == ["BACKUP", "DATASET", "STORED", "CLASS", "READABLE"]
    assert [line.split()[0] for line in lines] == [full.backup_id, level_1.backup_id]
    assert max(map(len, [header, *lines])) <= 80


def test_verify_is_the_same_from_python(config: Path, repository: CommittedRepository, zrb: Zrb) -> None:
    repository.commit()
    report = verify(repository.context(), depth="exists").as_json()
    assert zrb("verify", "--config", config, "--json").document == report


@pytest.mark.parametrize("command", ["list", "verify", "validate-config"])
def test_a_key_in_a_directory_that_this_user_may_not_enter(
    zrb: Zrb, config: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    # As root, permissions do not count: the file system's answer is what a service user would get.
    key = config.parent / "signing.key"
    real_stat, real_open = os.stat, os.open

    def denied_stat(path: object, *arguments: object, **options: object) -> object:
        if str(path) == str(key):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_stat(path, *arguments, **options)  # type: ignore[arg-type]

    def denied_open(path: object, *arguments: object, **options: object) -> int:
        if str(path) == str(key):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real_open(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", denied_stat)
    monkeypatch.setattr(os, "open", denied_open)
    options = ["--offline"] if command == "validate-config" else []
    ended = zrb(command, "--config", config, *options)
    assert ended.code == 2
    assert f"{key} " in ended.out + ended.err and "Permission denied" in ended.out + ended.err
