# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for people: tables whose columns line up, sizes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from ..values.size_text import human_size
from .output import put

__all__ = ["human_size", "printable", "show_table"]

_GAP = "  "


def printable(text: str) -> str:
    """``text`` without characters that a terminal would obey: names may come from a foreign repository."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def show_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    dispensable: Sequence[str] = (),
) -> None:
    """Print a table on stdout; columns named in ``right`` are aligned to the right.

    On a terminal that is too narrow, the ``dispensable`` columns are left out, the first of them first. No cell is
    ever cut or folded, and a pipe gets every column.
    """
    from rich.cells import cell_len

    table = [list(headers), *([printable(cell) for cell in row] for row in rows)]
    widths = {
        header: max(map(cell_len, column)) for header, column in zip(headers, zip(*table, strict=True), strict=True)
    }
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        for header in dispensable:
            if sum(widths.values()) + len(_GAP) * (len(widths) - 1) > room:
                del widths[header]
    for row in table:
        cells = []
        for header, cell in zip(headers, row, strict=True):
            if header in widths:
                padding = " " * (widths[header] - cell_len(cell))
                cells.append(padding + cell if header in right else cell + padding)
        put(_GAP.join(cells).rstrip())
