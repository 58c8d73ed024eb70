# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ZFS of this machine can do, found out by asking it.

``zfs`` without arguments prints the usage of every command, ``zfs get`` without arguments the properties; both
touch nothing. Their texts are stable enough to read: see tests/unit/zfs/test_capabilities.py for those of
zfs-fuse and OpenZFS 0.7 to 2.4.
"""

from __future__ import annotations

import platform
import re

from ..errors import ZfsMissing
from ..values.zfs import Capabilities
from .command_line import CommandLine
from .failures import START_ZFS, zfs_failure


def probe_capabilities(command_line: CommandLine) -> Capabilities:
    """Ask the ``zfs`` of this machine. Raises ``ZfsMissing`` if it is not installed or not running."""
    asked = command_line.ask("zfs", "get")
    properties = asked.stdout + asked.stderr
    if "PROPERTY" not in properties:
        raise zfs_failure(
            asked,
            problem="The command zfs is installed, but no ZFS answers behind it",
            subject="zfs",
            otherwise=ZfsMissing,
            next_step=START_ZFS,
        )
    asked = command_line.ask("zfs")
    usage = asked.stdout + asked.stderr
    return read_capabilities(
        usage=usage,
        properties=properties,
        version=_version(command_line),
        platform_name=f"{platform.system()} {platform.release()}",
    )


def read_capabilities(*, usage: str, properties: str, version: str, platform_name: str) -> Capabilities:
    """Read the usage text of ``zfs`` and the property list of ``zfs get``."""
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
        receive_properties="[-o <property>=<value>]" in receive and "[-x <property>]" in receive,
        encryption=bool(re.search(r"^\s+encryption\s", properties, re.MULTILINE)),
    )


def _synopsis(usage: str, command: str) -> str:
    """The first synopsis of a command on one line: the most general one in every version."""
    found = re.search(rf"^\t({command} .*(?:\n(?:\t +| +\t? *)\S.*)*)", usage, re.MULTILINE)
    return " ".join(found.group(1).split()) if found else ""


def _options(usage: str, command: str) -> set[str]:
    """Letters of the first bracket that has more than one option without argument."""
    found = re.search(r"\[-([A-Za-z]+)\]", _synopsis(usage, command))
    return set(found.group(1)) if found else set()


def _version(command_line: CommandLine) -> str:
    asked = command_line.ask("zfs", "version")
    first = asked.stdout.partition("\n")[0].strip()
    if first:
        return first
    pools = re.search(r"ZFS (pool version \d+)", command_line.ask("zpool", "upgrade", "-v").stdout)
    if not pools:
        raise ZfsMissing(
            "This ZFS does not say which version it is",
            answer=asked.stderr,
            next_step="Check what `zfs version` and `zpool upgrade -v` say; one of them has to name a version",
        )
    return pools.group(1)
