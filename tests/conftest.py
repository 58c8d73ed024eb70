# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for all tests."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.integration.zfs_fixtures", "tests.integration.s3_fixtures", "tests.integration.nas_fixtures"]

# A busy machine is no reason to fail: how long an example takes says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
