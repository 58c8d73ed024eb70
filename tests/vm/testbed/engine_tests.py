# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the engine's tests against OpenZFS: inside machines, and from the host those that cut a machine's power."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from tests.vm.testbed.image import Image
from tests.vm.testbed.machine import Machine, SavedMachine
from tests.vm.testbed.places import CHECKOUT
from tests.vm.testbed.runtime_layer import CHECKOUT_INSIDE, PYTHON_INSIDE, ensure_runtime_layer
from tests.vm.testbed.s3_server import s3_server_for_machines

REPORT_INSIDE = "/var/tmp/report"
COVERAGE_SETTINGS = "tests/vm/coverage.ini"
INSIDE: Mapping[str, Sequence[str]] = {
    # There is no pool to guard inside, so nothing guards them.
    "production": (
        "tests/vm/openzfs",
        "tests/integration/zfs",
        "--ignore=tests/integration/zfs/test_pool_guard.py",
    ),
    "engine": (
        "tests/integration/run",
        "tests/integration/cli/test_main_job.py::test_a_snapshot_is_sent_by_the_backup_that_follows",
        "tests/integration/cli/test_main_job.py::test_validate_config_on_a_real_nas[directory]",
        "tests/integration/cli/test_signals.py",
    ),
}
"""What runs inside, a machine each. What the command prints, and makes of bad input, has nothing to do with the ZFS
below it, and every start of it takes seconds under emulation: the power cuts use it for all else."""

HOST = "tests/vm/host"
LANES = (("production",), ("engine", "host"))
"""What runs beside each other, and after each other: an emulated machine has the worth of one processor, and three on
two processors take longer than one after the other."""

LIMIT_S = 3600
"""After that, a test hangs."""

Half = Literal["inside", "host"]
Outcome = tuple[bool, str]
"""Whether all went well, and a line for the summary."""


def run_engine_tests(image: Image, tests: Sequence[str] = (), *, report: Path, half: Half | None = None) -> int:
    """Run both halves, or one; show what failed and what was skipped. 0 where all went well.

    The directory ``report`` is made anew.
    """
    shutil.rmtree(report, ignore_errors=True)
    report.mkdir(parents=True)
    inside = {"chosen": tests} if tests else INSIDE
    lanes = [("chosen",)] if tests else [[name for name in lane if _is_in(half, name)] for lane in LANES]
    outcomes = _Runs(image, ensure_runtime_layer(image), inside, report).run(lanes)
    if half != "host":
        outcomes.append(_coverage(report))
    outcomes += [_skipped(results) for results in sorted(report.glob("results-*.xml"))]
    print("\n=== OpenZFS", image.version_of("zfs-dkms"), "on Linux", image.version_of("linux-image-cloud-amd64"))
    print("\n".join(f"{'ok    ' if well else 'FAILED'} {line}" for well, line in outcomes))
    return 0 if all(well for well, _ in outcomes) else 1


def send_checkout(machine: Machine) -> None:
    """Copy the tree that is tested to :data:`CHECKOUT_INSIDE`."""
    with tempfile.TemporaryDirectory(prefix="zrb-tree-") as tree:
        subprocess.run([CHECKOUT / "tests/setup/tree", tree], check=True, stdin=subprocess.DEVNULL)
        machine.send_files(Path(tree), ["."], CHECKOUT_INSIDE)


def _is_in(half: Half | None, name: str) -> bool:
    return half is None or (name == "host") == (half == "host")


class _Runs:
    """Several runs, of which each lane has one at a time. A machine goes when its run has ended."""

    def __init__(self, image: Image, layer: SavedMachine, inside: Mapping[str, Sequence[str]], report: Path) -> None:
        self._image = image
        self._layer = layer
        self._inside = inside
        self._report = report
        self._ended: SimpleQueue[_Run] = SimpleQueue()
        self._machines: dict[str, Machine] = {}

    def run(self, lanes: Iterable[Sequence[str]]) -> list[Outcome]:
        """Run all; the outcomes in the order in which they ended."""
        outcomes = []
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zrb-openzfs-")))
            waiting = [deque(lane) for lane in lanes if lane]
            for lane in waiting:
                self._power_on(lane[0], scratch, stack)
            lane_of = {self._launch(lane.popleft(), stack): lane for lane in waiting}
            while lane_of:
                run = self._ended.get()
                outcomes.append(run.outcome())
                self._collect(run.name)
                if lane := lane_of.pop(run):
                    self._power_on(lane[0], scratch, stack)
                    lane_of[self._launch(lane.popleft(), stack)] = lane
        return outcomes

    def _power_on(self, name: str, scratch: Path, stack: ExitStack) -> None:
        if name in self._inside:
            machine = self._machines[name] = Machine(self._image, scratch / name)
            stack.callback(machine.cut_power)
            machine.resume(self._layer)

    def _launch(self, name: str, stack: ExitStack) -> _Run:
        if name in self._inside:
            machine = self._machines[name]
            machine.wait_until_ready()
            send_checkout(machine)
            machine.ssh("mkdir", "-p", REPORT_INSIDE)
            endpoint = stack.enter_context(s3_server_for_machines())
            words = [*machine.ssh_words(), shlex.join([*_pytest_inside(name, endpoint), *self._inside[name]])]
        else:
            words = _pytest_on_host(self._report)
        run = _Run(name, words, self._ended)
        stack.callback(run.end)
        return run

    def _collect(self, name: str) -> None:
        if machine := self._machines.get(name):
            machine.fetch_files(REPORT_INSIDE, self._report)
            machine.cut_power()


class _Run:
    """A pytest. Its lines are shown as they come, each with the name of the run before it; then it is ``ended``."""

    def __init__(self, name: str, words: Sequence[str], ended: SimpleQueue[_Run]) -> None:
        self.name = name
        self._ended = ended
        self._began = time.monotonic()
        self._seconds = 0.0
        self._failure: OSError | None = None
        self._process = subprocess.Popen(
            words,
            cwd=CHECKOUT,
            env={**os.environ, "ZRB_TEST_OPENZFS": "host"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._show, daemon=True).start()

    def _show(self) -> None:
        try:
            for line in self._process.stdout or ():
                print(f"[{self.name}] {line}", end="", flush=True)
        except OSError as failure:
            self._failure = failure
        self._seconds = time.monotonic() - self._began
        self._ended.put(self)

    def outcome(self) -> Outcome:
        """What became of it, once it has ended. Raises ``OSError`` where its lines could not be shown."""
        if self._failure:
            raise self._failure
        return self._process.wait() == 0, f"{self._seconds:5.0f} s  {self.name}"

    def end(self) -> None:
        """End it where it still runs; a machine of its own ends with it."""
        self._process.kill()
        self._process.wait()


def _pytest_inside(name: str, endpoint: str) -> list[str]:
    settings = {
        "ZRB_TEST_OPENZFS": "inside",
        "ZRB_TEST_S3_ENDPOINT": endpoint,
        "COVERAGE_FILE": f"{REPORT_INSIDE}/coverage.{name}",
        "CI": os.environ.get("CI", ""),
        "LC_ALL": "C.UTF-8",
    }
    return [
        *("env", "--chdir", CHECKOUT_INSIDE, *(f"{key}={value}" for key, value in settings.items() if value)),
        *("timeout", str(LIMIT_S), PYTHON_INSIDE, "-m", "coverage", "run", "--rcfile", COVERAGE_SETTINGS),
        *("-m", "pytest", "-v", "--tb=short", "--durations=15", "-p", "no:cacheprovider"),
        # Pools belong on the disk: the machine's /tmp is memory.
        *("--basetemp=/var/tmp/pytest", f"--junitxml={REPORT_INSIDE}/results-{name}.xml"),
    ]


def _pytest_on_host(report: Path) -> list[str]:
    results = f"--junitxml={report}/results-host.xml"
    return [sys.executable, "-m", "pytest", "-v", "--tb=short", "--durations=5", results, HOST]


def _coverage(report: Path) -> Outcome:
    """Merge what was measured inside, on all machines."""
    data = report / "coverage"
    coverage = [sys.executable, "-m", "coverage"]
    settings = ["--rcfile", COVERAGE_SETTINGS, "--data-file", str(data)]
    print(flush=True)
    for words in (["combine", "--quiet", *settings, str(report)], ["report", *settings]):
        if subprocess.run([*coverage, *words], cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode:
            return False, "        coverage could not be read"
    return True, f"        coverage data of the engine: {data}"


def _skipped(results: Path) -> Outcome:
    """Show what was skipped and why; in CI that is a failure."""
    name = results.stem.removeprefix("results-")
    print(f"\n=== Skipped: {name}", flush=True)
    words = [sys.executable, str(CHECKOUT / "tests/setup/skipped.py"), str(results)]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
    return ended.returncode == 0, f"        nothing skipped, or not in CI: {name}"
