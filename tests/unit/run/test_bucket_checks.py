# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said about a bucket's settings and about the clock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from zrb.errors import EngineError, ObjectMissing, StoreDenied, StoreUnavailable
from zrb.run.validate import Check
from zrb.run.validate.bucket import (
    _readable,
    clock_check,
    lifecycle_checks,
    lock_check,
    policy_checks,
    versioning_check,
)
from zrb.store.bucket_settings import ObjectLock
from zrb.store.s3_errors import S3Refused
from zrb.values.config import Config, S3Settings, Task
from zrb.values.lifecycle_rule import LifecycleRule
from zrb.values.retention import Retention

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "status"),
    [(0, "ok"), (60, "ok"), (-60, "ok"), (61, "warning"), (-900, "warning"), (901, "error"), (-86400, "error")],
)
def test_a_clock_that_is_wrong(seconds: int, status: str) -> None:
    check = clock_check(NOW + timedelta(seconds=seconds), NOW)
    assert check.status == status
    assert f"differ by {abs(seconds)} s" in check.message
    assert ("timedatectl" in check.next_step) == (status != "ok")


def test_an_endpoint_without_a_clock() -> None:
    assert clock_check(None, NOW).status == "ok"


EXPIRE = {"id": "expire", "expiration_days": 30}
ARCHIVE = {"id": "archive", "transitions": [{"storage_class": "DEEP_ARCHIVE", "days": 1}]}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([], []),
        ([EXPIRE], ["can delete backups"]),
        ([{**EXPIRE, "enabled": False}], []),
        ([{**EXPIRE, "prefix": "nas/data/"}], ["can delete backups"]),
        ([{**EXPIRE, "prefix": "elsewhere/"}], []),
        ([ARCHIVE], ["can move manifests"]),
        ([{**ARCHIVE, "prefix": "nas/data/"}], []),
        ([EXPIRE, ARCHIVE], ["can delete backups", "can move manifests"]),
        ([{"id": "abort", "abort_incomplete_multipart_upload_days": 7}], []),
    ],
)
def test_rules_that_take_backups_away(rules: list[dict[str, Any]], told: list[str]) -> None:
    found = [
        check
        for check in lifecycle_checks([LifecycleRule.of(rule) for rule in rules], "nas/")
        if check.status == "warning"
    ]
    assert len(found) == len(told)
    for check, text in zip(found, told, strict=True):
        assert text in check.message
        assert "named here" not in check.message
        assert "prefix" in check.next_step


def test_versioning_and_lock() -> None:
    assert versioning_check(True).status == "ok"
    assert versioning_check(False).status == "warning"
    assert "none" in lock_check(None).message
    assert "protects nothing" in lock_check(ObjectLock("", "")).message
    assert lock_check(ObjectLock("COMPLIANCE", "30 days")).message.startswith("COMPLIANCE, 30 days ")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (StoreDenied("no", next_step="x"), "ok", "not readable with these credentials"),
        (S3Refused("no", code="MethodNotAllowed", answer="MethodNotAllowed", next_step="x"), "ok", "does not tell"),
        (ObjectMissing("gone", next_step="x"), "ok", "does not tell (gone)"),
        (StoreUnavailable("down", answer="refused", next_step="wait"), "error", "down: refused"),
    ],
)
def test_what_cannot_be_read_is_said(error: EngineError, status: str, told: str) -> None:
    def ask() -> list[Check]:
        raise error

    (check,) = _readable("versioning", ask)
    assert (check.name, check.status) == ("versioning", status)
    assert told in check.message


def test_rules_that_contradict_the_policy_of_a_task() -> None:
    """A task's own policy counts before that of the configuration, and one that is not enabled does not count."""
    config = Config(
        PurePosixPath("/b"),
        PurePosixPath("/l"),
        "nas1",
        (),
        s3=S3Settings("a-bucket", prefix="nas/"),
        retention=Retention(keep_daily=60),
        tasks=(Task("one", "tank", "one"),),
    )
    rules = [LifecycleRule.of({**ARCHIVE, "prefix": "nas/data/"})]
    (check,) = policy_checks(rules, config, versioned=False)
    assert (check.name, check.status) == ("lifecycle", "warning")
    assert "DEEP_ARCHIVE" in check.message
    (only,) = config.tasks
    for task in (replace(only, retention=Retention()), replace(only, enabled=False)):
        assert policy_checks(rules, replace(config, tasks=(task,)), versioned=True) == []
