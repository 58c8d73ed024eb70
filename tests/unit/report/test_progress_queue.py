# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress that never waits for its screen."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TextIO

import pytest
from zrb.report.progress_lines import JsonLines
from zrb.report.progress_queue import MANY, Queued

RECORDS = 500


class StoppedScreen(io.StringIO):
    """A screen that takes nothing until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.go_on.wait()
        return super().write(text)


@pytest.fixture
def screen() -> Iterator[StoppedScreen]:
    stopped = StoppedScreen()
    yield stopped
    stopped.go_on.set()


def queued_on(stream: TextIO, patience_s: float = 60.0) -> Queued:
    return Queued(JsonLines(stream, interval_s=0), at_end=lambda: None, patience_s=patience_s)


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_stopped_screen_stops_nobody_and_then_shows_all_but_outdated_movements(screen: StoppedScreen) -> None:
    progress = queued_on(screen)
    progress.start("backup", total=RECORDS, message="")
    assert screen.reached.wait(60)
    for number in range(RECORDS):
        progress.advance("send", current=number, total=None)
        progress.advance("send", current=number, total=None, message="newest")
        if number % 100 == 0:
            progress.log(str(number))
    progress.advance("commit", current=1, total=1)
    progress.finish(status="ok", result={})
    screen.go_on.set()
    progress.close()
    shown = records(screen.getvalue())
    assert [one["seq"] for one in shown] == list(range(1, len(shown) + 1))
    assert [one["message"] for one in shown if one["type"] == "log"] == ["0", "100", "200", "300", "400"]
    movements = [one for one in shown if one["type"] == "progress"]
    assert len(movements) <= MANY + 6
    assert {one["message"] for one in movements[MANY:]} == {"newest", ""}
    assert movements[-2]["current"] == RECORDS - 1
    assert [one["phase"] for one in shown[-3:]] == ["send", "commit", "commit"]
    assert shown[-1]["type"] == "finish"


def test_a_screen_that_stays_stopped_is_given_up_at_the_end(screen: StoppedScreen) -> None:
    progress = queued_on(screen, patience_s=0.01)
    progress.log("one")
    progress.finish(status="ok", result={})
    progress.close()
    assert screen.getvalue() == ""


def test_a_slow_screen_gets_everything(screen: StoppedScreen) -> None:
    """Longer than the patience in all, but never without taking something."""
    turns = iter(range(10_000))

    def write_slowly(text: str) -> int:
        if next(turns) % 10 == 0:
            threading.Event().wait(0.01)
        return io.StringIO.write(screen, text)

    screen.write = write_slowly  # type: ignore[method-assign]
    progress = queued_on(screen, patience_s=0.2)
    for number in range(RECORDS):
        progress.log(str(number))
    progress.close()
    assert [one["message"] for one in records(screen.getvalue())] == [str(number) for number in range(RECORDS)]


def test_records_of_many_threads_are_whole_and_those_of_each_in_order() -> None:
    stream = io.StringIO()
    progress = queued_on(stream)
    threads = [
        threading.Thread(target=lambda name=name: [progress.log("x" * 500, name=name, n=n) for n in range(50)])
        for name in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.close()
    shown = records(stream.getvalue())
    assert [one["seq"] for one in shown] == list(range(1, 401))
    for name in range(8):
        facts = [one["facts"] for one in shown]
        assert [fact["n"] for fact in facts if fact["name"] == name] == list(range(50))  # type: ignore[index]


@pytest.mark.parametrize("reported", [0, 3])
def test_the_end_comes_once_and_after_the_last_record(reported: int) -> None:
    stream = io.StringIO()
    ends = ExitStack()
    lines_at_end: list[int] = []
    ends.callback(lambda: lines_at_end.append(len(stream.getvalue().splitlines())))
    progress = Queued(JsonLines(stream), at_end=ends.close)
    for _ in range(reported):
        progress.log("x")
    progress.close()
    assert lines_at_end == [reported]
