# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log files of a dataset."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from zrb.report.logs import REDACTED, Logged, log_file, redact

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Heard:
    """A progress that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        self.calls.append(("start", operation))

    def advance(self, phase: str, *, current: int, total: int | None, message: str = "") -> None:
        self.calls.append(("advance", current))

    def log(self, message: str, *, level: str = "info", **facts: object) -> None:
        self.calls.append((level, message))

    def finish(self, *, status: str, result: dict[str, object]) -> None:
        self.calls.append(("finish", status))


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_one_record_and_goes_on_to_the_screen(tmp_path: Path) -> None:
    heard = Heard()
    logged = Logged(heard, log_dir=tmp_path / "log", dataset="tank/a b", job_id="j", clock=lambda: NOON)
    logged.start("backup", total=10, message="begin")
    logged.advance("send", current=1, total=10)
    logged.advance("send", current=2, total=10)
    logged.log("part stored", index=0)
    logged.finish(status="failed", result={"x": 1})
    path = tmp_path / "log" / "tank" / "a%20b" / "2026-01-31.log"
    written = records(path)
    assert [r["event"] for r in written] == ["start", "phase", "log", "finish"]
    assert {r["dataset"] for r in written} == {"tank/a b"}
    assert {r["operation"] for r in written} == {"backup"}
    assert {r["time"] for r in written} == {"2026-01-31T12:00:00Z"}
    assert written[2]["facts"] == {"index": 0}
    assert (written[3]["status"], written[3]["result"]) == ("failed", {"x": 1})
    assert [name for name, _ in heard.calls] == ["start", "advance", "advance", "info", "finish"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.parent.stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o750


def test_a_later_run_appends_and_a_new_day_has_its_own_file(tmp_path: Path) -> None:
    days = [NOON, NOON, NOON.replace(month=2, day=1)]
    for day in days:
        Logged(Heard(), log_dir=tmp_path, dataset="tank", clock=lambda day=day: day).log("x")
    assert len(records(log_file(tmp_path, "tank", NOON))) == 2
    assert len(records(tmp_path / "tank" / "2026-02-01.log")) == 1


def test_a_log_that_cannot_be_written_is_said_once_and_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    heard = Heard()
    logged = Logged(heard, log_dir=tmp_path / "file", dataset="tank", clock=lambda: NOON)
    logged.start("backup", total=None, message="begin")
    logged.log("one")
    logged.finish(status="ok", result={})
    warnings = [message for level, message in heard.calls if level == "warning"]
    assert len(warnings) == 1
    assert f"{tmp_path}/file/tank/2026-01-31.log" in warnings[0]
    assert "make log_dir writable" in warnings[0]
    assert logged.warnings == warnings


@pytest.mark.parametrize("written", [0, 5])
def test_a_full_disk_is_said_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    logged = Logged(Heard(), log_dir=tmp_path, dataset="tank", clock=lambda: NOON)
    monkeypatch.setattr(os, "write", lambda *_: written)
    logged.log("one")
    assert "No space left" in logged.warnings[0]


def test_a_symlink_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("keep")
    path = log_file(tmp_path, "tank", NOON)
    path.parent.mkdir()
    path.symlink_to(victim)
    Logged(Heard(), log_dir=tmp_path, dataset="tank", clock=lambda: NOON).log("x")
    assert victim.read_text() == "keep"


@pytest.mark.parametrize("dataset", ["../../etc", "tank/..", "tank/."])
def test_no_dataset_name_leaves_the_log_directory(tmp_path: Path, dataset: str) -> None:
    assert tmp_path in log_file(tmp_path, dataset, NOON).resolve().parents


@pytest.mark.parametrize(
    "secret",
    [
        "AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQGWCXTK",
        "AGE-SECRET-KEY-PQ-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQGWCXTK",
        "ZRB-SIGNING-KEY-1ABCDPQYQSZQ234567",
        "ZRB-SIGNING-KEY-PQ-1ABCDPQYQSZQ234567",
        "https://bucket/x?X-Amz-Signature=0a1b2c3d4e&y=1",
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/0a1b2c3d4e",
        "my-own-secret-0a1b2c3d4e",
    ],
)
def test_no_secret_reaches_the_log(tmp_path: Path, secret: str) -> None:
    path = log_file(tmp_path, "tank", NOON)
    logged = Logged(
        Heard(), log_dir=tmp_path, dataset="tank", secrets=("my-own-secret-0a1b2c3d4e",), clock=lambda: NOON
    )
    logged.log(f"failed with {secret}", url=secret)
    text = path.read_text()
    assert "0a1b2c3d4e" not in text
    assert "PQYQSZQ" not in text
    assert REDACTED in text
    json.loads(text)


def test_what_is_no_secret_stays() -> None:
    text = "age1qqpqyqszqgpqyqszqgp tank/data@zrb_level0 s3://bucket/prefix"
    assert redact(text, ("",)) == text
