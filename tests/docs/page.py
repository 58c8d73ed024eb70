# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A page of the documentation as a list of fenced blocks.

What each language means for the tests:

- ``console``: lines that begin with ``$ `` are commands, lines that end with a backslash go on in the next one; the
  lines after a command are its output, in which ``…`` stands for anything. A test runs the commands and looks for
  the lines.
- ``sh``: a script that a test runs.
- ``yaml``, ``ini``: where the first line is a comment that is a path, the file that the next commands read.
- ``json``, ``text``: something to look at.

Any other language is an error, so that no command escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

RUN = {"console", "sh"}
FILES = {"yaml", "ini"}
SHOWN = {"json", "text"}
_FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is where it begins."""

    language: str
    text: str
    line: int

    @property
    def path(self) -> str | None:
        """The file that this block is, where it names one."""
        first = self.text.partition("\n")[0]
        match = re.fullmatch(r"# (/?[\w./-]+\.\w+|/etc/zrb/\w+)", first)
        return match[1] if self.language in FILES and match else None


@dataclass(frozen=True)
class Command:
    """One command of a console block, and the lines that it is said to print."""

    text: str
    output: tuple[str, ...]


def blocks_of(path: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 1) for match in _FENCE.finditer(text)]


def commands_of(block: Block) -> list[Command]:
    """The commands of a console or sh block."""
    if block.language == "sh":
        return [Command(block.text, ())]
    commands: list[Command] = []
    lines = iter(block.text.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + next(lines)
            commands.append(Command(command, ()))
        elif commands:
            last = commands.pop()
            commands.append(Command(last.text, (*last.output, line)))
        else:
            raise ValueError(f"line {block.line}: a console block begins with a command: {line!r}")
    return commands
