# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one file that runs child processes.

Every child gets an argument list, ``LC_ALL=C``, a session (thus a process group) of its own, and nothing on
stdin unless it is fed. Every exit status is read, every child reaped.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Final

from ..errors import EngineError

PIPE_BYTES: Final = 1 << 20
"""The size of the pipes of streams: Linux's default limit for users without privileges."""

STDERR_KEPT_BYTES: Final = 64 << 10
"""How much of the end of a child's stderr is kept."""

KILL_TIMEOUT_S: Final = 30.0
"""How long a killed child may take to end. One that hangs in the kernel (a suspended pool) is left behind."""

_SYSTEM_DIRECTORIES: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. A negative ``status`` is the signal that killed it."""

    status: int
    stdout: str
    stderr: str


class TimedOut(Exception):
    """A command did not end in time and was killed."""


Failure = Callable[[Ended], EngineError]
"""Makes the typed error of a stream's child that did not end with status 0."""


def child_environment() -> dict[str, str]:
    """The environment of every child: messages in English, and a PATH with sbin for ``zfs``, which cron's lacks."""
    path = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    path += [entry for entry in _SYSTEM_DIRECTORIES if entry not in path]
    return {**os.environ, "PATH": os.pathsep.join(path), "LC_ALL": "C", "LANGUAGE": ""}


def run(arguments: Sequence[str], *, timeout_s: float | None = None) -> Ended:
    """Run a short command to its end.

    Raises ``OSError`` if it cannot be started, and :class:`TimedOut` after ``timeout_s`` seconds.
    """
    child = _start(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        stdout, stderr = child.communicate(timeout=timeout_s)
    except BaseException as stop:
        _kill_and_reap(child)
        for pipe in (child.stdout, child.stderr):
            _piped(pipe).close()
        if isinstance(stop, subprocess.TimeoutExpired):
            raise TimedOut from stop
        raise
    return Ended(child.returncode, _text(stdout), _text(stderr[-STDERR_KEPT_BYTES:]))


class _StreamChild:
    """A child that a stream goes through. Its stderr is read all the time, so it never blocks on that."""

    def __init__(self, child: subprocess.Popen[bytes], pipe: IO[bytes], failure: Failure) -> None:
        self._child = child
        self._pipe = pipe
        self._failure = failure
        self._tail = bytearray()
        _widen(pipe)
        self._drain = threading.Thread(target=self._keep_stderr, name=f"stderr of {child.pid}", daemon=True)
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id, which is also the id of the child's process group."""
        return self._child.pid

    def fileno(self) -> int:
        """Our end of the stream's pipe."""
        return self._pipe.fileno()

    def _keep_stderr(self) -> None:
        with _piped(self._child.stderr) as stderr:
            while chunk := stderr.read(8192):
                self._tail += chunk
                del self._tail[:-STDERR_KEPT_BYTES]

    def _close_pipe(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.close()

    def _read_status(self) -> None:
        status = self._child.wait()
        self._drain.join(KILL_TIMEOUT_S)
        if status:
            raise self._failure(Ended(status, "", _text(bytes(self._tail))))


class SendChild(_StreamChild):
    """A command whose stdout is read as a stream: see ``protocol.SendProcess``."""

    def __init__(self, arguments: Sequence[str], *, failure: Failure) -> None:
        child = _start(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        super().__init__(child, _piped(child.stdout), failure)

    def wait(self) -> None:
        """Read the exit status after the stream's end. If it is not 0, raise the error that ``failure`` makes."""
        self._read_status()
        self._close_pipe()

    def kill(self) -> None:
        """Kill the process group if it still runs, and reap it. Never raises; may be called twice."""
        _kill_and_reap(self._child)
        self._close_pipe()


class ReceiveChild(_StreamChild):
    """A command that reads a stream from stdin: see ``protocol.ReceiveProcess``.

    ``outlives_kill`` says that a daemon does the work and goes on reading the pipe after the command is killed, as with
    zfs-fuse.
    """

    def __init__(self, arguments: Sequence[str], *, failure: Failure, outlives_kill: bool = False) -> None:
        child = _start(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._outlives_kill = outlives_kill
        super().__init__(child, _piped(child.stdin), failure)

    def finish(self) -> None:
        """End the stream and read the exit status. If it is not 0, raise the error that ``failure`` makes."""
        self._close_pipe()
        self._read_status()

    def kill(self) -> None:
        """Kill the process group, reap it, and only then close the pipe: a stream cut short must not look like one
        that ended. Never raises; may be called twice."""
        if self._outlives_kill:
            # For the daemon the stream ends either way. Once the command has ended, the daemon has cleaned up.
            self._close_pipe()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(KILL_TIMEOUT_S)
        _kill_and_reap(self._child)
        self._close_pipe()


def _start(arguments: Sequence[str], *, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    # The engine also runs from cron, without Ansible, and it streams: no module's run_command would do.
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        list(arguments),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=child_environment(),
        start_new_session=True,
    )


def _kill_and_reap(child: subprocess.Popen[bytes]) -> None:
    # A child keeps its id until it is reaped, so the signal cannot hit another process.
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(KILL_TIMEOUT_S)


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the child was started without this pipe")
    return pipe


def _widen(pipe: IO[bytes]) -> None:
    # Fails on some systems, and over the user's limit: then the stream goes through a small pipe.
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _text(output: bytes) -> str:
    return output.decode(errors="replace")
