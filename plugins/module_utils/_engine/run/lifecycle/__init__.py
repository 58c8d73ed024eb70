# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle: bring the rules of a bucket to what is wanted."""

from __future__ import annotations

from .bucket_lifecycle import (
    LifecycleRequest,
    ReadsUntilStable,
    apply_bucket_lifecycle,
    open_bucket_lifecycle,
    plan_bucket_lifecycle,
)

__all__ = [
    "LifecycleRequest",
    "ReadsUntilStable",
    "apply_bucket_lifecycle",
    "open_bucket_lifecycle",
    "plan_bucket_lifecycle",
]
