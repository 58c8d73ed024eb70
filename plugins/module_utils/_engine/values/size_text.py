# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Formats sizes for people. Machines get plain bytes."""

from __future__ import annotations


def human_size(size_bytes: int) -> str:
    """``1.5 GiB``: the best binary unit, one decimal; whole bytes below 1 KiB."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    import bitmath

    return str(bitmath.Byte(size_bytes).best_prefix(system=bitmath.NIST).format("{value:.1f} {unit}"))
