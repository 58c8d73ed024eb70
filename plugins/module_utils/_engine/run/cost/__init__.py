# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cost: what a repository costs, and what it will."""

from __future__ import annotations

from .cost import CostReport, cost_of_repository

__all__ = ["CostReport", "cost_of_repository"]
