# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing lifecycle rules, and reading until they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from zrb.errors import StoreUnavailable
from zrb.plan.lifecycle_xml import rule_from_xml, rule_to_xml
from zrb.run.lifecycle import (
    LifecycleRequest,
    ReadsUntilStable,
    apply_bucket_lifecycle,
    plan_bucket_lifecycle,
)
from zrb.store.bucket_settings import LifecycleDocument
from zrb.values.lifecycle_rule import LifecycleRule


def rule(name: str, days: int) -> LifecycleRule:
    return LifecycleRule.of({"id": name, "abort_incomplete_multipart_upload_days": days})


OLD, NEW = rule("old", 1), rule("new", 2)


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
        return LifecycleDocument(tuple(rule_to_xml(rule) for rule in answer), self.least_size)

    def write(self, rules: Sequence[str], *, least_size: str = "") -> None:
        self.written.append(([rule_from_xml(xml).id for xml in rules], least_size))


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
    with pytest.raises(StoreUnavailable, match="wait_timeout"):
        run(bucket, Time().reads(timeout_s=5))
    assert bucket.reads == 8


def test_rules_that_an_endpoint_keeps_otherwise_are_warned_of() -> None:
    other = [OLD, rule("new", 99)]
    (warning,) = run(Bucket([[OLD], [OLD], other, other, other]), Time().reads())
    assert "other rules" in warning and ": new" in warning


def test_an_endpoint_that_keeps_a_rule_otherwise_is_warned_of_in_every_run() -> None:
    """From the second run on, the old rules and those that it makes of the new ones look the same."""
    other = [rule("new", 99)]
    (warning,) = run(Bucket([other]), Time().reads())
    assert "other rules" in warning and ": new" in warning
