# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page "Deploy a fleet", followed to a backup in a bucket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import yaml

from tests.docs.page import blocks_of, commands_of
from tests.docs.stage import AGE_KEY, ROOT, SECOND_AGE_KEY
from tests.fleet.fleet import Fleet
from tests.fleet.test_2_config import RECIPIENTS, SECRET
from tests.vm.testbed.s3_server import s3_server_for_machines

PAGE = blocks_of(ROOT / "docs/fleet.md")
CALLS = [command.text for block in PAGE if block.language == "console" for command in commands_of(block)]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server with the bucket of the page, as the machine sees it."""
    with s3_server_for_machines() as url:
        here = url.replace("10.0.2.2", "127.0.0.1")
        keys = {"aws_access_key_id": "AKIACANARY", "aws_secret_access_key": SECRET}
        boto3.client("s3", endpoint_url=here, region_name="us-east-1", **keys).create_bucket(Bucket="my-backup-bucket")
        yield url


@pytest.fixture(scope="module")
def inventory(fleet: Fleet, endpoint: str) -> Path:
    """The one of the page, with the machine that there is."""
    places = {AGE_KEY: RECIPIENTS[0], SECOND_AGE_KEY: RECIPIENTS[1], "https://s3.example.net": endpoint}
    places["/srv/wheelhouse"] = str(fleet.wheels)
    variables = {"vault_access_key": "AKIACANARY", "vault_secret_key": SECRET}
    for block in PAGE:
        if block.path and block.path.endswith("group_vars/nas.yml"):
            text = block.text
            for said, meant in places.items():
                text = text.replace(said, meant)
            variables |= yaml.safe_load(text)
    directory = fleet.controller / "inventory"
    (directory / "group_vars").mkdir(parents=True)
    shutil.copy(fleet.controller / "inventory.yml", directory / "hosts.yml")
    (directory / "group_vars/nas.yml").write_text(yaml.safe_dump(variables))
    return directory


def test_the_page_says_what_is_run_here() -> None:
    deploy = "ansible-playbook -i inventory zrb.fleet.deploy"
    assert [call for call in CALLS if "zrb" in call] == [
        *(f"{deploy} --check", deploy),
        "runuser --user=zrb -- zrb backup --level 0",
    ]


def test_deploy_leads_to_a_backup_in_the_bucket(fleet: Fleet, inventory: Path) -> None:
    before = fleet.said("sha256sum /etc/zrb/config.yaml")
    played = fleet.playbook("zrb.fleet.deploy", {}, check=True, inventory="inventory")
    assert played.ok, played.output
    assert fleet.said("sha256sum /etc/zrb/config.yaml") == before
    played = fleet.playbook("zrb.fleet.deploy", {}, inventory="inventory")
    assert played.ok, played.output
    assert SECRET not in played.output
    assert (inventory / "host_vars/nas1/zrb_signer.yml").exists()
    assert "tank/home: committed" in fleet.said("runuser --user=zrb -- zrb backup --level 0")
    assert "s3://my-backup-bucket/nas/" in fleet.said("zrb validate-config || test $? -eq 4")


def test_a_second_deployment_changes_nothing(fleet: Fleet, inventory: Path) -> None:
    played = fleet.playbook("zrb.fleet.deploy", {}, inventory="inventory")
    assert (played.ok, played.changes) == (True, ()), played.output
