# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validate: whether a configuration, this machine and the repository will work together."""

from __future__ import annotations

from .check_result import Check
from .validate import exit_code, validate_config

__all__ = [
    "Check",
    "exit_code",
    "validate_config",
]
