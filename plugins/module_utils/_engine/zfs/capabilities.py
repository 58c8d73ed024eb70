# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asks the ZFS of this machine what it can do.

``zfs version`` came with OpenZFS 0.8, which has all capabilities: its answer is enough. An older ZFS does not know that
command, and prints the usage of those that it knows. See tests/unit/zfs/test_capabilities.py for the texts of zfs-fuse
and OpenZFS 0.7 to 2.4.
"""

from __future__ import annotations

import platform
import re

from ..errors import ZfsMissing
from ..values.zfs import Capabilities
from .short_commands import ShortCommands
from .zfs_errors import START_ZFS, zfs_failure


def probe_capabilities(commands: ShortCommands) -> Capabilities:
    """Ask the ``zfs`` of this machine. Raises ``ZfsMissing`` if it is not installed or not running."""
    asked = commands.ask("zfs", "version")
    version = asked.stdout.partition("\n")[0].strip()
    if asked.status == 0 and version:
        return Capabilities(version, _platform(), *[True] * 10)
    usage = asked.stdout + asked.stderr
    if not _synopsis(usage, "snapshot"):
        raise zfs_failure(
            asked,
            problem="The command zfs is installed, but ZFS itself does not answer",
            subject="zfs",
            otherwise=ZfsMissing,
            next_step=START_ZFS,
        )
    return read_capabilities(usage=usage, version=_pool_version(commands), platform_name=_platform())


def read_capabilities(*, usage: str, version: str, platform_name: str) -> Capabilities:
    """Read the usage text of ``zfs``."""
    send = _options(usage, "send")
    receive = _synopsis(usage, "receive")
    return Capabilities(
        version=version,
        platform=platform_name,
        send_large_blocks="L" in send,
        send_compressed="c" in send,
        send_raw="w" in send,
        send_estimate={"n", "P"} <= send,
        bookmarks=bool(_synopsis(usage, "bookmark")),
        multiple_snapshots=_synopsis(usage, "snapshot").endswith("> ..."),
        receive_unmounted="u" in _options(usage, "receive"),
        receive_resumable="s" in _options(usage, "receive"),
        receive_properties="[-o <property>=<value>]" in receive and "[-x <property>]" in receive,
        encryption="w" in send,
    )


def _synopsis(usage: str, command: str) -> str:
    """The first synopsis of a command, on one line. In every version, it is the most general one."""
    found = re.search(rf"^\t({command} .*(?:\n(?:\t +| +\t? *)\S.*)*)", usage, re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""


def _options(usage: str, command: str) -> set[str]:
    """Letters of the first bracket that has more than one option without argument."""
    found = re.search(r"\[-([A-Za-z]+)\]", _synopsis(usage, command))
    return set(found.group(1)) if found else set()


def _platform() -> str:
    return f"{platform.system()} {platform.release()}"


def _pool_version(commands: ShortCommands) -> str:
    asked = commands.ask("zpool", "upgrade", "-v")
    pools = re.search(r"ZFS (pool version \d+)", asked.stdout)
    if not pools:
        raise ZfsMissing(
            "This ZFS does not tell its version",
            answer=asked.stderr,
            next_step="Run `zfs version` and `zpool upgrade -v`: one of them must print a version",
        )
    return pools.group(1)
