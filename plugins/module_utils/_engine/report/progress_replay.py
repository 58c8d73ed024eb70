# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shows the progress records of another process, as if they were made here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, get_args

from ..values.progress import Phase, Progress
from .progress_lines import ProgressMode, open_progress
from .screen import Screen

_PHASES = get_args(Phase)


class Replay:
    """Passes records on to a :class:`Progress`. What is no record, and what another version has added, is left out."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def show(self, line: str) -> None:
        """Pass the record in ``line`` on."""
        record = parse_record(line)
        current, total, message = record.get("current"), record.get("total"), str(record.get("message", ""))
        total = total if isinstance(total, int) else None
        kind = record.get("type")
        if kind == "start":
            self._progress.start(str(record.get("operation")), total=total, message=message)
        elif kind == "progress" and isinstance(current, int) and record.get("phase") in _PHASES:
            self._progress.advance(record["phase"], current=current, total=total, message=message)
        elif kind == "log":
            self._progress.log(
                message, level="warning" if record.get("level") == "warning" else "info", **_facts(record)
            )
        elif kind == "finish":
            self._progress.finish(status="ok", result={})


class RawLines:
    """Prints the records as they are."""

    def __init__(self, stream: TextIO) -> None:
        self._screen = Screen(stream)

    def show(self, line: str) -> None:
        """Print one."""
        self._screen.write_line(line)


@contextmanager
def open_replay(mode: ProgressMode, *, stream: TextIO, verbose: bool = False) -> Iterator[Replay | RawLines]:
    """Provide what shows records for ``mode`` on ``stream``."""
    if mode == "json":
        yield RawLines(stream)
    else:
        with open_progress(mode, stream=stream, verbose=verbose) as progress:
            yield Replay(progress)


def parse_record(line: str) -> dict[str, Any]:
    """The record in ``line``, or an empty one."""
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    facts = record.get("facts")
    return {name: value for name, value in facts.items() if name not in ("message", "level")} if facts else {}
