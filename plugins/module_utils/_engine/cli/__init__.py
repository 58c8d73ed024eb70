# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ``zrb`` command: reads arguments, prints text or JSON, returns exit codes. It calls ``run`` and nothing below.

``zrb --help`` must be fast even on a slow NAS, so the files here import what a command needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv`` (without the program name; default: ``sys.argv``) and return the exit code."""
    from .run_command import run_command_line

    return run_command_line(sys.argv[1:] if argv is None else argv)
