# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of a dataset: ``{log_dir}/{pool}/{dataset}/YYYY-MM-DD.log``, one JSON record per line and event.

A log that cannot be written never fails a backup: the run continues with one warning.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Literal

from ..values.clock import utc_now
from ..values.progress import Phase, Progress
from ..values.repository_names import encode_component

_SECRETS = re.compile(
    r"AGE-SECRET-KEY-(?:PQ-)?[0-9A-Z]+"
    r"|ZRB-SIGNING-KEY-(?:PQ-)?[0-9A-Z]+"
    r"|(?<=X-Amz-Signature=)[^&\s\"']+|(?<=X-Amz-Security-Token=)[^&\s\"']+"
    r"|(?i:(?<=authorization: ))[^\r\n\"]+",
)
REDACTED = "[redacted]"


def redact(text: str, secrets: Sequence[str] = ()) -> str:
    """Remove private keys, signatures of signed URLs, authorization headers and the given secrets from ``text``."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    return _SECRETS.sub(REDACTED, text)


def redacted(value: Any) -> Any:
    """A JSON document with :func:`redact` on each of its texts."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(one) for key, one in value.items()}
    return [redacted(one) for one in value] if isinstance(value, list | tuple) else value


def log_file(log_dir: Path, dataset: str, day: datetime) -> Path:
    """Return the log file of ``dataset`` (full name) for one UTC day."""
    components = (encode_component(part) for part in dataset.split("/"))
    return log_dir.joinpath(*components, f"{day.astimezone(UTC):%Y-%m-%d}.log")


class Logged:
    """A :class:`Progress` that passes everything on, and writes the events of one dataset to its log file.

    The beginning of a phase is an event, movement within it is not. ``secrets`` are removed from every record, as well
    as what :func:`redact` recognises.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        log_dir: PurePath,
        dataset: str,
        job_id: str = "",
        secrets: Sequence[str] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._progress = progress
        self._log_dir = Path(log_dir)
        self._dataset = dataset
        self._job_id = job_id
        self._secrets = tuple(secrets)
        self._clock = clock
        self._operation = ""
        self._phase: str | None = None
        self.warnings: list[str] = []
        """Problems with the log itself."""
        self._lock = threading.Lock()

    def start(self, operation: str, *, total: int | None, message: str) -> None:
        """Log the event ``start``."""
        self._operation = operation
        self._record("start", message=message, total=total)
        self._progress.start(operation, total=total, message=message)

    def advance(self, phase: Phase, *, current: int, total: int | None, message: str = "") -> None:
        """Log the event ``phase`` when a new phase begins."""
        with self._lock:
            begins, self._phase = phase != self._phase, phase
        if begins:
            self._record("phase", phase=phase, total=total, message=message)
        self._progress.advance(phase, current=current, total=total, message=message)

    def log(self, message: str, *, level: Literal["info", "warning"] = "info", **facts: Any) -> None:
        """Log the event ``log`` with its facts."""
        self._record("log", message=message, level=level, facts=facts)
        self._progress.log(message, level=level, **facts)

    def finish(self, *, status: Literal["ok", "warning", "failed"], result: dict[str, Any]) -> None:
        """Log the event ``finish`` with the result: if ``status`` is ``failed``, the facts of the error."""
        self._record("finish", status=status, result=result)
        self._progress.finish(status=status, result=result)

    def _record(self, event: str, **fields: Any) -> None:
        now = self._clock()
        record = {
            "time": f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "event": event,
            "operation": self._operation,
            "dataset": self._dataset,
            "job_id": self._job_id,
            "pid": os.getpid(),
            **fields,
        }
        line = redact(json.dumps(record, default=str, ensure_ascii=False), self._secrets) + "\n"
        path = log_file(self._log_dir, self._dataset, now)
        try:
            _append(path, line.encode())
        except OSError as error:
            self._warn_once(path, error)

    def _warn_once(self, path: Path, error: OSError) -> None:
        warning = (
            f"The log file {path} could not be written: {error.strerror or error}. The run continues; "
            "make log_dir writable for this user, and free some space"
        )
        with self._lock:
            if self.warnings:
                return
            self.warnings.append(warning)
        self._progress.log(warning, level="warning")


def _append(path: Path, line: bytes) -> None:
    _make_directories(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        if os.write(descriptor, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _make_directories(directory: Path) -> None:
    # Path.mkdir(parents=True) sets the mode of the last directory only.
    missing = [directory, *directory.parents]
    for path in reversed(missing):
        if not path.exists():
            path.mkdir(mode=0o750, exist_ok=True)
