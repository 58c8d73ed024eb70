# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing lifecycle rules, and reading until they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from zrb.errors import StoreUnavailable, UsageError
from zrb.plan.lifecycle_s3 import rule_to_s3
from zrb.run.lifecycle import (
    LifecycleRequest,
    ReadsUntilStable,
    apply_bucket_lifecycle,
    plan_bucket_lifecycle,
)
from zrb.store.bucket_lifecycle import LifecycleDocument
from zrb.values.lifecycle import LifecycleRule

OLD, NEW = LifecycleRule(id="old", abort_days=1), LifecycleRule(id="new", abort_days=2)


@dataclass
class Bucket:
    """Answers each read with the next of ``answers``, and the last of them for ever."""

    answers: list[list[LifecycleRule]]
    least_size: str = ""
    written: list[Any] = field(default_factory=list)
    reads: int = 0

    def read(self) -> LifecycleDocument:
        answer = self.answers[min(self.reads, len(self.answers) - 1)]
        self.reads += 1
        return LifecycleDocument(tuple(rule_to_s3(rule) for rule in answer), self.least_size)

    def write(self, rules: Sequence[dict[str, Any]], *, least_size: str = "") -> None:
        self.written.append(([rule["ID"] for rule in rules], least_size))


class Time:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def reads(self, **changes: Any) -> ReadsUntilStable:
        return ReadsUntilStable(sleep=self.sleep, clock=lambda: self.now, **changes)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def run(bucket: Bucket, reads: ReadsUntilStable | None) -> tuple[str, ...]:
    plan = plan_bucket_lifecycle(bucket, LifecycleRequest(rules=(NEW,)))  # type: ignore[arg-type]
    return apply_bucket_lifecycle(bucket, plan, reads=reads)  # type: ignore[arg-type]


def test_nothing_is_written_where_nothing_changes() -> None:
    bucket = Bucket([[NEW]])
    assert run(bucket, Time().reads()) == ()
    assert (bucket.written, bucket.reads) == ([], 1)


def test_what_others_set_for_the_bucket_is_kept() -> None:
    bucket = Bucket([[OLD]], least_size="varies_by_storage_class")
    run(bucket, None)
    assert bucket.written == [(["old", "new"], "varies_by_storage_class")]


def test_reads_go_on_until_the_new_rules_are_seen_three_times_in_a_row() -> None:
    both = [OLD, NEW]
    bucket = Bucket([[OLD], [OLD], both, [OLD], both, both, [OLD], both, both, both])
    time = Time()
    assert run(bucket, time.reads()) == ()
    assert bucket.reads == 10
    assert time.now == 7


def test_rules_that_are_never_seen_are_an_error() -> None:
    bucket = Bucket([[OLD]])
    with pytest.raises(StoreUnavailable, match=r"5 s later reads do not show them reliably.*wait_timeout"):
        run(bucket, Time().reads(timeout_s=5))
    assert bucket.reads == 8


def test_rules_that_an_endpoint_keeps_otherwise_are_warned_of() -> None:
    other = [OLD, LifecycleRule(id="new", abort_days=99)]
    (warning,) = run(Bucket([[OLD], [OLD], other, other, other]), Time().reads())
    assert "keeps other rules than it was given: new." in warning


def test_bad_rules_are_refused_before_anything_is_asked() -> None:
    bucket = Bucket([[]])
    with pytest.raises(UsageError, match="does nothing"):
        plan_bucket_lifecycle(bucket, LifecycleRequest(rules=(LifecycleRule(id="r"),)))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rule id"):
        request = LifecycleRequest(rules=(LifecycleRule(id=""),), state="absent")
        plan_bucket_lifecycle(bucket, request)  # type: ignore[arg-type]
    assert bucket.reads == 0


def test_a_rule_that_does_nothing_can_be_removed() -> None:
    request = LifecycleRequest(rules=(LifecycleRule(id="old"),), state="absent")
    assert plan_bucket_lifecycle(Bucket([[OLD]]), request).after == ()  # type: ignore[arg-type]
