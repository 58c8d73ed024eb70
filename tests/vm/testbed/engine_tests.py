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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from tests.vm.testbed.image import Image
from tests.vm.testbed.machine import Machine, Size
from tests.vm.testbed.places import CHECKOUT
from tests.vm.testbed.runtime_layer import CHECKOUT_INSIDE, PYTHON_INSIDE, ensure_runtime_layer
from tests.vm.testbed.s3_server import s3_server_for_machines

REPORT = CHECKOUT / ".cache" / "test-openzfs"
REPORT_INSIDE = "/var/tmp/report"
COVERAGE_SETTINGS = "tests/vm/coverage.ini"
SHARES = {
    # There is no pool to guard inside, so nothing guards them.
    "production": ("tests/vm/openzfs", "tests/integration/zfs", "--ignore=tests/integration/zfs/test_pool_guard.py"),
    "engine": ("tests/integration/run", "tests/integration/cli"),
}
"""What runs inside, a machine each: a machine has the worth of one processor."""

HOST = ("tests/vm/host",)
SIZE = Size(memory_mib=2048)
LIMIT_S = 3600
"""After that, a test hangs."""

Half = Literal["inside", "host"]
Outcome = tuple[bool, str]
"""Whether all went well, and a line for the summary."""


def run_engine_tests(image: Image, tests: Sequence[str] = (), *, half: Half | None = None) -> int:
    """Run both halves, or one; show what failed and what was skipped. 0 where all went well."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    layer = ensure_runtime_layer(image)
    outcomes: list[Outcome] = []
    if half != "host":
        outcomes += _inside(image, layer, {"chosen": tests} if tests else SHARES)
        outcomes.append(_coverage())
    if half != "inside" and not tests:
        outcomes.append(_on_host())
    outcomes += [_skipped(results) for results in sorted(REPORT.glob("results-*.xml"))]
    print("\n=== OpenZFS", image.version_of("zfs-dkms"), "on Linux", image.version_of("linux-image-cloud-amd64"))
    print("\n".join(f"{'ok    ' if well else 'FAILED'} {line}" for well, line in outcomes))
    return 0 if all(well for well, _ in outcomes) else 1


def send_checkout(machine: Machine) -> None:
    """Copy the tree that is tested to :data:`CHECKOUT_INSIDE`."""
    with tempfile.TemporaryDirectory(prefix="zrb-tree-") as tree:
        subprocess.run([CHECKOUT / "tests/setup/tree", tree], check=True, stdin=subprocess.DEVNULL)
        machine.send_files(Path(tree), ["."], CHECKOUT_INSIDE)


def _inside(image: Image, layer: Path, shares: Mapping[str, Sequence[str]]) -> list[Outcome]:
    began = time.monotonic()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zrb-openzfs-")))
        machines = {name: Machine(image, scratch / name) for name in shares}
        for machine in machines.values():
            machine.create(layer)
            stack.callback(machine.cut_power)
            machine.start(SIZE)
        runs = []
        for name, machine in machines.items():
            machine.wait_until_ready()
            send_checkout(machine)
            runs.append(_Run(name, machine, stack.enter_context(s3_server_for_machines()), shares[name]))
        return [run.wait(began) for run in runs]


class _Run:
    """pytest inside a machine. Its lines are shown as they come, each with the name of the share before it."""

    def __init__(self, name: str, machine: Machine, endpoint: str, tests: Sequence[str]) -> None:
        self.name = name
        self._machine = machine
        machine.ssh("mkdir", "-p", REPORT_INSIDE)
        words = [*machine.ssh_words(), shlex.join([*_pytest(name, endpoint), *tests])]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._shown = threading.Thread(target=self._show, daemon=True)
        self._shown.start()

    def _show(self) -> None:
        for line in self._process.stdout or ():
            print(f"[{self.name}] {line}", end="", flush=True)

    def wait(self, began: float) -> Outcome:
        """Wait for its end and bring back its results."""
        status = self._process.wait()
        self._shown.join()
        self._machine.fetch_files(REPORT_INSIDE, REPORT)
        return status == 0, f"{time.monotonic() - began:5.0f} s  {self.name}, inside a machine"


def _pytest(name: str, endpoint: str) -> list[str]:
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


def _on_host() -> Outcome:
    began = time.monotonic()
    environment = {**os.environ, "ZRB_TEST_OPENZFS": "host"}
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-v",
        "--tb=short",
        "--durations=5",
        f"--junitxml={REPORT}/results-host.xml",
    ]
    ended = subprocess.run([*words, *HOST], cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, check=False)
    return ended.returncode == 0, f"{time.monotonic() - began:5.0f} s  power cuts and an older ZFS, from the host"


def _coverage() -> Outcome:
    """Combine what the processes inside measured, and keep it for merging with what the host's tests cover."""
    data = REPORT / "coverage"
    coverage = [sys.executable, "-m", "coverage"]
    settings = ["--rcfile", COVERAGE_SETTINGS, "--data-file", data]
    print(flush=True)
    for words in (["combine", "--quiet", *settings, REPORT], ["report", *settings]):
        if subprocess.run([*coverage, *words], cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode:
            return False, "        coverage could not be read"
    return True, f"        coverage data of the engine: {data.relative_to(CHECKOUT)}"


def _skipped(results: Path) -> Outcome:
    """Show what was skipped and why; in CI that is a failure."""
    name = results.stem.removeprefix("results-")
    print(f"\n=== Skipped: {name}", flush=True)
    words = [sys.executable, CHECKOUT / "tests/setup/skipped.py", results]
    ended = subprocess.run(words, stdin=subprocess.DEVNULL, check=False)
    return ended.returncode == 0, f"        nothing skipped, or not in CI: {name}"
