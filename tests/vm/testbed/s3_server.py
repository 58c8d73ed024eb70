# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An S3 server on the host for the tests inside a machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm.testbed.machine import HOST_AS_SEEN_INSIDE

_START_S = 120
_LISTENS = "Running on http://127.0.0.1:"


@contextmanager
def s3_server_for_machines() -> Iterator[str]:
    """Run moto; its URL as the machines see it. It ends with the block, and with this process in any case."""
    with tempfile.TemporaryDirectory(prefix="zrb-s3-") as scratch:
        log = Path(scratch) / "log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield f"http://{HOST_AS_SEEN_INSIDE}:{_port(server, log)}"
        finally:
            server.kill()
            server.wait()


def _port(server: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + _START_S
    while True:
        found = log.read_text(errors="replace").partition(_LISTENS)[2].split()
        if found:
            return int(found[0])
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"The S3 server did not start: {log.read_text(errors='replace')}")
        try:
            server.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
