# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the engine's tests against OpenZFS: inside one machine, and from the host those that cut a machine's power."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
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
INSIDE = ("tests/vm/openzfs", "tests/integration/zfs", "tests/integration/run", "tests/integration/cli")
HOST = ("tests/vm/host",)
SIZE = Size(memory_mib=2048, processors=2)

Half = Literal["inside", "host"]


def run_engine_tests(image: Image, tests: Sequence[str] = (), *, half: Half | None = None) -> int:
    """Run both halves, or one; show what failed and what was skipped. 0 where all went well."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    layer = ensure_runtime_layer(image)
    summary = []
    if half != "host":
        summary.append(_timed("inside a machine", lambda: _inside(image, layer, tests or INSIDE)))
    if half != "inside" and not tests:
        summary.append(_timed("machines without power", _on_host))
    summary += [_coverage()] if half != "host" else []
    problems = [_skipped(results) for results in sorted(REPORT.glob("results-*.xml"))]
    print("\n=== OpenZFS", image.version_of("zfs-dkms"), "on Linux", image.version_of("linux-image-cloud-amd64"))
    print("\n".join(text for _, text in summary))
    return 0 if all(status == 0 for status, _ in summary) and not any(problems) else 1


def _timed(title: str, action: object) -> tuple[int, str]:
    began = time.monotonic()
    status = action()  # type: ignore[operator]
    return status, f"{'ok    ' if status == 0 else 'FAILED'} {time.monotonic() - began:5.0f} s  {title}"


def _inside(image: Image, layer: Path, tests: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="zrb-openzfs-") as scratch:
        machine = Machine(image, Path(scratch) / "openzfs")
        machine.create(layer)
        try:
            machine.start(SIZE)
            machine.wait_until_ready()
            send_checkout(machine)
            with s3_server_for_machines() as endpoint:
                status = _pytest_inside(machine, endpoint, tests)
            machine.fetch_files(REPORT_INSIDE, REPORT)
        finally:
            machine.cut_power()
    return status


def send_checkout(machine: Machine) -> None:
    """Copy the tree that is tested to :data:`CHECKOUT_INSIDE`."""
    with tempfile.TemporaryDirectory(prefix="zrb-tree-") as tree:
        subprocess.run([CHECKOUT / "tests/setup/tree", tree], check=True, stdin=subprocess.DEVNULL)
        machine.send_files(Path(tree), ["."], CHECKOUT_INSIDE)


def _pytest_inside(machine: Machine, endpoint: str, tests: Sequence[str]) -> int:
    settings = {
        "ZRB_TEST_OPENZFS": "inside",
        "ZRB_TEST_S3_ENDPOINT": endpoint,
        "COVERAGE_FILE": f"{REPORT_INSIDE}/coverage",
        "CI": os.environ.get("CI", ""),
        "LC_ALL": "C.UTF-8",
    }
    words = [
        *("env", "--chdir", CHECKOUT_INSIDE, *(f"{name}={value}" for name, value in settings.items() if value)),
        *(PYTHON_INSIDE, "-m", "coverage", "run", "--rcfile", COVERAGE_SETTINGS, "-m", "pytest", "--durations=15"),
        # Pools belong on the disk: the machine's /tmp is memory.
        *("-p", "no:cacheprovider", "--basetemp=/var/tmp/pytest", f"--junitxml={REPORT_INSIDE}/results-inside.xml"),
    ]
    machine.ssh("mkdir", "-p", REPORT_INSIDE)
    return machine.ssh(*words, *tests, check=False).returncode


def _on_host() -> int:
    environment = {**os.environ, "ZRB_TEST_OPENZFS": "host"}
    words = [sys.executable, "-m", "pytest", "--durations=5", f"--junitxml={REPORT / 'results-host.xml'}", *HOST]
    return subprocess.run(words, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def _coverage() -> tuple[int, str]:
    """Combine what the processes inside measured, and keep it for merging with what the host's tests cover."""
    data = REPORT / "coverage"
    coverage = [sys.executable, "-m", "coverage"]
    settings = ["--rcfile", COVERAGE_SETTINGS, "--data-file", data]
    print(flush=True)
    for words in (["combine", "--quiet", *settings, REPORT], ["report", *settings]):
        status = subprocess.run([*coverage, *words], cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode
        if status:
            return status, "FAILED          coverage"
    return 0, f"ok              coverage of the engine by these tests: {data.relative_to(CHECKOUT)}"


def _skipped(results: Path) -> int:
    words = [sys.executable, CHECKOUT / "tests/setup/skipped.py", results]
    print(f"\n=== Skipped ({results.stem.removeprefix('results-')})", flush=True)
    return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
