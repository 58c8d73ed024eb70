# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Worker processes: pyrage holds the interpreter lock while it works, so encryption needs processes of its own.

They are forked before any thread or network client exists, share the buffers with this process, and talk in
small messages over pipes. When this process dies, however it dies, they read the end of their pipe and end too.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from ..errors import EngineError, WorkerDied

_STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}

WorkerMain = Callable[["WorkerSide"], None]


class WorkerSide:
    """The worker's ends of the pipes."""

    def __init__(self, inbox: Connection, returned: Connection, outbox: Connection) -> None:
        self.inbox = inbox
        self.returned = returned
        self._outbox = outbox

    def send(self, *message: Any) -> None:
        """Tell the owner something."""
        self._outbox.send(message)


class Worker:
    """One worker process, seen from its owner. ``send`` and ``give_back`` may be called by any thread.

    Neither of them tells that the worker has died: :meth:`receive` does, after the worker's own last words.
    """

    def __init__(self, main: WorkerMain, *, earlier: list[Worker], free_buffers: list[int]) -> None:
        context = multiprocessing.get_context("fork")
        inbox, self._inbox = context.Pipe(duplex=False)
        returned, self._returned = context.Pipe(duplex=False)
        self._outbox, outbox = context.Pipe(duplex=False)
        self._sending = threading.Lock()
        self._returning = threading.Lock()
        self._killed = False
        ours = [self._inbox, self._returned, self._outbox]
        inherited = [end for worker in earlier for end in (worker._inbox, worker._returned, worker._outbox)]
        side = WorkerSide(inbox, returned, outbox)
        self._process = context.Process(target=_run, args=(main, side, [*ours, *inherited]), daemon=True)
        # A signal that arrives before the new process has its own dispositions must not run the owner's handlers there.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for end in (inbox, returned, outbox):
            end.close()
        for index in free_buffers:
            self.give_back(index)

    def send(self, *message: Any) -> None:
        """Give the worker something to do."""
        with self._sending, suppress(BrokenPipeError):
            self._inbox.send(message)

    def give_back(self, index: int) -> None:
        """Return an output buffer to the worker."""
        with self._returning, suppress(BrokenPipeError):
            self._returned.send(index)

    def receive(self) -> tuple[Any, ...]:
        """The worker's next message. Raises what the worker raised, or :class:`WorkerDied`."""
        if self._killed:  # what it still said belongs to a stream that was given up
            raise self._died()
        try:
            message: tuple[Any, ...] = self._outbox.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if message[0] == "error":
            raise message[1]
        return message

    def kill(self) -> None:
        """End the process now. Threads that wait for it read the end of its pipe."""
        self._killed = True
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Release the pipes and the process; after :meth:`kill`, once, when no thread uses them any more."""
        for end in (self._inbox, self._returned, self._outbox):
            end.close()
        self._process.close()

    def _died(self) -> WorkerDied:
        self._process.join(timeout=5)
        return WorkerDied(
            f"A worker process of the pipeline ended unexpectedly with status {self._process.exitcode}",
            subject=str(self._process.pid),
            next_step="See in `dmesg` whether memory ran out; lower memory_limit, then run the same command again",
        )


class WorkerGroup:
    """The worker processes of a pipeline and the buffers that they share with it."""

    def __init__(self, count: int, main: WorkerMain, *, output_buffers: int) -> None:
        self.workers: list[Worker] = []
        for number in range(count):
            own = list(range(number, output_buffers, count))
            self.workers.append(Worker(main, earlier=self.workers, free_buffers=own))

    def for_part(self, index: int) -> Worker:
        """The worker that handles part ``index``."""
        return self.workers[index % len(self.workers)]

    def kill(self) -> None:
        """End all of them."""
        for worker in self.workers:
            worker.kill()

    def close(self) -> None:
        """End all of them and release their pipes."""
        self.kill()
        for worker in self.workers:
            worker.close()


def _run(main: WorkerMain, side: WorkerSide, not_ours: list[Connection]) -> None:
    # The owner handles Ctrl-C and SIGTERM; a worker that died of them first would look like a crash.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    for end in not_ours:
        end.close()
    try:
        main(side)
    except (EOFError, BrokenPipeError):
        os._exit(0)  # the owner is gone or has stopped
    except EngineError as error:
        side.send("error", error)
