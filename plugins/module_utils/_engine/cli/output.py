# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What commands print on stdout and stderr, and what they do if nobody reads it. Ansible's sanity tests forbid
``print`` in everything that modules import."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ..errors import EngineError


def put(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{line}\n")


def say(message: str) -> None:
    """Print a line on stderr, if anybody reads it."""
    with suppress(OSError):
        sys.stderr.write(f"zrb: {message}\n")
        sys.stderr.flush()


def show_failures(failures: list[dict[str, Any]]) -> None:
    """Print one line per failure. Each has the ``facts()`` of an error, and may name a ``dataset``."""
    from ..report.logs import redact

    for failure in failures:
        explained = EngineError(
            failure["problem"],
            next_step=failure["next_step"],
            answer=failure["answer"],
        ).explain()
        about = f"{failure['dataset']}: " if failure.get("dataset") else ""
        say(f"{about}{redact(explained)}")


@contextmanager
def printing() -> Iterator[None]:
    """Print inside the block. A reader that closes its end (``zrb list | head``) is not an error, a full disk is.

    Raises :class:`EngineError`.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _listen_no_more(sys.stdout)
    except OSError as error:
        _listen_no_more(sys.stdout)
        raise EngineError(
            "The result could not be written to stdout",
            answer=error.strerror or str(error),
            next_step="The command itself has been carried out: check with `zrb list`, and free some space for stdout",
        ) from error


def open_missing_streams() -> None:
    """If stdout or stderr was closed at the start, discard what is printed there, and keep files that are opened later
    from taking its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the whole run


def flush_errors() -> None:
    """Flush stderr at the end of a command. That nobody reads it any more is not an error."""
    try:
        sys.stderr.flush()
    except OSError:
        _listen_no_more(sys.stderr)


def _listen_no_more(stream: TextIO) -> None:
    # Otherwise, Python flushes again at exit, and complains.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
