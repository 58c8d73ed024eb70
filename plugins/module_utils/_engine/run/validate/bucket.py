# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether a bucket keeps its objects (lifecycle rules, versioning, Object Lock), and the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from ...errors import EngineError, ObjectMissing, StoreDenied
from ...plan.lifecycle_changes import plan_lifecycle
from ...plan.lifecycle_policy import contradictions
from ...plan.lifecycle_xml import rule_from_xml
from ...plan.price_list import price_list
from ...store.bucket_settings import BucketFacts, BucketLifecycle, ObjectLock
from ...store.s3_errors import S3Refused
from ...store.s3_session import S3Session
from ...values.config import PATIENCE_S, Config, S3Settings
from ...values.lifecycle_rule import LifecycleRule
from .check_result import Check, failed

_REFUSED_BEYOND = timedelta(minutes=15)
"""S3 refuses signed requests beyond this difference (RequestTimeTooSkewed)."""
_NOTICED_BEYOND = timedelta(minutes=1)


def bucket_checks(config: Config, settings: S3Settings, now: Callable[[], datetime]) -> Iterator[Check]:
    """Check the settings of the bucket of ``settings``, which ``config`` names. A setting that these credentials may
    not read is no problem."""
    session = S3Session(settings)
    facts, lifecycle = BucketFacts(session), BucketLifecycle(session)

    def check_lifecycle() -> list[Check]:
        rules = _rules(lifecycle)
        return [*lifecycle_checks(rules, settings.prefix), *policy_checks(rules, config, versioned=_versioned(facts))]

    try:
        yield from _readable("clock", lambda: [clock_check(facts.server_time(), now())])
        yield from _readable("lifecycle", check_lifecycle)
        yield from _readable("versioning", lambda: [versioning_check(facts.versioning())])
        yield from _readable("object_lock", lambda: [lock_check(facts.object_lock())])
    finally:
        session.close()


def _rules(lifecycle: BucketLifecycle) -> list[LifecycleRule]:
    return [rule_from_xml(rule) for rule in lifecycle.read().rules]


def _versioned(facts: BucketFacts) -> bool | None:
    try:
        return facts.versioning()
    except (StoreDenied, S3Refused, ObjectMissing):
        return None


def _readable(name: str, checks: Callable[[], Sequence[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except StoreDenied:
        yield Check(name, "ok", "not readable with these credentials, as it should be if they only back up")
    except (S3Refused, ObjectMissing) as error:
        yield Check(name, "ok", f"the endpoint does not tell ({error.answer or error.problem})")
    except EngineError as error:
        yield failed(name, error)


def clock_check(there: datetime | None, here: datetime) -> Check:
    """Compare the clocks of the endpoint and of this machine."""
    if there is None:
        return Check("clock", "ok", "the endpoint does not tell its time")
    difference = abs(here - there)
    message = f"this machine and the endpoint differ by {difference.total_seconds():.0f} s"
    if difference <= _NOTICED_BEYOND:
        return Check("clock", "ok", message)
    return Check(
        "clock",
        "error" if difference > _REFUSED_BEYOND else "warning",
        f"T{message[1:]}; beyond 15 minutes S3 refuses every request",
        "Set this machine's clock (`timedatectl` shows whether a time service runs)",
    )


def lifecycle_checks(rules: Sequence[LifecycleRule], prefix: str) -> list[Check]:
    """Find rules that can delete backups, or move manifests to a class that cannot be read at once."""
    warnings = plan_lifecycle(rules, (), repository_prefix=prefix).warnings
    if not warnings:
        return [Check("lifecycle", "ok", f"none of {len(rules)} rules deletes backups or archives manifests")]
    step = "Change or remove that rule, or limit it to a prefix outside the repository"
    plain = (warning.replace(" (not one of those named here)", "") for warning in warnings)
    return [Check("lifecycle", "warning", warning, step) for warning in plain]


def policy_checks(rules: Sequence[LifecycleRule], config: Config, *, versioned: bool | None) -> list[Check]:
    """Find where rules contradict the policy of any task, or the patience of a run."""
    found = contradictions(
        rules,
        [config.retention if task.retention is None else task.retention for task in config.tasks if task.enabled],
        prices=price_list(config),
        repository_prefix=config.s3.prefix if config.s3 else "",
        versioned=versioned,
        patience_s=PATIENCE_S if config.patience_s is None else config.patience_s,
    )
    return [Check("lifecycle", "warning", one.message, one.next_step) for one in found]


def versioning_check(enabled: bool) -> Check:
    """Whether objects that were overwritten or deleted can come back."""
    if enabled:
        return Check("versioning", "ok", "overwritten and deleted objects stay as versions")
    return Check(
        "versioning",
        "warning",
        "Versioning is off: objects that somebody with credentials deletes or overwrites are gone",
        "Turn it on, with a lifecycle rule that removes old versions after some weeks",
    )


def lock_check(lock: ObjectLock | None) -> Check:
    """Whether objects can be deleted at all."""
    if lock is None:
        return Check("object_lock", "ok", "none: anyone who may delete versions can delete backups for good")
    if not lock.mode:
        return Check("object_lock", "ok", "on, but without a default retention: by itself it protects nothing")
    return Check("object_lock", "ok", f"{lock.mode}, {lock.period} for every new object")
