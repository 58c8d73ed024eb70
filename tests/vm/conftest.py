# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""These tests need machines: ``make test-openzfs`` runs them, each half where it belongs. Elsewhere they are not
collected, since ``make test`` is another rung and not this one skipped."""

from __future__ import annotations

import os

_HALVES = {"inside": "openzfs", "host": "host"}
collect_ignore = [directory for half, directory in _HALVES.items() if half != os.environ.get("ZRB_TEST_OPENZFS", "")]
