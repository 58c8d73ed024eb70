# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
from zrb.errors import ZfsError
from zrb.zfs import child_processes
from zrb.zfs.child_processes import Ended, ReceiveChild, SendChild, TimedOut, child_environment, run


def as_error(ended: Ended) -> ZfsError:
    """The failure of a child, with all that is known of it."""
    return ZfsError(f"status {ended.status}", answer=ended.stderr, next_step="none")


def shell(script: str, *arguments: str) -> list[str]:
    return ["sh", "-c", script, "sh", *arguments]


def read_all(child: SendChild) -> bytes:
    with open(child.fileno(), "rb", closefd=False) as pipe:
        return pipe.read()


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not, waiting for its end if need be."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 20)[0])
    finally:
        os.close(handle)


def functions_of(thread: int) -> set[str]:
    """Names of the functions in which a thread is."""
    return {frame.f_code.co_name for frame, _ in traceback.walk_stack(sys._current_frames()[thread])}


class TestRun:
    def test_status_stdout_and_stderr(self) -> None:
        assert run(shell("echo out; echo err >&2; exit 3")) == Ended(3, "out\n", "err\n")

    def test_a_signal_is_a_negative_status(self) -> None:
        assert run(shell("kill -9 $$")).status == -9

    def test_nothing_comes_on_stdin(self) -> None:
        assert run(["cat"]) == Ended(0, "", "")

    def test_messages_come_in_english_and_sbin_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert run(shell('echo "$LC_ALL" "$PATH"')).stdout == "C /usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin\n"

    def test_sbin_is_not_named_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/sbin:/usr/sbin:/usr/local/sbin:")
        assert child_environment()["PATH"] == "/sbin:/usr/sbin:/usr/local/sbin"

    def test_a_child_has_a_session_of_its_own(self) -> None:
        own = run(shell("read -r pid comm state ppid pgrp session rest < /proc/$$/stat; echo $$ $pgrp $session"))
        pid, group, session = own.stdout.split()
        assert pid == group == session

    def test_output_that_is_no_text_is_kept_readable(self) -> None:
        assert run(["printf", r"a\377b"]).stdout == "a\ufffdb"

    def test_only_the_end_of_much_stderr_is_kept(self) -> None:
        ended = run(shell("head -c 300000 /dev/zero | tr '\\0' x >&2; echo cause >&2; exit 1"))
        assert len(ended.stderr) == child_processes.STDERR_KEPT_BYTES
        assert ended.stderr.endswith("xcause\n")

    def test_a_command_that_is_not_there(self) -> None:
        with pytest.raises(FileNotFoundError):
            run(["zrb-no-such-command"])

    def test_a_late_command_is_killed_with_its_children(self, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        with pytest.raises(TimedOut):
            run(shell('sleep 600 & echo "$! $$" > "$1"; wait', str(pids)), timeout_s=0.5)
        assert all(gone(int(pid)) for pid in pids.read_text().split())

    @pytest.mark.usefixtures("signals_heard")
    def test_an_interrupted_command_is_killed(self, tmp_path: Path) -> None:
        fifo = tmp_path / "started"
        os.mkfifo(fifo)
        found: list[int] = []

        main = threading.main_thread().ident or 0

        def interrupt() -> None:
            found.append(int(fifo.read_text()))
            # The command is faster than the return from starting it.
            while "communicate" not in functions_of(main):
                time.sleep(0.01)
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run(shell('echo $$ > "$1"; exec sleep 600', str(fifo)), timeout_s=60)
        thread.join()
        assert gone(found[0])


class TestSendChild:
    def test_a_stream_is_read_whole(self) -> None:
        child = SendChild(shell("head -c 3000000 /dev/zero"), failure=as_error)
        assert read_all(child) == bytes(3_000_000)
        child.wait()

    def test_a_failure_has_status_and_stderr(self) -> None:
        child = SendChild(shell("echo part; echo cause >&2; exit 5"), failure=as_error)
        assert read_all(child) == b"part\n"
        with pytest.raises(ZfsError, match="status 5: cause"):
            child.wait()

    def test_a_killed_command_is_no_success(self) -> None:
        child = SendChild(shell("kill -9 $$"), failure=as_error)
        assert read_all(child) == b""
        with pytest.raises(ZfsError, match="status -9"):
            child.wait()

    def test_a_chatty_child_does_not_block(self) -> None:
        child = SendChild(shell("head -c 2000000 /dev/zero | tr '\\0' x >&2; echo cause >&2; exit 1"), failure=as_error)
        assert read_all(child) == b""
        with pytest.raises(ZfsError) as failure:
            child.wait()
        assert failure.value.answer.endswith("xcause")
        assert len(failure.value.answer) < child_processes.STDERR_KEPT_BYTES

    def test_kill_ends_the_whole_group_and_may_be_repeated(self, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        child = SendChild(shell('sleep 600 & echo "$! $$" > "$1"; echo ready; wait', str(pids)), failure=as_error)
        assert os.read(child.fileno(), 6) == b"ready\n"
        child.kill()
        child.kill()
        assert str(child.pid) in pids.read_text()
        assert all(gone(int(pid)) for pid in pids.read_text().split())

    def test_kill_after_the_end(self) -> None:
        child = SendChild(["true"], failure=as_error)
        child.wait()
        child.kill()

    def test_pipes_are_wide(self) -> None:
        child = SendChild(["sleep", "600"], failure=as_error)
        try:
            assert fcntl.fcntl(child.fileno(), fcntl.F_GETPIPE_SZ) == child_processes.PIPE_BYTES
        finally:
            child.kill()

    def test_a_narrow_pipe_is_no_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(child_processes, "PIPE_BYTES", 1 << 40)
        child = SendChild(["echo", "ok"], failure=as_error)
        assert read_all(child) == b"ok\n"
        child.wait()


class TestReceiveChild:
    def test_a_stream_is_taken_whole(self, tmp_path: Path) -> None:
        child = ReceiveChild(shell('cat > "$1"', str(tmp_path / "got")), failure=as_error)
        with open(child.fileno(), "wb", closefd=False) as pipe:
            pipe.write(bytes(3_000_000))
        child.finish()
        assert (tmp_path / "got").read_bytes() == bytes(3_000_000)

    def test_one_that_gives_up_breaks_the_pipe_and_says_why(self) -> None:
        child = ReceiveChild(shell("echo cause >&2; exit 1"), failure=as_error)
        assert gone(child.pid)
        with pytest.raises(BrokenPipeError):
            os.write(child.fileno(), b"x")
        with pytest.raises(ZfsError, match="status 1: cause"):
            child.finish()

    @pytest.mark.parametrize("outlives_kill", [False, True])
    def test_a_killed_one_sees_the_end_of_the_stream_only_where_it_must(
        self, tmp_path: Path, outlives_kill: bool
    ) -> None:
        child = ReceiveChild(
            shell('echo > "$1/started"; cat > /dev/null; echo > "$1/ended"', str(tmp_path)),
            failure=as_error,
            outlives_kill=outlives_kill,
        )
        os.write(child.fileno(), b"x" * 100)
        child.kill()
        child.kill()
        assert (tmp_path / "ended").exists() is outlives_kill
        assert gone(child.pid)

    def test_it_is_killed_and_reaped_before_its_pipe_is_closed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events: list[str] = []
        child = ReceiveChild(["cat"], failure=as_error)
        kill, wait, close = os.killpg, child._child.wait, child._close_pipe
        monkeypatch.setattr(os, "killpg", lambda *args: events.append("kill") or kill(*args))
        monkeypatch.setattr(child._child, "wait", lambda *args: events.append("reap") or wait(*args))
        monkeypatch.setattr(child, "_close_pipe", lambda: events.append("close") or close())
        child.kill()
        assert events == ["kill", "reap", "close"]
        assert child._child.returncode == -signal.SIGKILL

    def test_one_that_neither_reads_nor_ends_is_killed_in_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(child_processes, "KILL_TIMEOUT_S", 0.2)
        child = ReceiveChild(["sleep", "600"], failure=as_error, outlives_kill=True)
        child.kill()
        assert gone(child.pid)


def test_a_pipe_that_was_not_asked_for_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="without this pipe"):
        child_processes._piped(None)
