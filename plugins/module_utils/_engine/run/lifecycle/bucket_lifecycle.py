# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The use case: bring the lifecycle rules of a bucket to what is wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...errors import StoreUnavailable
from ...plan.lifecycle_changes import LifecyclePlan, State, plan_lifecycle, unordered
from ...plan.lifecycle_xml import rule_from_xml, rule_to_xml
from ...store.bucket_settings import BucketLifecycle
from ...store.s3_session import S3Session
from ...values.config import S3Settings
from ...values.lifecycle_rule import LifecycleRule


@dataclass(frozen=True, slots=True)
class LifecycleRequest:
    """What is wanted of a bucket; see :func:`..plan.lifecycle.plan_lifecycle`."""

    rules: tuple[LifecycleRule, ...]
    state: State = "present"
    purge: bool = False
    repository_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class ReadsUntilStable:
    """How long to read after a write. S3 answers with old and new rules in turn for a while after one."""

    timeout_s: float = 60
    interval_s: float = 1
    equal_reads: int = 3
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@contextmanager
def open_bucket_lifecycle(settings: S3Settings) -> Iterator[BucketLifecycle]:
    """The lifecycle configuration of the bucket that ``settings`` name."""
    session = S3Session(settings)
    try:
        yield BucketLifecycle(session)
    finally:
        session.close()


def plan_bucket_lifecycle(bucket: BucketLifecycle, request: LifecycleRequest) -> LifecyclePlan:
    """What would change."""
    return plan_lifecycle(
        _read_rules(bucket),
        request.rules,
        state=request.state,
        purge=request.purge,
        repository_prefix=request.repository_prefix,
    )


def apply_bucket_lifecycle(
    bucket: BucketLifecycle, plan: LifecyclePlan, *, reads: ReadsUntilStable | None
) -> tuple[str, ...]:
    """Write what ``plan`` says, and read until it is seen; ``None`` does not wait. Returns warnings.

    Raises ``StoreUnavailable`` if rules are missing, or there still, when the time is over.
    """
    if not plan.changed:
        return ()
    least_size = bucket.read().least_size
    bucket.write([rule_to_xml(rule) for rule in plan.after], least_size=least_size)
    return _read_until_stable(bucket, plan, reads) if reads else ()


def _read_until_stable(bucket: BucketLifecycle, plan: LifecyclePlan, reads: ReadsUntilStable) -> tuple[str, ...]:
    old, wanted = unordered(plan.before), unordered(plan.after)
    deadline = reads.clock() + reads.timeout_s
    seen: list[LifecycleRule] = []
    equal = 0
    while True:
        found = unordered(_read_rules(bucket))
        equal = equal + 1 if found == seen else 1
        seen = found
        # What is neither the old nor the new has been written: this endpoint keeps it in another way.
        if found != old and equal >= reads.equal_reads:
            return () if found == wanted else (_kept_otherwise(found, wanted),)
        if reads.clock() >= deadline:
            # It kept the rules in another form before this run, too, so old and new look the same.
            if [rule.id for rule in found] == [rule.id for rule in wanted]:
                return (_kept_otherwise(found, wanted),)
            raise StoreUnavailable(
                f"The lifecycle rules were written, but {reads.timeout_s:g} s later reads do not show them reliably",
                subject="rules",
                next_step="S3 may need longer: run it again (it compares before it writes), or raise wait_timeout",
            )
        reads.sleep(reads.interval_s)


def _kept_otherwise(found: Sequence[LifecycleRule], wanted: Sequence[LifecycleRule]) -> str:
    different = sorted(
        {rule.id for rule in wanted if rule not in found} | {rule.id for rule in found if rule not in wanted}
    )
    return (
        f"The endpoint keeps other rules than it was given: {', '.join(different)}. It may not know all that they say, "
        "and the next run will find a difference again."
    )


def _read_rules(bucket: BucketLifecycle) -> tuple[LifecycleRule, ...]:
    return tuple(rule_from_xml(xml) for xml in bucket.read().rules)
