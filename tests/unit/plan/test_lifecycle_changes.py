# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules: what means the same, what changes, and what is warned of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import UsageError
from zrb.plan.lifecycle_changes import plan_lifecycle
from zrb.plan.lifecycle_xml import rule_from_xml, rule_to_xml
from zrb.values.lifecycle_rule import LifecycleRule


def rule(rule_id: str, **options: Any) -> LifecycleRule:
    return LifecycleRule.of({"id": rule_id, **options})


ABORT = rule("abort", abort_incomplete_multipart_upload_days=14)
EXPIRE = rule("expire", expiration_days=365)
OTHER = rule("other", prefix="logs/", expiration_days=30)


def from_xml(inside: str) -> LifecycleRule:
    return rule_from_xml(f"<Rule><ID>r</ID><Status>Enabled</Status>{inside}</Rule>")


days = st.none() | st.integers(0, 10)
steps = st.fixed_dictionaries(
    {"storage_class": st.sampled_from(["GLACIER", "DEEP_ARCHIVE"]), "days": st.integers(0, 9)}
)
words = st.text("abc<&\"'é ", min_size=1, max_size=4).map(str.strip).filter(bool)


class TestMeaning:
    @pytest.mark.parametrize(
        "inside",
        [
            "<Prefix>data/</Prefix>",
            "<Filter><Prefix>data/</Prefix></Filter>",
            "<Filter><And><Prefix>data/</Prefix></And></Filter>",
        ],
    )
    def test_a_prefix_is_said_in_several_ways(self, inside: str) -> None:
        assert from_xml(inside) == rule("r", prefix="data/")

    @pytest.mark.parametrize(
        "inside",
        [
            "<Prefix/>",
            "<Filter/>",
            "<Filter><Prefix/></Filter>",
            "",
            "<Filter/><Expiration/>",
            "<Filter><And/></Filter>",
        ],
    )
    def test_the_whole_bucket_is_said_in_several_ways(self, inside: str) -> None:
        assert from_xml(inside) == rule("r")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (
                "<Transition><Days>9</Days><StorageClass>A</StorageClass></Transition>"
                "<Transition><Days>3</Days><StorageClass>B</StorageClass></Transition>",
                "<Transition><StorageClass>B</StorageClass><Days>3</Days></Transition>"
                "<Transition><StorageClass>A</StorageClass><Days>9</Days></Transition>",
            ),
            (
                "<Expiration><Date>2027-01-31T00:00:00.000Z</Date></Expiration>",
                "<Expiration><Date>2027-01-31T00:00:00Z</Date></Expiration>",
            ),
            (
                "<Expiration><Days>3</Days><ExpiredObjectDeleteMarker>false</ExpiredObjectDeleteMarker></Expiration>",
                "<Expiration><Days>3</Days></Expiration>",
            ),
            (
                "<Filter><Tag><Key>a</Key><Value>1</Value></Tag></Filter>",
                "<Filter><And><Tag><Key>a</Key><Value>1</Value></Tag></And></Filter>",
            ),
        ],
    )
    def test_forms_that_mean_the_same_are_equal(self, one: str, other: str) -> None:
        assert from_xml(one) == from_xml(other)

    @pytest.mark.parametrize(
        ("options", "inside"),
        [
            ({}, "<Filter><Prefix /></Filter>"),
            ({"prefix": "a/"}, "<Filter><Prefix>a/</Prefix></Filter>"),
            ({"tags": {"k": "v"}}, "<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>"),
            ({"object_size_greater_than": 0}, "<Filter><ObjectSizeGreaterThan>0</ObjectSizeGreaterThan></Filter>"),
            ({"prefix": "a", "tags": {"k": "v"}}, "<Filter><And><Prefix>a</Prefix><Tag>"),
            ({"expired_object_delete_marker": True}, "<ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>"),
            ({"expiration_date": "2027-01-31"}, "<Expiration><Date>2027-01-31T00:00:00Z</Date></Expiration>"),
        ],
    )
    def test_what_S3_is_told(self, options: dict[str, Any], inside: str) -> None:
        assert inside in rule_to_xml(rule("r", **options))

    @given(
        name=words,
        enabled=st.booleans(),
        prefix=st.sampled_from(["", "data/", "x"]),
        tags=st.dictionaries(words, words, max_size=3),
        transitions=st.lists(steps, max_size=3),
        noncurrent_version_transitions=st.lists(steps, max_size=3),
        object_size_greater_than=days,
        object_size_less_than=days,
        expiration_days=days,
        expiration_date=st.none() | st.dates().map(lambda day: day.isoformat()),
        expired_object_delete_marker=st.booleans(),
        noncurrent_version_expiration_days=days,
        newer_noncurrent_versions=days,
        abort_incomplete_multipart_upload_days=days,
    )
    def test_what_is_written_is_what_is_read(self, name: str, **options: Any) -> None:
        ours = rule(name, **options)
        assert rule_from_xml(rule_to_xml(ours)) == ours

    def test_what_nobody_here_knows_is_passed_on(self) -> None:
        inside = "<Filter><Color>blue</Color></Filter><DelMarkerExpiration><Days>3</Days></DelMarkerExpiration>"
        assert inside in rule_to_xml(from_xml(inside))

    def test_a_prefix_of_the_first_version_becomes_a_filter(self) -> None:
        again = rule_to_xml(from_xml("<Prefix>logs/</Prefix><Expiration><Days>3</Days></Expiration>"))
        assert "<Filter><Prefix>logs/</Prefix></Filter>" in again
        assert again.count("<Prefix>") == 1


class TestPlan:
    def test_ours_are_added_and_others_stay(self) -> None:
        plan = plan_lifecycle([OTHER], [ABORT])
        assert (plan.before, plan.after, plan.changed) == ((OTHER,), (OTHER, ABORT), True)

    def test_ours_are_replaced_where_they_stand(self) -> None:
        newer = rule("abort", abort_incomplete_multipart_upload_days=7)
        assert plan_lifecycle([ABORT, OTHER], [newer]).after == (newer, OTHER)

    def test_nothing_changes_where_all_is_as_wanted(self) -> None:
        assert not plan_lifecycle([OTHER, ABORT], [ABORT]).changed
        assert not plan_lifecycle([OTHER, ABORT], [ABORT, OTHER], purge=True).changed

    def test_purge_keeps_only_what_is_named(self) -> None:
        assert plan_lifecycle([OTHER, ABORT], [ABORT], purge=True).after == (ABORT,)
        assert plan_lifecycle([OTHER], [], purge=True).after == ()
        assert not plan_lifecycle([], [], purge=True).changed

    def test_rules_without_an_id_are_others(self) -> None:
        nameless = [rule("", prefix="logs/", expiration_days=30), rule("", expiration_days=365)]
        assert plan_lifecycle(nameless, [ABORT]).after == (*nameless, ABORT)

    def test_absent_removes_by_id_alone(self) -> None:
        plan = plan_lifecycle([OTHER, ABORT], [rule("abort")], state="absent")
        assert (plan.after, plan.changed) == ((OTHER,), True)
        assert not plan_lifecycle([OTHER], [rule("abort")], state="absent").changed

    @pytest.mark.parametrize("ids", [["a", "b", "a"], [""], ["a", ""]])
    @pytest.mark.parametrize("state", ["present", "absent"])
    def test_every_rule_needs_an_id_of_its_own(self, ids: list[str], state: Any) -> None:
        with pytest.raises(UsageError, match="own id"):
            plan_lifecycle([], [rule(name) for name in ids], state=state)

    def test_what_is_as_wanted_stays_in_the_form_of_the_endpoint(self) -> None:
        kept = LifecycleRule.of(ABORT.options, xml="<Rule>its form</Rule>")
        plan = plan_lifecycle([kept, OTHER], [ABORT, EXPIRE])
        assert [found.xml for found in plan.after] == ["<Rule>its form</Rule>", "", ""]

    def test_absent_and_purge_contradict_each_other(self) -> None:
        with pytest.raises(UsageError, match=r"state=absent.* purge=true"):
            plan_lifecycle([], [ABORT], state="absent", purge=True)

    @given(
        current=st.lists(st.sampled_from("abcd"), unique=True),
        wanted=st.lists(st.sampled_from("cdef"), unique=True),
        purge=st.booleans(),
    )
    def test_a_second_run_never_changes_anything(self, current: list[str], wanted: list[str], purge: bool) -> None:
        rules = [rule(name, expiration_days=1) for name in wanted]
        first = plan_lifecycle([rule(name, expiration_days=9) for name in current], rules, purge=purge)
        assert not plan_lifecycle(first.after, rules, purge=purge).changed
        assert all(wanted_rule in first.after for wanted_rule in rules)
        foreign = {name for name in current if name not in wanted}
        assert {found.id for found in first.after} == set(wanted) | (set() if purge else foreign)


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
        expiring = rule("expire", prefix=prefix, expiration_days=365)
        warnings = plan_lifecycle([], [expiring], repository_prefix=repository).warnings
        assert bool(warnings) is warned
        for warning in warnings:
            assert warning.startswith("Rule expire can delete backups")

    def test_a_day_of_expiry_is_warned_of_too(self) -> None:
        dated = rule("r", expiration_date="2027-01-01")
        assert "can delete backups" in plan_lifecycle([], [dated]).warnings[0]

    def test_rules_of_others_are_warned_of_as_well(self) -> None:
        (warning,) = plan_lifecycle([EXPIRE], [ABORT]).warnings
        assert warning.startswith("Rule expire (not one of those named here) can delete backups")

    def test_what_does_not_happen_is_not_warned_of(self) -> None:
        off = rule("off", enabled=False, expiration_days=365)
        tagged = rule("tagged", tags={"a": "b"}, expiration_days=365)
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
        moving = rule("r", prefix=prefix, transitions=[{"storage_class": storage_class, "days": 30}])
        for repository in (None, "zfs/"):
            warnings = plan_lifecycle([], [moving], repository_prefix=repository).warnings
            assert bool(warnings) is warned
            assert all(f"manifests to {storage_class}" in warning for warning in warnings)
