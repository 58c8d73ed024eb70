# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb cleanup``: the plan as a table and as a document, and what the command does with it."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fixtures.committed_repository import CommittedRepository
from tests.unit.cli.conftest import Zrb

EVERY_RULE = {f"keep_{name}": 1 for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}


def keep(config: Path, **rules: Any) -> None:
    """Say in the configuration what to keep."""
    document = yaml.safe_load(config.read_text()) | {"retention": rules}
    config.write_text(yaml.safe_dump(document))


@pytest.fixture
def backups(repository: CommittedRepository) -> list[str]:
    """The ids of five backups of level 0, and of a level 1 on the last of them."""
    made = [repository.commit() for _ in range(5)]
    return [one.backup_id for one in (*made, repository.commit(1, base=made[-1]))]


def test_the_plan_is_a_table_of_eighty_columns(zrb: Zrb, config: Path, backups: list[str]) -> None:
    keep(config, **EVERY_RULE, keep_within="10d")
    ended = zrb("cleanup", "--config", config, "--dry-run")
    lines = ended.out.splitlines()
    assert all(len(line) <= 80 for line in lines[1:]), "the first line names all rules"
    assert [line.split()[0] for line in lines[2 : 2 + len(backups)]] == backups
    keep(config, **EVERY_RULE)
    lines = zrb("cleanup", "--config", config, "--dry-run").out.splitlines()
    assert [line.split(maxsplit=3)[3] for line in lines[2 : 2 + len(backups)]] == [
        *["removed"] * 4,
        f"needed by {backups[-1]}",
        "kept: last, hourly, daily, 3 more",
    ]
    assert all(len(line) <= 80 for line in lines[1:])


def test_the_plan_of_a_dry_run_is_what_is_done(zrb: Zrb, config: Path, backups: list[str]) -> None:
    keep(config, keep_last=3)
    before = zrb("list", "--config", config, "--json").document
    dry = zrb("cleanup", "--config", config, "--dry-run", "--json")
    assert zrb("list", "--config", config, "--json").document == before
    refused = zrb("cleanup", "--config", config, "--json")
    assert (dry.code, refused.code, refused.document["error"]["error"]) == (4, 2, "RemovalsUnconfirmed")
    assert dry.document["plan"]["unconfirmed"]["next_step"] == refused.document["error"]["next_step"]
    done = zrb("cleanup", "--config", config, "--json", "--max-removals", "3")
    assert (done.code, done.document["plan"]) == (0, dry.document["plan"])
    assert sorted(done.document["removed"]) == backups[:3]
    left = zrb("list", "--config", config, "--query", "entries[].backup_id")
    assert (left.code, left.document) == (0, backups[3:])


def test_nothing_is_kept_for_nothing(zrb: Zrb, config: Path, backups: list[str]) -> None:
    ended = zrb("cleanup", "--config", config)
    assert ended.code == 0
    assert ended.out.count("kept: never") == len(backups)
    assert "Removed 0 backup(s), 0 object(s)." in ended.out


def test_what_is_wrong_is_told(zrb: Zrb, config: Path, repository: CommittedRepository, backups: list[str]) -> None:
    keep(config, keep_last=1)
    next(repository.path.rglob("*.age")).unlink()
    for dry_run in ((), ("--dry-run",)):
        ended = zrb("cleanup", "--config", config, "--max-removals", "9", *dry_run)
        assert ended.code == 5
        assert "nothing removed of nas1:tank/data: " in ended.err
    assert len(list(repository.path.rglob("*.json"))) == 1 + len(backups)


def test_the_totals_say_what_is_paid_and_what_is_saved(zrb: Zrb, config: Path, backups: list[str]) -> None:
    keep(config, keep_last=1)
    unknown = zrb("cleanup", "--config", config, "--dry-run").out
    assert unknown.count("price unknown") == 2, "nothing goes later, and costs nothing"
    document = yaml.safe_load(config.read_text()) | {"prices": {"STANDARD": 1e6}}
    config.write_text(yaml.safe_dump(document))
    totals = zrb("cleanup", "--config", config, "--dry-run", "--json").document["plan"]["totals"]
    lines = zrb("cleanup", "--config", config, "--dry-run").out.splitlines()[-3:]
    for line, fate, text in zip(lines, totals, ("a month", "a month saved then", "a month saved"), strict=True):
        assert line.endswith(f"{totals[fate]['month_price']:.2f} {text}")
    assert totals["remove"]["month_price"] > totals["later"]["month_price"] == 0


@pytest.mark.parametrize(("days", "told"), [(8, "unfinished: removed"), (6, "unfinished: a run may go on with it")])
def test_what_was_never_finished_is_in_the_table(
    zrb: Zrb, config: Path, repository: CommittedRepository, backups: list[str], days: int, told: str
) -> None:
    last = next(repository.path.rglob(f"{backups[-2]}/*.age"))
    part = last.parent.with_name("20260101T000000Z-L0-0123abcd") / last.name
    part.parent.mkdir()
    part.write_bytes(b"x" * 2048)
    keep(config, keep_last=99)
    (plan,) = zrb("cleanup", "--config", config, "--dry-run", "--json").document["plan"]["series"]
    snapshot = max(one["snapshot_creation"] for one in plan["backups"] if one["level"] == 0)
    written = (datetime.fromisoformat(snapshot) - timedelta(days=days)).timestamp()
    os.utime(part, (written, written))
    lines = zrb("cleanup", "--config", config).out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    (line,) = [line for line in lines if part.parent.name in line]
    assert line.split(maxsplit=3)[1:] == ["2.0", "KiB", told]
    assert part.exists() is (days < 7)


def test_what_was_being_written_is_removed(
    zrb: Zrb, config: Path, repository: CommittedRepository, backups: list[str]
) -> None:
    place = next(repository.path.rglob(f"{backups[0]}/*.age")).parent.with_name("20260101T000000Z-L0-0123abcd")
    place.mkdir()
    left = [place / f".tmp-{digit * 32}~" for digit in "ab"]
    for number, file in enumerate(left):
        file.write_bytes(b"x" * 2048)
        os.utime(file, (number, number))
    keep(config, keep_last=99)
    assert "Unfinished uploads, and removed: 2, 4.0 KiB." in zrb("cleanup", "--config", config, "--dry-run").out
    ended = zrb("cleanup", "--config", config)
    assert (ended.code, [file.exists() for file in left]) == (0, [False, False])
    assert "Removed 0 backup(s), 2 object(s)." in ended.out
