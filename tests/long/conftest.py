# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What takes hours runs by `make test-long` alone."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("ZRB_TEST_STEPS") else ["test_*.py"]
