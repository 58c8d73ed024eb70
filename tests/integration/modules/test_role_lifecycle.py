# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook and role lifecycle over a fleet that shares buckets, none of whose hosts can be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.modules.conftest import Ansible
from tests.integration.modules.test_playbooks import failed_hosts
from tests.integration.modules.test_s3_lifecycle import put_foreign, rules_of
from tests.integration.s3_fixtures import ACCESS_KEY, SECRET_KEY, LocalBucket

pytestmark = pytest.mark.s3


@pytest.fixture
def other(bucket: LocalBucket) -> Iterator[LocalBucket]:
    """A second bucket of the same server."""
    name = f"{bucket.name}-other"
    bucket.client().create_bucket(Bucket=name)
    yield LocalBucket(bucket.server, replace(bucket.settings, bucket=name))
    bucket.client().delete_bucket(Bucket=name)


def write_inventory(path: Path, bucket: LocalBucket, other: LocalBucket) -> None:
    def in_bucket(used: LocalBucket, host: str, **more: Any) -> dict[str, Any]:
        s3 = {"bucket": used.name, "endpoint": bucket.endpoint, "prefix": f"{host}/", **more}
        return {"config_settings": {"s3": s3}}

    hosts = {
        "broken": in_bucket(bucket, "broken", bucket="no-such-bucket"),
        "nas1": in_bucket(bucket, "nas1"),
        "nas2": in_bucket(bucket, "nas2"),
        "nas3": {**in_bucket(other, "nas3"), "lifecycle_rules": [{"id": "own", "expiration_days": 1, "prefix": "x/"}]},
        "nas4": {"config_settings": {"local": {"path": "/srv/repository"}}},
        "nas5": in_bucket(bucket, "nas5", bucket="no-such-bucket", enabled=False),
        "nas6": {},
    }
    # Whatever would connect to one of them fails.
    common = {
        "ansible_connection": "ssh",
        "ansible_host": "192.0.2.1",
        "ansible_timeout": 1,
        "lifecycle_credentials": {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY},
    }
    path.write_text(yaml.safe_dump({"nas": {"hosts": hosts, "vars": common}}))


def changed_hosts(said: str) -> list[str]:
    return [line.partition("[")[2].partition("]")[0] for line in said.splitlines() if line.startswith("changed: [")]


def test_each_bucket_has_its_rules_once(
    ansible: Ansible, bucket: LocalBucket, other: LocalBucket, tmp_path: Path
) -> None:
    put_foreign(bucket)
    inventory = tmp_path / "inventory.yml"
    write_inventory(inventory, bucket, other)

    def play(*words: str, status: int = 0, limit: str = "nas:!broken", **variables: str) -> str:
        command = ["zrb.fleet.lifecycle", "--diff", "-v", "--inventory", str(inventory), "--limit", limit, *words]
        extra = ["--extra-vars", json.dumps(variables)]
        said = ansible.run("ansible-playbook", *command, *extra, status=status)
        assert SECRET_KEY not in said
        return said

    def served(said: str) -> list[str]:
        return sorted(host.partition(" ")[0] for host in changed_hosts(said))

    assert served(play("--check")) == ["nas1", "nas3"]
    assert [rule["ID"] for rule in rules_of(bucket)] == ["theirs"]
    said = play(status=2, limit="nas")
    assert (served(said), failed_hosts(said)) == (["nas1", "nas3"], ["broken"])
    abort = "zrb-abort-incomplete-uploads"
    assert sorted(rule["ID"] for rule in rules_of(bucket)) == ["theirs", abort]
    assert [rule["ID"] for rule in rules_of(other)] == ["own"]
    assert served(play()) == []
    # The first of those that are served speaks for the bucket.
    assert served(play(limit="nas2,nas3", lifecycle_state="absent")) == ["nas2", "nas3"]
    assert [rule["ID"] for rule in rules_of(bucket)] == ["theirs"]
    assert rules_of(other) == []
    assert served(play(lifecycle_state="absent")) == []
