# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every command is given: its arguments, the configuration, the context."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import printing, put, say

if TYPE_CHECKING:
    from ..run.context import Context
    from ..run.jobs import JobOutput
    from ..values.config import Config, Task


@dataclass(frozen=True, slots=True)
class Session:
    """One call of ``zrb``. ``job`` is set in the process of a job, which has nobody to show anything to."""

    args: Namespace
    job: JobOutput | None = None

    @property
    def base_dir(self) -> Path:
        """The state directory that ``--config`` names."""
        from ..config.file import load_config

        return Path(load_config(Path(self.args.config), writes=False).base_dir)

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
        shown = open_progress(self.args.progress, stream=sys.stderr, job_id=self.args.job_id, verbose=self.args.verbose)
        with self.job.open_progress() if self.job else shown as progress:
            yield Context.for_config(config, progress=progress)

    def give(self, document: Any, show: Callable[[], None]) -> None:
        """Print the result: with ``--json`` the document, otherwise what ``show`` prints. A job keeps both."""
        if self.job is not None:
            with redirect_stdout(self.job.text):
                show()
        with printing():
            if self.args.json:
                put(json.dumps(document, indent=2, ensure_ascii=False))
            else:
                show()

    def warn(self, message: str) -> None:
        """Print a warning on stderr."""
        say(f"warning: {message}")
