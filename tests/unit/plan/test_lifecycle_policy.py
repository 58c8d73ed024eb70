# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.lifecycle_policy import contradictions
from zrb.plan.price_list import AWS
from zrb.values.lifecycle_rule import LifecycleRule
from zrb.values.retention import Retention
from zrb.values.storage_classes import AWS_BILLING

DAY_S = 86_400
DAILY = Retention(keep_daily=60)
CLEAN = {"id": "clean", "noncurrent_version_expiration_days": 30}


def move(storage_class: str, days: int, **options: Any) -> dict[str, Any]:
    return {"id": "move", "transitions": [{"storage_class": storage_class, "days": days}], **options}


def found(
    *rules: dict[str, Any], policy: Retention = DAILY, versioned: bool | None = False, patience_s: int = 6 * 3600
) -> list[str]:
    """What is said about these rules."""
    return [
        one.message
        for one in contradictions(
            [LifecycleRule.of(rule) for rule in rules],
            [policy, Retention(), policy],
            prices=AWS["us-east-1"],
            repository_prefix="nas/",
            versioned=versioned,
            patience_s=patience_s,
        )
    ]


@given(
    storage_class=st.sampled_from([*AWS_BILLING, "STANDARD", "INTELLIGENT_TIERING"]),
    moved=st.integers(0, 400),
    kept=st.integers(1, 400),
)
def test_a_move_contradicts_a_policy_that_lets_go_before_it_has_paid(storage_class: str, moved: int, kept: int) -> None:
    least = AWS["us-east-1"].billing_of(storage_class).least_days
    told = found(move(storage_class, moved), policy=Retention(keep_daily=kept))
    assert bool(told) == (moved < kept < moved + least)


@pytest.mark.parametrize(
    "policy",
    [
        Retention(keep_hourly=24 * 60),
        Retention(keep_weekly=9),
        Retention(keep_monthly=2),
        Retention(keep_within_s=60 * DAY_S),
        Retention(keep_daily=60, keep_yearly=10),
    ],
)
def test_each_rule_tells_an_age(policy: Retention) -> None:
    (told,) = found(move("DEEP_ARCHIVE", 30), policy=policy)
    assert "until day 210" in told
    assert str(policy) in told


@pytest.mark.parametrize(
    ("rule", "policy"),
    [
        (move("DEEP_ARCHIVE", 30, enabled=False), DAILY),
        (move("DEEP_ARCHIVE", 30, prefix="elsewhere/"), DAILY),
        (move("DEEP_ARCHIVE", 30, prefix="nas/manifests/"), DAILY),
        (move("DEEP_ARCHIVE", 30), Retention()),
        (move("DEEP_ARCHIVE", 30), Retention(keep_daily=14, keep_monthly=24)),
        (move("DEEP_ARCHIVE", 30), Retention(keep_last=60)),
    ],
)
def test_what_does_not_contradict(rule: dict[str, Any], policy: Retention) -> None:
    assert found(rule, policy=policy) == []


@given(days=st.integers(1, 20), patience_s=st.integers(0, 20 * DAY_S))
def test_uploads_are_not_removed_while_a_run_may_wait(days: int, patience_s: int) -> None:
    told = found({"id": "abort", "abort_incomplete_multipart_upload_days": days}, patience_s=patience_s)
    assert bool(told) == (patience_s >= days * DAY_S)


@pytest.mark.parametrize(
    ("rules", "policy", "versioned", "told"),
    [
        ([], DAILY, True, 1),
        ([{**CLEAN, "prefix": "elsewhere/"}], DAILY, True, 1),
        ([{**CLEAN, "enabled": False}], DAILY, True, 1),
        ([CLEAN], DAILY, True, 0),
        ([{**CLEAN, "prefix": "nas/"}], DAILY, True, 0),
        ([], Retention(), True, 0),
        ([], DAILY, False, 0),
        ([], DAILY, None, 0),
    ],
)
def test_versions_of_what_is_removed_go_too(
    rules: list[dict[str, Any]], policy: Retention, versioned: bool | None, told: int
) -> None:
    assert len(found(*rules, policy=policy, versioned=versioned)) == told
