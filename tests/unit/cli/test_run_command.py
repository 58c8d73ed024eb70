# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every command: help, errors, JSON, exit codes, signals."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from zrb.cli import main, run_command
from zrb.cli.all_commands import build_parser
from zrb.cli.backup import combined_exit_code
from zrb.cli.signals import stopping_on_signals
from zrb.errors import EngineError, Interrupted
from zrb.version import VERSION

from tests.fixtures.committed_repository import CommittedRepository

from .conftest import Zrb

COMMANDS = (
    *("backup", "list", "restore", "verify", "cleanup", "snapshot", "jobs", "attach", "cancel"),
    *("genkey", "signing-key", "validate-config"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_that_parses(zrb: Zrb, command: str) -> None:
    ended = zrb(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.partition("example:\n")[2].splitlines()
    examples = [line.split("   ")[0] for line in map(str.strip, lines) if line.startswith("zrb ")]
    assert examples
    for example in examples:
        _program, *arguments = _words(example)
        assert build_parser().parse_args(arguments).command == command
    for option in ("--config", "--json", "--progress", "--verbose"):
        assert option in ended.out


def _words(line: str) -> list[str]:
    import shlex

    return shlex.split(line)


def test_help_lists_the_commands_and_the_exit_codes(zrb: Zrb) -> None:
    ended = zrb("--help")
    assert ended.code == 0
    for command in COMMANDS:
        assert f"\n    {command} " in ended.out or f"\n    {command}\n" in ended.out
    assert "5 integrity or signature failure" in " ".join(ended.out.split())


def test_version(zrb: Zrb) -> None:
    assert zrb("--version").out == f"zrb {VERSION}\n"


def test_help_loads_no_library() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; from zrb.cli import main; main(['--help']); print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    heavy = {"boto3", "botocore", "rich", "yaml", "blake3", "cryptography", "jmespath", "bitmath"}
    assert heavy & set(loaded.split()) == set()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["backup"], "the following arguments are required: --level"),
        (["backup", "--level", "7"], "invalid choice: 7"),
        (["backup", "--level", "one"], "invalid int value: 'one'"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["list", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["list", "--sour", "s3"], "unrecognized arguments: --sour"),
        (["restore", "--target", "a/b", "--level", "1", "--backup-id", "x"], "not allowed with argument"),
        (["restore", "--target", "a/b", "--at", "yesterday"], "invalid _time value: 'yesterday'"),
        (["verify", "--depth", "deep"], "invalid choice: 'deep'"),
    ],
)
def test_a_wrong_call_says_what_is_wrong_and_where_help_is(zrb: Zrb, arguments: list[str], told: str) -> None:
    ended = zrb(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert told in ended.err
    assert "--help`" in ended.err
    as_json = zrb(*arguments, "--json")
    assert as_json.code == 2
    assert as_json.document["exit_code"] == 2
    assert as_json.document["error"]["error"] == "UsageError"


@pytest.mark.parametrize("command", ["backup --level 0", "list", "verify", "validate-config", "snapshot --level 0"])
def test_a_missing_config_is_named(zrb: Zrb, tmp_path: Path, command: str) -> None:
    ended = zrb(*command.split(), "--config", tmp_path / "gone.yaml", "--json")
    assert ended.code == 2
    assert f"{tmp_path}/gone.yaml does not exist" in ended.err
    assert ended.document["error"]["subject"] == f"{tmp_path}/gone.yaml"
    assert ended.document["error"]["next_step"]


def test_an_unknown_task_is_named_with_the_known_ones(zrb: Zrb, config: Path) -> None:
    ended = zrb("backup", "--level", "0", "--config", config, "--task", "nonsense")
    assert ended.code == 6
    assert "'nonsense'" in ended.err and "data, other" in ended.err


def test_a_defect_is_a_message_and_with_v_a_traceback(zrb: Zrb, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("AGE-SECRET-KEY-1QQPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQGWCXTK")

    monkeypatch.setattr("zrb.config.file.load_config", broken)
    ended = zrb("list", "--config", config)
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert "-v" in ended.err
    assert "Traceback" not in ended.err
    verbose = zrb("list", "--config", config, "-v", "--json")
    assert "Traceback" in verbose.err
    assert verbose.document["error"]["exit_code"] == 1
    for text in (ended.err, verbose.err, verbose.out):
        assert "AGE-SECRET" not in text


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["list"], ["list", "--json"], ["list", "--nonsense", "--json"]]
)
def test_a_reader_that_has_seen_enough_is_no_failure(config: Path, arguments: list[str], unbuffered: str) -> None:
    with_config = [*arguments, "--config", str(config)] if arguments[0] == "list" else arguments
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        ended = subprocess.run(
            [sys.executable, "-m", "zrb.command", *with_config],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    if "--nonsense" in arguments:
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
    else:
        assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_who_listens_to_errors_is_no_failure(config: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        ended = subprocess.run(
            [sys.executable, "-m", "zrb.command", "list", "--nonsense"],
            stderr=pipe,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert ended.returncode == 2


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "--json"], ["list", "--query", "entries"]])
def test_a_result_that_cannot_be_written_is_one_message(config: Path, arguments: list[str], unbuffered: str) -> None:
    with_config = [*arguments, "--config", str(config)] if arguments[0] == "list" else arguments
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "zrb.command", *with_config],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("zrb: The result could not be written to stdout: No space left on device")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["list"], 0), (["list", "--nonsense"], 2)])
def test_streams_that_are_closed_at_the_start_are_no_failure(
    config: Path, arguments: list[str], code: int, closed: tuple[int, ...]
) -> None:
    with_config = [*arguments, "--config", str(config)] if arguments == ["list"] else arguments
    command = [sys.executable, "-m", "zrb.command", *with_config]
    program = f"import os; [os.close(one) for one in {closed}]; os.execv({sys.executable!r}, {command!r})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)


@pytest.mark.parametrize("mode", ["lines", "json", "bar"])
def test_a_terminal_that_is_stopped_does_not_stop_the_command(
    config: Path, repository: CommittedRepository, mode: str
) -> None:
    """As with Ctrl-S, on the terminal that shows the progress; the result goes elsewhere."""
    for _ in range(20):
        repository.commit()
    controller, terminal = pty.openpty()
    termios.tcflow(terminal, termios.TCOOFF)
    try:
        ended = subprocess.run(
            [
                sys.executable,
                "-m",
                "zrb.command",
                "verify",
                "--depth",
                "checksum",
                "--progress",
                mode,
                "--config",
                str(config),
            ],
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            check=False,
            timeout=120,
            env=os.environ | {"TERM": "xterm"},
        )
    finally:
        os.close(terminal)
        os.close(controller)
    assert ended.returncode == 0
    assert "20 backup(s)" in ended.stdout


def test_characters_that_the_terminal_cannot_show_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["verify", "--help"]) == 0
    sys.stdout.flush()
    assert b"zrbsign1\\u2026" in raw.getvalue()


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_through_its_error_path(
    zrb: Zrb, config: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    stopped = []

    def interrupted(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # a second one, while stopping, does not stop the stopping
            stopped.append("clean")

    monkeypatch.setattr("zrb.config.file.load_config", interrupted)
    before = signal.getsignal(number)
    ended = zrb("list", "--config", config, "--json")
    assert (ended.code, stopped) == (code, ["clean"])
    assert f"Stopped by signal {int(number)}" in ended.err
    assert ended.document == {"exit_code": code, "error": json.loads(ended.out)["error"]}
    assert ended.document["error"]["exit_code"] == code
    assert signal.getsignal(number) is before


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals():
            signal.raise_signal(signal.SIGHUP)
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("codes", "combined"),
    [([], 0), ([0, 0], 0), ([0, 4], 4), ([3, 0], 3), ([3, 4], 3), ([3, 3], 3), ([3, 6], 1), ([1, 4, 0], 1)],
)
def test_the_code_of_several_tasks(codes: list[int], combined: int) -> None:
    assert combined_exit_code(codes) == combined


def test_the_module_runs_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "zrb.command", "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout == f"zrb {VERSION}\n"


def test_what_is_reported_has_no_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    error = EngineError("broke", answer="Authorization: AWS4 abc", next_step="look", subject="x")
    assert run_command._report(error, as_json=True, verbose=False) == 1
    printed = capsys.readouterr()
    assert "abc" not in printed.out + printed.err
