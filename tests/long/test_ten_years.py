# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ten years of a repository that is cleaned at 100 random points: at each, everything that the plan says it keeps
restores."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from zrb.values.retention import Retention

from tests.unit.run.test_ten_years import Schedule, TenYears

WEEKLY = Schedule(timedelta(days=7), (26, 4, 1))
DAILY = Schedule(timedelta(days=1), (91, 7, 1))
NIGHTLY = Schedule(timedelta(days=1), (182, 28, 7, 1))


@pytest.mark.parametrize(
    ("schedule", "policy"),
    [
        (WEEKLY, Retention(keep_last=4, keep_monthly=12, keep_yearly=10)),
        (WEEKLY, Retention(keep_within_s=60 * 86_400, time_zone="Pacific/Apia")),
        (DAILY, Retention(keep_last=3, keep_daily=14, keep_monthly=24, time_zone="Europe/Vienna")),
        (NIGHTLY, Retention(keep_daily=30, keep_weekly=8, keep_monthly=12, keep_yearly=10)),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_everything_that_is_kept_restores(tmp_path: Path, schedule: Schedule, policy: Retention, seed: int) -> None:
    life = TenYears(tmp_path, schedule, policy, seed)
    life.live(cleanups=100, restores=1 << 30)
    assert life.cleaned == 100
    assert life.restored >= 100
