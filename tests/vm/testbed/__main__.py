# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The testbed's command: ``python -m tests.vm.testbed up|down|test-openzfs``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.vm.testbed.image import ensure_image
from tests.vm.testbed.machine import MachineFailed
from tests.vm.testbed.places import CHECKOUT, REPORT


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.testbed", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start machines that stay")
    up.add_argument("--machines", type=int, default=1)
    commands.add_parser("down", help="end them")
    run = commands.add_parser("test-openzfs", help="run the engine's tests inside a machine of their own")
    run.add_argument("--half", choices=["inside", "host"], help="run one half only")
    run.add_argument("--report", type=Path, default=REPORT, help="directory for results and coverage (%(default)s)")
    run.add_argument("tests", nargs="*", help="tests to run inside instead of all")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "down":
        from tests.vm.testbed import standing

        print("Ended:", ", ".join(standing.stop()) or "no machine ran")
        return 0
    began = time.monotonic()
    subprocess.run([CHECKOUT / "tests/setup/testbed-packages"], check=True, stdin=subprocess.DEVNULL)
    image = ensure_image()
    if arguments.command == "up":
        from tests.vm.testbed import standing

        machines = standing.start(image, arguments.machines)
        print(f"Ready after {time.monotonic() - began:.0f} s:")
        print("\n".join(standing.describe(machine) for machine in machines))
        return 0
    from tests.vm.testbed.engine_tests import run_engine_tests

    return run_engine_tests(image, arguments.tests, report=arguments.report, half=arguments.half)


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    """Exit status of the command. Signals end it by way of exceptions, so that every machine is ended too."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        return _run(_arguments())
    except (MachineFailed, RuntimeError) as failure:
        print(failure, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failure:
        said = (failure.stderr or b"").decode(errors="replace")
        print(f"{failure.cmd[-1]!r} ended with status {failure.returncode}. {said}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            print("Ended early: whoever read the output has left. Send it to a file to read it later.", file=sys.stderr)
        # What is still to be written at the exit has nobody to go to either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
