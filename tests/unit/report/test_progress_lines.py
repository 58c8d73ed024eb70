# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the screen shows while an operation runs."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from zrb.report.progress_bar import Bar
from zrb.report.progress_lines import JsonLines, Lines, ProgressMode, open_progress

GIB = 1024**3


class Seconds:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class GoneAway(io.StringIO):
    """A stream whose reader has left."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def json_lines(stream: io.StringIO, seconds: Seconds) -> JsonLines:
    return JsonLines(stream, "job-7", clock=lambda: datetime(2026, 1, 31, 2, 0, tzinfo=UTC), monotonic=seconds)


def test_json_records_have_the_documented_fields() -> None:
    stream = io.StringIO()
    progress = json_lines(stream, Seconds())
    progress.start("backup", total=456, message="tank/data at level 0")
    progress.advance("send", current=123, total=456, message="part 1")
    progress.log("part stored", level="warning", key="data/x")
    progress.finish(status="ok", result={"backup_id": "b"})
    common = {"time": "2026-01-31T02:00:00Z", "operation": "backup", "job_id": "job-7", "unit": "bytes"}
    assert records(stream) == [
        common
        | {"seq": 1, "type": "start", "phase": None, "current": 0, "total": 456, "message": "tank/data at level 0"},
        common | {"seq": 2, "type": "progress", "phase": "send", "current": 123, "total": 456, "message": "part 1"},
        common
        | {"seq": 3, "type": "log", "phase": "send", "current": None, "total": None, "message": "part stored"}
        | {"level": "warning", "facts": {"key": "data/x"}},
        common
        | {"seq": 4, "type": "finish", "phase": "send", "current": None, "total": None, "message": ""}
        | {"status": "ok", "result": {"backup_id": "b"}},
    ]


def test_json_records_of_a_phase_come_at_most_once_a_second_but_for_the_first_the_last_and_a_step_back() -> None:
    stream, seconds = io.StringIO(), Seconds()
    progress = json_lines(stream, seconds)
    for current in (0, 10, 20):
        progress.advance("upload", current=current, total=100)
    seconds.now += 1
    progress.advance("upload", current=30, total=100)
    progress.advance("upload", current=25, total=100)
    progress.advance("upload", current=60, total=100)
    progress.advance("upload", current=100, total=100)
    progress.advance("upload", current=100, total=100)
    progress.advance("commit", current=0, total=None)
    assert [(r["phase"], r["current"]) for r in records(stream)] == [
        ("upload", 0),
        ("upload", 30),
        ("upload", 25),
        ("upload", 100),
        ("commit", 0),
    ]


def test_lines_come_every_five_percent() -> None:
    stream = io.StringIO()
    progress = Lines(stream, monotonic=Seconds())
    progress.start("backup", total=2 * GIB, message="tank/data at level 0")
    for percent in range(101):
        progress.advance("send", current=2 * GIB * percent // 100, total=2 * GIB)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "backup: tank/data at level 0 (2.0 GiB)"
    assert lines[1] == "backup: send 0 % (0 B of 2.0 GiB)"
    assert len(lines) == 22
    assert lines[-1] == "backup: send 100 % (2.0 GiB of 2.0 GiB)"


def test_lines_without_a_known_total_come_every_half_minute() -> None:
    stream, seconds = io.StringIO(), Seconds()
    progress = Lines(stream, monotonic=seconds)
    progress.start("backup", total=None, message="tank/data at level 0")
    progress.advance("send", current=1, total=None)
    seconds.now += 29
    progress.advance("send", current=1024, total=None)
    seconds.now += 1
    progress.advance("send", current=1536, total=None, message="part 2")
    assert stream.getvalue().splitlines() == [
        "backup: tank/data at level 0",
        "backup: send 1 B",
        "backup: send 1.5 KiB, part 2",
    ]


def test_lines_show_facts_only_when_verbose() -> None:
    quiet, verbose = io.StringIO(), io.StringIO()
    Lines(quiet).log("part stored", key="data/x")
    Lines(verbose, verbose=True).log("part stored", level="warning", key="data/x")
    assert quiet.getvalue() == "part stored\n"
    assert verbose.getvalue() == "warning: part stored [key=data/x]\n"


@pytest.mark.parametrize("kind", ["json", "lines"])
def test_a_reader_that_has_left_never_fails_the_operation(kind: str) -> None:
    stream = GoneAway()
    progress = JsonLines(stream) if kind == "json" else Lines(stream)
    progress.start("backup", total=None, message="x")
    progress.log("y")
    progress.finish(status="ok", result={})
    assert stream.writes == 1


def test_the_bar_shows_phase_size_and_messages_and_leaves_the_terminal_clean() -> None:
    stream = Terminal()
    bar = Bar(stream, verbose=True)
    bar.start("backup", total=2 * GIB, message="tank/data at level 0")
    bar.advance("send", current=GIB, total=2 * GIB, message="part 1")
    bar.log("part [1] stored", key="data/x")
    bar.advance("commit", current=1, total=None)
    bar.finish(status="ok", result={})
    bar.close()
    text = stream.getvalue()
    assert "backup: tank/data at level 0 (2.0 GiB)" in text
    assert "send part 1" in text
    assert "1.0/2.0 GiB" in text
    assert "part [1] stored [key=data/x]" in text
    assert "commit" in text
    hidden, shown = text.rindex("\x1b[?25l"), text.rindex("\x1b[?25h")
    assert shown > hidden, "the cursor is back"


def test_a_terminal_that_has_gone_never_fails_the_operation() -> None:
    class Gone(GoneAway):
        def isatty(self) -> bool:
            return True

    bar = Bar(Gone())
    bar.start("backup", total=None, message="x")
    bar.advance("send", current=1, total=2)
    bar.log("y")
    bar.finish(status="ok", result={})


@pytest.mark.parametrize(
    ("mode", "terminal", "term", "expected"),
    [
        ("auto", True, "xterm", "bar"),
        ("auto", True, "dumb", "lines"),
        ("auto", True, "", "lines"),
        ("auto", False, "xterm", "lines"),
        ("bar", True, "xterm", "bar"),
        ("lines", True, "xterm", "lines"),
        ("json", True, "xterm", "json"),
        ("none", True, "xterm", "none"),
    ],
)
def test_the_mode_chooses_the_look(
    mode: ProgressMode, terminal: bool, term: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    stream = Terminal() if terminal else io.StringIO()
    with open_progress(mode, stream=stream, job_id="j") as progress:
        progress.advance("send", current=1, total=2)
    text = stream.getvalue()
    looks = {"bar": "\x1b[" in text, "json": text.startswith("{"), "none": not text}
    assert [look for look, shown in looks.items() if shown] == [expected] * (expected != "lines")
    assert "send 50 %" in text or expected != "lines"
