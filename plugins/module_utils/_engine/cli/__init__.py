# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``zrb`` command: arguments in, text or JSON out, exit codes. It calls ``run`` and nothing below.

``zrb --help`` must answer at once, also on a slow NAS: the files here import what a command needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (without the program's name; default: this process's) and return the exit code."""
    from .command_line import run_command_line

    return run_command_line(sys.argv[1:] if argv is None else argv)
