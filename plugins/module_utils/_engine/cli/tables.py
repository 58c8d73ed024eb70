# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for people: tables and sizes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from ..values.size_text import human_size
from .output import put

__all__ = ["human_size", "printable", "show_table"]

_GAP = "  "


def printable(text: str) -> str:
    """Replace characters that control a terminal. Names may come from an untrusted repository."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _width(text: str) -> int:
    """How many columns of a terminal ``text`` takes. There may be a million cells, and nearly all are ASCII."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def show_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    dispensable: Sequence[str] = (),
) -> None:
    """Print a table on stdout. Columns named in ``right`` are aligned to the right.

    If the terminal is too narrow, ``dispensable`` columns are left out in this order. No cell is ever cut or wrapped,
    and a pipe gets all columns.
    """
    table = [list(headers), *([printable(cell) for cell in row] for row in rows)]
    widths = {
        header: max(map(_width, column)) for header, column in zip(headers, zip(*table, strict=True), strict=True)
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
                padding = " " * (widths[header] - _width(cell))
                cells.append(padding + cell if header in right else cell + padding)
        put(_GAP.join(cells).rstrip())
