# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Estimates the size of a stream from properties: for a snapshot that is not taken yet, and for a ZFS without
``zfs send -nP``."""

from __future__ import annotations

from collections.abc import Sequence

from .short_commands import ShortCommands


def read_changed_bytes(commands: ShortCommands, name: str, *, base: str | None, flags: Sequence[str]) -> int | None:
    """Bytes of data in ``name`` (a dataset or snapshot), or written since ``base``; ``None`` if this ZFS cannot tell.
    Metadata does not count, so the stream is a little longer."""
    compressed = "-c" in flags or "-w" in flags
    if base is not None:
        mark = base[len(name.partition("@")[0]) :]  # @snapshot or #bookmark
        candidates = [f"written{mark}"]
    else:
        candidates = ["referenced"] if compressed else ["logicalreferenced", "referenced"]
    for candidate in candidates:
        ended = commands.ask("zfs", "get", "-H", "-p", "-o", "value", candidate, name)
        if ended.status == 0 and ended.stdout.strip().isdigit():
            return int(ended.stdout)
    return None
