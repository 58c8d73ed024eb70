# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb validate-config`` reads what a real bucket is set to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.nas_fixtures import Nas
from tests.integration.s3_fixtures import LocalBucket

from .conftest import command_line

pytestmark = [pytest.mark.zfs, pytest.mark.s3]


def test_the_settings_of_a_bucket(make_nas: Callable[..., Nas], bucket: LocalBucket) -> None:
    zrb = command_line(make_nas({"s3": bucket.settings}))

    def checks() -> dict[str, Any]:
        return {check["name"]: check for check in zrb("validate-config", "--json").document["checks"]}

    before = checks()
    assert before["clock"]["status"] == "ok"
    assert "none of 0 rules" in before["lifecycle"]["message"]
    assert before["versioning"]["status"] == "warning"
    assert before["object_lock"]["message"].startswith("none")
    assert before["tls"]["status"] == "warning"
    client = bucket.client()
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]})
    after = checks()
    assert after["versioning"]["status"] == "ok"
    assert after["lifecycle"]["status"] == "warning"
    assert "Rule old" in after["lifecycle"]["message"]
    client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Suspended"})


def test_the_object_lock_of_a_bucket(make_nas: Callable[..., Nas], bucket: LocalBucket) -> None:
    client = bucket.client()
    name = f"{bucket.name}-locked"
    client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    try:
        zrb = command_line(make_nas({"s3": bucket.settings}))
        zrb.edit(s3={"bucket": name, "endpoint": bucket.endpoint})
        for retention, told in (
            ({}, "without a default retention"),
            ({"Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}}}, "COMPLIANCE, 30 days"),
        ):
            configuration = {"ObjectLockEnabled": "Enabled", **retention}
            client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
            found = zrb("validate-config", "--json").document["checks"]
            (check,) = [check for check in found if check["name"] == "object_lock"]
            assert told in check["message"]
    finally:
        client.delete_bucket(Bucket=name)
