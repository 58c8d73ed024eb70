# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every command uses: its arguments, the configuration, the context, and the output."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import EngineError
from .output import put

if TYPE_CHECKING:
    from ..run.context import Context
    from ..values.config import Config, Task


@dataclass(frozen=True, slots=True)
class Session:
    """One call of ``zrb``."""

    args: Namespace

    def find_tasks(self, config: Config) -> list[Task]:
        """Return the tasks named by ``--task``, or all enabled ones."""
        from ..config.tasks import find_tasks

        return find_tasks(config, self.args.task or [])

    @contextmanager
    def open_context(self, *, writes: bool) -> Iterator[Context]:
        """Provide the context for ``--config``, with the progress for ``--progress`` on stderr. If the command never
        ``writes`` to the repository, the configuration needs no recipient."""
        from ..config.file import load_config
        from ..report.progress_lines import open_progress
        from ..run.context import Context

        config = load_config(Path(self.args.config), writes=writes)
        with open_progress(
            self.args.progress, stream=sys.stderr, job_id=self.args.job_id, verbose=self.args.verbose
        ) as progress:
            yield Context.for_config(config, progress=progress)

    def give(self, document: Any, show: Callable[[], None]) -> None:
        """Print the result: with ``--json`` the document, otherwise what ``show`` prints."""
        with printing():
            if self.args.json:
                put(json.dumps(document, indent=2, ensure_ascii=False))
            else:
                show()

    def warn(self, message: str) -> None:
        """Print a warning on stderr."""
        say(f"warning: {message}")


def say(message: str) -> None:
    """Print a line on stderr, if anybody reads it."""
    with suppress(OSError):
        sys.stderr.write(f"zrb: {message}\n")
        sys.stderr.flush()


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
