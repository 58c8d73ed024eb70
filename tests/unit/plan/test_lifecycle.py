# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules: what means the same, what changes, what is refused, and what is warned of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import UsageError
from zrb.plan.lifecycle import plan_lifecycle
from zrb.plan.lifecycle_checks import check_rule_id, check_rules
from zrb.plan.lifecycle_s3 import rule_from_s3, rule_to_s3
from zrb.values.lifecycle import LifecycleRule, NoncurrentTransition, RuleFilter, Transition

ABORT = LifecycleRule(id="abort", abort_days=14)
EXPIRE = LifecycleRule(id="expire", expiration_days=365)
OTHER = LifecycleRule(id="other", filter=RuleFilter(prefix="logs/"), expiration_days=30)


class TestNormalForm:
    @pytest.mark.parametrize(
        "raw",
        [
            {"Prefix": "data/"},
            {"Filter": {"Prefix": "data/"}},
            {"Filter": {"And": {"Prefix": "data/"}}},
            {"Filter": {"And": {"Prefix": "data/", "Tags": []}}},
        ],
    )
    def test_a_prefix_is_said_in_several_ways(self, raw: dict[str, Any]) -> None:
        rule = rule_from_s3({"ID": "r", "Status": "Enabled", "Expiration": {"Days": 1}, **raw})
        assert rule == LifecycleRule(id="r", filter=RuleFilter(prefix="data/"), expiration_days=1)

    @pytest.mark.parametrize(
        "raw", [{"Prefix": ""}, {"Prefix": None}, {"Filter": {}}, {"Filter": {"Prefix": ""}}, {"Filter": None}, {}]
    )
    def test_the_whole_bucket_is_said_in_several_ways(self, raw: dict[str, Any]) -> None:
        assert rule_from_s3({"ID": "r", "Status": "Enabled", **raw}).filter == RuleFilter()

    def test_one_tag_and_several_tags(self) -> None:
        one = rule_from_s3({"Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "1"}}})
        assert one.filter.tags == (("a", "1"),)
        tags = [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}]
        several = rule_from_s3({"Status": "Enabled", "Filter": {"And": {"Tags": tags}}})
        assert several.filter.tags == (("a", "1"), ("b", "2"))

    def test_the_order_of_transitions_means_nothing(self) -> None:
        transitions = [{"Days": 90, "StorageClass": "GLACIER"}, {"Days": 30, "StorageClass": "STANDARD_IA"}]
        rule = rule_from_s3({"Status": "Enabled", "Transitions": transitions})
        assert rule == rule_from_s3({"Status": "Enabled", "Transitions": transitions[::-1]})
        assert [entry.days for entry in rule.transitions] == [30, 90]

    def test_dates_are_days(self) -> None:
        moment = datetime(2027, 1, 31, tzinfo=UTC)
        raw = {
            "ID": "r",
            "Status": "Disabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Date": moment},
            "Transitions": [{"Date": moment, "StorageClass": "GLACIER"}],
        }
        rule = rule_from_s3(raw)
        assert (rule.enabled, rule.expiration_day, rule.transitions[0].day) == (False, *[date(2027, 1, 31)] * 2)
        assert rule_to_s3(rule) == raw

    def test_everything_a_rule_can_say(self) -> None:
        raw = {
            "ID": "r",
            "Status": "Enabled",
            "Filter": {
                "And": {
                    "Prefix": "data/",
                    "ObjectSizeGreaterThan": 1,
                    "ObjectSizeLessThan": 9,
                    "Tags": [{"Key": "a", "Value": "1"}],
                }
            },
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
            "NoncurrentVersionTransitions": [
                {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2, "StorageClass": "GLACIER"}
            ],
            "Expiration": {"Days": 365},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 60, "NewerNoncurrentVersions": 3},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        }
        rule = rule_from_s3(raw)
        assert rule_to_s3(rule) == raw
        assert rule.as_json() == {
            "id": "r",
            "enabled": True,
            "prefix": "data/",
            "tags": {"a": "1"},
            "object_size_greater_than": 1,
            "object_size_less_than": 9,
            "transitions": [{"storage_class": "STANDARD_IA", "days": 30}],
            "noncurrent_version_transitions": [
                {"storage_class": "GLACIER", "days": 30, "newer_noncurrent_versions": 2}
            ],
            "expiration_days": 365,
            "noncurrent_version_expiration_days": 60,
            "newer_noncurrent_versions": 3,
            "abort_incomplete_multipart_upload_days": 7,
        }

    def test_dates_in_the_words_of_the_options(self) -> None:
        rule = LifecycleRule(
            id="r", transitions=(Transition("GLACIER", day=date(2027, 1, 1)),), expiration_day=date(2027, 2, 1)
        )
        assert rule.as_json() == {
            "id": "r",
            "enabled": True,
            "prefix": "",
            "transitions": [{"storage_class": "GLACIER", "date": "2027-01-01"}],
            "expiration_date": "2027-02-01",
        }

    def test_one_condition_stands_alone_as_S3_wants_it(self) -> None:
        def filter_of(**conditions: Any) -> Any:
            return rule_to_s3(LifecycleRule(id="r", abort_days=1, filter=RuleFilter(**conditions)))["Filter"]

        assert filter_of() == {"Prefix": ""}
        assert filter_of(prefix="a/") == {"Prefix": "a/"}
        assert filter_of(tags=(("k", "v"),)) == {"Tag": {"Key": "k", "Value": "v"}}
        assert filter_of(size_less_than=5) == {"ObjectSizeLessThan": 5}
        assert filter_of(size_greater_than=0) == {"ObjectSizeGreaterThan": 0}
        assert "And" in filter_of(tags=(("k", "v"), ("l", "w")))

    def test_a_delete_marker_that_is_kept_is_left_as_others_wrote_it(self) -> None:
        raw = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": False}}
        assert rule_to_s3(rule_from_s3(raw)) == raw

    @given(
        rule=st.builds(
            LifecycleRule,
            id=st.text(min_size=1, max_size=10),
            enabled=st.booleans(),
            filter=st.builds(
                RuleFilter,
                prefix=st.sampled_from(["", "data/", "x"]),
                tags=st.dictionaries(st.sampled_from("abc"), st.text(max_size=2)).map(
                    lambda tags: tuple(sorted(tags.items()))
                ),
                size_greater_than=st.none() | st.integers(0, 10),
                size_less_than=st.none() | st.integers(0, 10),
            ),
            expiration_days=st.none() | st.integers(1, 10),
            expiration_day=st.none() | st.dates(),
            expired_object_delete_marker=st.none() | st.booleans(),
            noncurrent_expiration_days=st.none() | st.integers(1, 10),
            newer_noncurrent_versions=st.none() | st.integers(1, 10),
            abort_days=st.none() | st.integers(1, 10),
        )
    )
    def test_what_is_written_is_what_is_read(self, rule: LifecycleRule) -> None:
        assert rule_from_s3(rule_to_s3(rule)) == rule


class TestPlan:
    def test_ours_are_added_and_others_stay(self) -> None:
        plan = plan_lifecycle([OTHER], [ABORT])
        assert (plan.before, plan.after, plan.changed) == ((OTHER,), (OTHER, ABORT), True)

    def test_ours_are_replaced_where_they_stand(self) -> None:
        newer = replace(ABORT, abort_days=7)
        assert plan_lifecycle([ABORT, OTHER], [newer]).after == (newer, OTHER)

    def test_nothing_changes_where_all_is_as_wanted(self) -> None:
        assert not plan_lifecycle([OTHER, ABORT], [ABORT]).changed
        assert not plan_lifecycle([OTHER, ABORT], [ABORT, OTHER], purge=True).changed

    def test_purge_keeps_only_what_is_named(self) -> None:
        assert plan_lifecycle([OTHER, ABORT], [ABORT], purge=True).after == (ABORT,)
        assert plan_lifecycle([OTHER], [], purge=True).after == ()
        assert not plan_lifecycle([], [], purge=True).changed

    def test_rules_without_an_id_are_others(self) -> None:
        nameless = [replace(OTHER, id=""), replace(EXPIRE, id="")]
        assert plan_lifecycle(nameless, [ABORT]).after == (*nameless, ABORT)

    def test_absent_removes_by_id_alone(self) -> None:
        plan = plan_lifecycle([OTHER, ABORT], [LifecycleRule(id="abort")], state="absent")
        assert (plan.after, plan.changed) == ((OTHER,), True)
        assert not plan_lifecycle([OTHER], [LifecycleRule(id="abort")], state="absent").changed

    def test_absent_and_purge_contradict_each_other(self) -> None:
        with pytest.raises(UsageError, match="state=present with purge=true to keep only those named"):
            plan_lifecycle([], [ABORT], state="absent", purge=True)

    @given(
        current=st.lists(st.sampled_from("abcd"), unique=True),
        wanted=st.lists(st.sampled_from("cdef"), unique=True),
        purge=st.booleans(),
    )
    def test_a_second_run_never_changes_anything(self, current: list[str], wanted: list[str], purge: bool) -> None:
        rules = [LifecycleRule(id=name, abort_days=1) for name in wanted]
        first = plan_lifecycle([LifecycleRule(id=name, abort_days=9) for name in current], rules, purge=purge)
        assert not plan_lifecycle(first.after, rules, purge=purge).changed
        assert set(rules) <= set(first.after)
        foreign = {name for name in current if name not in wanted}
        assert {rule.id for rule in first.after} == set(wanted) | (set() if purge else foreign)


class TestWarnings:
    @pytest.mark.parametrize(
        ("prefix", "repository", "warned"),
        [
            ("", None, True),
            ("data/", None, True),
            ("zfs-backups/data/nas1/", None, True),
            ("zfs-backups/manifests", None, True),
            ("logs/", None, False),
            ("metadata/", None, False),
            ("", "zfs-backups/", True),
            ("zfs", "zfs-backups/", True),
            ("zfs-backups/", "zfs-backups/", True),
            ("zfs-backups/data/nas1/", "zfs-backups/", True),
            ("zfs-backups/zrb.json", "zfs-backups/", True),
            ("data/", "zfs-backups/", False),
            ("zfs-backups/reports/", "zfs-backups/", False),
            ("data/", "", True),
            ("logs/", "", False),
        ],
    )
    def test_expiry_by_age_where_backups_are(self, prefix: str, repository: str | None, warned: bool) -> None:
        rule = replace(EXPIRE, filter=RuleFilter(prefix=prefix))
        warnings = plan_lifecycle([], [rule], repository_prefix=repository).warnings
        assert bool(warnings) is warned
        for warning in warnings:
            assert "Rule expire can delete backups by their age. Expiry by age is not retention" in warning
            assert "it keeps deleting when backups have stopped" in warning

    def test_a_day_of_expiry_is_warned_of_too(self) -> None:
        rule = LifecycleRule(id="r", expiration_day=date(2027, 1, 1))
        assert "can delete backups" in plan_lifecycle([], [rule]).warnings[0]

    def test_rules_of_others_are_warned_of_as_well(self) -> None:
        (warning,) = plan_lifecycle([EXPIRE], [ABORT]).warnings
        assert warning.startswith("Rule expire (not one of those named here) can delete backups")

    def test_what_does_not_happen_is_not_warned_of(self) -> None:
        off = replace(EXPIRE, enabled=False)
        tagged = replace(EXPIRE, id="tagged", filter=RuleFilter(tags=(("a", "b"),)))
        assert plan_lifecycle([], [off, tagged, ABORT]).warnings == ()
        assert plan_lifecycle([EXPIRE], [EXPIRE], state="absent").warnings == ()

    @pytest.mark.parametrize(
        ("prefix", "storage_class", "warned"),
        [
            ("", "DEEP_ARCHIVE", True),
            ("zfs/manifests/", "GLACIER", True),
            ("zfs/data/", "DEEP_ARCHIVE", False),
            ("", "STANDARD_IA", False),
        ],
    )
    def test_manifests_in_an_archive(self, prefix: str, storage_class: str, warned: bool) -> None:
        transitions = (Transition(storage_class, days=30),)
        rule = LifecycleRule(id="r", filter=RuleFilter(prefix=prefix), transitions=transitions)
        for repository in (None, "zfs/"):
            warnings = plan_lifecycle([], [rule], repository_prefix=repository).warnings
            assert bool(warnings) is warned
            assert all(f"can move manifests to {storage_class}" in warning for warning in warnings)


def transitions(*steps: tuple[str, int]) -> tuple[Transition, ...]:
    return tuple(Transition(storage_class, days=days) for storage_class, days in steps)


class TestChecks:
    @pytest.mark.parametrize(
        "rule",
        [
            ABORT,
            EXPIRE,
            LifecycleRule(id="r", expired_object_delete_marker=True),
            LifecycleRule(id="r" * 255, noncurrent_expiration_days=1, newer_noncurrent_versions=1),
            LifecycleRule(id="r", transitions=transitions(("GLACIER_IR", 0))),
            LifecycleRule(
                id="r",
                transitions=transitions(("STANDARD_IA", 30), ("GLACIER", 60), ("DEEP_ARCHIVE", 61)),
                expiration_days=62,
            ),
            LifecycleRule(id="r", transitions=transitions(("A_CLASS_OF_SOMEBODY", 1), ("GLACIER", 2))),
            LifecycleRule(
                id="r", transitions=(Transition("GLACIER", day=date(2027, 1, 1)),), expiration_day=date(2028, 1, 1)
            ),
            LifecycleRule(
                id="r",
                transitions=(
                    Transition("GLACIER", day=date(2027, 1, 1)),
                    Transition("DEEP_ARCHIVE", day=date(2027, 6, 1)),
                ),
            ),
            LifecycleRule(
                id="r", noncurrent_transitions=(NoncurrentTransition("GLACIER", 1),), noncurrent_expiration_days=2
            ),
        ],
    )
    def test_good_rules(self, rule: LifecycleRule) -> None:
        check_rules([rule])

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            (LifecycleRule(id="r"), "Rule r does nothing"),
            (LifecycleRule(id="r", expired_object_delete_marker=False), "does nothing"),
            (LifecycleRule(id="", abort_days=1), "has 0 characters"),
            (LifecycleRule(id="r" * 256, abort_days=1), "has 256 characters, not 1 to 255"),
            (LifecycleRule(id="r", abort_days=0), "abort_incomplete_multipart_upload_days 0; 1 is the least"),
            (LifecycleRule(id="r", expiration_days=0), "expiration_days 0"),
            (LifecycleRule(id="r", noncurrent_expiration_days=0), "noncurrent_version_expiration_days 0"),
            (LifecycleRule(id="r", abort_days=1, newer_noncurrent_versions=1), "without noncurrent_version_expiration"),
            (LifecycleRule(id="r", transitions=transitions(("GLACIER", -1))), "days of a transition -1"),
            (LifecycleRule(id="r", transitions=(Transition("GLACIER"),)), "either days or date"),
            (LifecycleRule(id="r", transitions=transitions(("STANDARD_IA", 29))), "after 29 days; S3 wants 30"),
            (
                LifecycleRule(id="r", noncurrent_transitions=(NoncurrentTransition("ONEZONE_IA", 1),)),
                "to ONEZONE_IA after 1 days",
            ),
            (
                LifecycleRule(id="r", transitions=transitions(("GLACIER", 1), ("GLACIER", 2))),
                "two transitions to GLACIER",
            ),
            (
                LifecycleRule(id="r", transitions=transitions(("GLACIER", 30), ("DEEP_ARCHIVE", 30))),
                "at the same age of 30 days",
            ),
            (
                LifecycleRule(id="r", transitions=transitions(("DEEP_ARCHIVE", 1), ("GLACIER", 90))),
                "from DEEP_ARCHIVE back to GLACIER",
            ),
            (
                LifecycleRule(id="r", transitions=transitions(("STANDARD_IA", 30), ("GLACIER", 59))),
                "after 29 days; they have to stay there for 30",
            ),
            (
                LifecycleRule(id="r", transitions=transitions(("GLACIER", 90)), expiration_days=90),
                "before they go to GLACIER",
            ),
            (
                LifecycleRule(
                    id="r", noncurrent_transitions=(NoncurrentTransition("GLACIER", 9),), noncurrent_expiration_days=9
                ),
                "deletes noncurrent versions after 9 days",
            ),
            (LifecycleRule(id="r", expiration_days=1, expiration_day=date(2027, 1, 1)), "more than one of"),
            (LifecycleRule(id="r", expiration_days=1, expired_object_delete_marker=True), "more than one of"),
            (
                LifecycleRule(id="r", transitions=transitions(("GLACIER", 1)), expiration_day=date(2027, 1, 1)),
                "mixes days and dates",
            ),
            (
                LifecycleRule(id="r", abort_days=1, filter=RuleFilter(size_greater_than=5, size_less_than=5)),
                "for no object at all",
            ),
            (LifecycleRule(id="r", abort_days=1, filter=RuleFilter(tags=(("a", "b"),))), "aborts uploads by tags"),
            (
                LifecycleRule(id="r", expired_object_delete_marker=True, filter=RuleFilter(tags=(("a", "b"),))),
                "delete markers by tags",
            ),
        ],
    )
    def test_what_S3_would_refuse_is_refused_by_name(self, rule: LifecycleRule, words: str) -> None:
        with pytest.raises(UsageError) as caught:
            check_rules([rule])
        assert words in caught.value.explain()
        assert "nothing was changed" in caught.value.explain()

    def test_ids_are_unique(self) -> None:
        with pytest.raises(UsageError, match="Rule abort is there twice"):
            check_rules([ABORT, EXPIRE, replace(ABORT, abort_days=1)])

    def test_there_are_at_most_a_thousand(self) -> None:
        rules = [LifecycleRule(id=str(number), abort_days=1) for number in range(1001)]
        check_rules(rules[:1000])
        with pytest.raises(UsageError, match="1001 rules"):
            check_rules(rules)

    def test_an_id_alone(self) -> None:
        check_rule_id("abort")
        with pytest.raises(UsageError, match="rule id ''"):
            check_rule_id("")
