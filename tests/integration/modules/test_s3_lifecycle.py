# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``s3_lifecycle`` as a playbook sees it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.modules.conftest import Ansible, Fail
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY, LocalBucket

pytestmark = pytest.mark.s3

MODULE = "zrb.fleet.s3_lifecycle"
ABORT = {"id": "zrb-abort", "abort_incomplete_multipart_upload_days": 14}
FOREIGN = {"ID": "theirs", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 30}}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def connection(bucket: LocalBucket) -> dict[str, Any]:
    return {
        "bucket": bucket.name,
        "endpoint_url": bucket.endpoint,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "wait_timeout": 20,
    }


def put_foreign(bucket: LocalBucket) -> None:
    bucket.client().put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [FOREIGN]})


def rules_of(bucket: LocalBucket) -> list[dict[str, Any]]:
    client = bucket.client()
    try:
        rules: list[dict[str, Any]] = client.get_bucket_lifecycle_configuration(Bucket=bucket.name)["Rules"]
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration"
        return []
    return rules


def test_rules_are_set_once_and_others_are_left_alone(
    ansible: Ansible, bucket: LocalBucket, connection: dict[str, Any]
) -> None:
    put_foreign(bucket)
    rules = [
        ABORT,
        {
            "id": "zrb-archive",
            "prefix": "zfs/data/",
            "transitions": [{"storage_class": "DEEP_ARCHIVE", "days": 90}, {"storage_class": "GLACIER", "days": 30}],
            "noncurrent_version_expiration_days": 60,
        },
    ]
    checked, made, checked_again, made_again = ansible.quad(MODULE, {**connection, "rules": rules})
    assert [result["changed"] for result in (checked, made, checked_again, made_again)] == [True, True, False, False]
    assert checked["rules"] == made["rules"] == made_again["rules"]
    assert [rule["id"] for rule in made["rules"]] == ["theirs", "zrb-abort", "zrb-archive"]
    assert made["rules"][2] == {
        "id": "zrb-archive",
        "enabled": True,
        "prefix": "zfs/data/",
        "transitions": [{"storage_class": "GLACIER", "days": 30}, {"storage_class": "DEEP_ARCHIVE", "days": 90}],
        "noncurrent_version_expiration_days": 60,
    }
    assert [rule["id"] for rule in made["diff"]["before"]["rules"]] == ["theirs"]
    assert made["diff"]["after"]["rules"] == made["rules"]
    assert made_again["diff"]["before"] == made_again["diff"]["after"]
    assert "warnings" not in made
    stored = {rule["ID"]: rule for rule in rules_of(bucket)}
    assert stored["theirs"]["Expiration"] == {"Days": 30}
    assert stored["theirs"]["Filter"] == {"Prefix": "logs/"}
    assert SECRET_KEY not in str([checked, made])


def test_check_mode_writes_nothing(ansible: Ansible, bucket: LocalBucket, connection: dict[str, Any]) -> None:
    (result,) = ansible.play([{MODULE: {**connection, "rules": [ABORT]}, "check_mode": True}])
    assert result["changed"] is True
    assert rules_of(bucket) == []


def test_purge_and_absent_remove(ansible: Ansible, bucket: LocalBucket, connection: dict[str, Any]) -> None:
    put_foreign(bucket)
    purged = ansible.quad(MODULE, {**connection, "rules": [ABORT], "purge": True})
    assert [result["changed"] for result in purged] == [True, True, False, False]
    assert [rule["ID"] for rule in rules_of(bucket)] == ["zrb-abort"]
    removed = ansible.quad(MODULE, {**connection, "rules": [{"id": "zrb-abort"}], "state": "absent"})
    assert [result["changed"] for result in removed] == [True, True, False, False]
    assert removed[1]["rules"] == []
    assert rules_of(bucket) == []


def test_expiry_of_backups_is_warned_of(ansible: Ansible, connection: dict[str, Any]) -> None:
    expire = {"id": "expire", "prefix": "zfs/", "expiration_days": 365}
    with_prefix, elsewhere = ansible.play(
        [
            {MODULE: {**connection, "rules": [expire], "prefix": "zfs"}, "check_mode": True},
            {MODULE: {**connection, "rules": [expire], "prefix": "other/"}, "check_mode": True},
        ]
    )
    (warning,) = with_prefix["warnings"]
    assert warning.startswith("Rule expire can delete backups")
    assert "warnings" not in elsewhere


def test_what_an_endpoint_does_not_keep_is_warned_of(ansible: Ansible, connection: dict[str, Any]) -> None:
    rule = {**ABORT, "noncurrent_version_expiration_days": 30, "newer_noncurrent_versions": 2}
    task = {MODULE: {**connection, "rules": [rule], "wait_timeout": 4}}
    for result in ansible.play([task, task]):
        assert result["changed"] is True
        assert "other rules" in result["warnings"][0] and "zrb-abort" in result["warnings"][0]


def test_switching_off_validation_is_warned_of(ansible: Ansible, connection: dict[str, Any]) -> None:
    (result,) = ansible.play([{MODULE: {**connection, "rules": [ABORT], "validate_certs": False, "wait": False}}])
    assert result["changed"] is True
    assert result["warnings"][0].startswith("validate_certs is false")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rules": [{"id": "r", "expiration_days": 3, "expired_object_delete_marker": True}]}, "nothing was changed"),
        ({"rules": [{**ABORT, "expiration_date": "soon"}]}, "Write dates like 2027-01-31"),
        (
            {"rules": [{**ABORT, "transitions": [{"storage_class": "X"}]}]},
            "one of the following is required: days, date",
        ),
        ({"rules": [ABORT, ABORT]}, "own id"),
        ({"rules": [ABORT], "state": "absent", "purge": True}, "purge=true"),
        ({"rules": [ABORT], "secret_key": None}, "parameters are required together: access_key, secret_key"),
        ({"rules": [ABORT], "profile": "p"}, "mutually exclusive: profile|access_key"),
        ({"rules": [ABORT], "bucket": "zrbtest-none"}, "Create the bucket"),
        ({"rules": [ABORT], "endpoint_url": "no-url"}, "https:// or http://"),
        ({}, "missing required arguments: rules"),
    ],
)
def test_bad_input_is_explained(failure: Fail, connection: dict[str, Any], options: dict[str, Any], words: str) -> None:
    given = {name: value for name, value in {**connection, **options}.items() if value is not None}
    assert words in failure(MODULE, given)["msg"]


def test_errors_of_the_engine_are_told_in_parts(failure: Fail, connection: dict[str, Any]) -> None:
    result = failure(MODULE, {**connection, "rules": [ABORT], "bucket": "zrbtest-none"})
    assert (result["error"], result["exit_code"], result["subject"]) == ("NoSuchRepository", 6, "zrbtest-none")


def test_the_examples_work(
    ansible: Ansible, bucket: LocalBucket, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(ansible.environment["ANSIBLE_COLLECTIONS_PATH"])))
    module = importlib.import_module("ansible_collections.zrb.fleet.plugins.modules.s3_lifecycle")
    examples = yaml.safe_load(module.EXAMPLES)
    results = ansible.play([{MODULE: {**example[MODULE], **connection}} for example in examples])
    assert [result["changed"] for result in results] == [True, True, True, False]
