# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every command works with: its arguments, the configuration, the context, and the way out."""

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
        """The tasks that ``--task`` names, or all enabled ones."""
        from ..config.tasks import find_tasks

        return find_tasks(config, self.args.task or [])

    @contextmanager
    def open_context(self, *, writes: bool) -> Iterator[Context]:
        """The context for the configuration that ``--config`` names, with the progress that ``--progress`` asks
        for on stderr. Where the command never ``writes`` to the repository, the configuration needs no recipient."""
        from ..config.file import load_config
        from ..report.progress import open_progress
        from ..run.context import Context

        config = load_config(Path(self.args.config), writes=writes)
        with open_progress(
            self.args.progress, stream=sys.stderr, job_id=self.args.job_id, verbose=self.args.verbose
        ) as progress:
            yield Context.for_config(config, progress=progress)

    def give(self, document: Any, show: Callable[[], None]) -> None:
        """The result: with ``--json`` the document, else what ``show`` prints."""
        with printing():
            if self.args.json:
                put(json.dumps(document, indent=2, ensure_ascii=False))
            else:
                show()

    def warn(self, message: str) -> None:
        """A line on stderr that is no error."""
        say(f"warning: {message}")


def say(message: str) -> None:
    """A line on stderr; if nobody listens there, none."""
    with suppress(OSError):
        sys.stderr.write(f"zrb: {message}\n")
        sys.stderr.flush()


@contextmanager
def printing() -> Iterator[None]:
    """Print inside the block. A reader that has seen enough (``zrb list | head``) is no failure; a full disk is one.

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
            next_step="What the command did is done; look at it with `zrb list`, and give stdout free space",
        ) from error


def open_missing_streams() -> None:
    """A process may be started with stdout or stderr closed: what goes there is lost, and a file that is opened later
    must not take its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the whole run


def flush_errors() -> None:
    """The last act of a command: if nobody listens on stderr, what is left in its buffer is no failure."""
    try:
        sys.stderr.flush()
    except OSError:
        _listen_no_more(sys.stderr)


def _listen_no_more(stream: TextIO) -> None:
    # Python would flush, and complain, once more at its exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
