# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Estimates how long a stream will be, before it is sent, and chooses sizes for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ...plan.part_sizes import choose_sizes
from ...values.config import MIB, Limits
from ...values.zfs import Snapshot
from ..context import Context
from .survey import Decision

TINY_BYTES: Final = 16 * MIB
"""Below this size, the bytes written since the base are a good enough estimate for an increment."""


def sizes_for(context: Context, decision: Decision, stream_bytes: int | None) -> Limits:
    """The limits of one backup. A resumed one keeps its ``part_size`` even if the estimate has changed."""
    limits, journal = context.config.limits, decision.journal
    return choose_sizes(
        replace(limits, part_size=journal.binding.part_size) if journal else limits,
        stream_bytes=stream_bytes,
        storage_class=context.config.storage_classes.for_level(decision.choice.level),
    )


def estimate_stream(context: Context, decision: Decision, snapshot: Snapshot | None) -> int | None:
    """Bytes of the stream: as zfs send predicts them, else a rough estimate, else ``None``."""
    base, flags = decision.choice.base_source, decision.choice.flags
    written = _written_since_base(decision, snapshot) if snapshot else None
    if written is not None and written <= TINY_BYTES:
        return written
    told = context.zfs.estimate_bytes(snapshot.name, base=base, flags=flags) if snapshot else None
    if told is not None:
        return told
    return context.zfs.changed_bytes(
        snapshot.name if snapshot else decision.survey.dataset.name, base=base, flags=flags
    )


def _written_since_base(decision: Decision, snapshot: Snapshot) -> int | None:
    base = decision.choice.base
    if base is None:
        return None
    since = {
        one.guid: one.written
        for one in (*decision.survey.snapshots, snapshot)
        if base.snapshot.createtxg < one.createtxg <= snapshot.createtxg
    }
    return None if None in since.values() else sum(written or 0 for written in since.values())
