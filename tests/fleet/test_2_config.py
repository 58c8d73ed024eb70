# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role config on a machine that has the runtime."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from zrb.seal.age_keys import new_identity
from zrb.seal.signing import check_signer

from tests.fleet.fleet import HOST, Fleet

SECRET = "wJalrXUtnFEMI/CANARY/bPxRfiCYSECRET"
RECIPIENTS = [new_identity("hybrid")[1] for _ in range(2)]
IDENTITY = new_identity("hybrid")[0]


def settings(**more: Any) -> dict[str, Any]:
    return {
        "age_recipients": RECIPIENTS,
        "local": {"path": "/srv/repository"},
        "tasks": [{"name": "home", "pool": "tank", "dataset": "home"}],
        **more,
    }


def variables(**more: Any) -> dict[str, Any]:
    credentials = {"access_key": "AKIACANARY", "secret_key": SECRET}
    return {"config_settings": settings(), "config_credentials": credentials, **more}


def signer(fleet: Fleet) -> str:
    """The public key that the controller keeps."""
    kept = yaml.safe_load((fleet.controller / f"host_vars/{HOST}/zrb_signer.yml").read_text())
    return str(kept["zrb_signer"])


@pytest.fixture(scope="module", autouse=True)
def _pool(fleet: Fleet) -> None:
    """A pool with two datasets, and a directory for the repository."""
    fleet.said("truncate --size 256M /var/tmp/tank && zpool create tank /var/tmp/tank")
    fleet.said("zfs create tank/home && zfs create tank/other && mkdir /srv/repository")
    fleet.said("echo first >/tank/home/file")


def test_a_private_age_key_is_refused(fleet: Fleet) -> None:
    played = fleet.role("config", variables(config_settings=settings(age_public_key=str(IDENTITY))))
    assert played.failed == 1
    assert not fleet.does("ls /etc/zrb/config.yaml")
    assert str(IDENTITY) not in played.output.partition("variables")[2]


def test_a_configuration_that_zrb_refuses_does_not_land(fleet: Fleet) -> None:
    wrong = settings(tasks=[{"name": "home", "pool": "tank", "dataset": "no-such-dataset"}])
    played = fleet.role("config", variables(config_settings=wrong))
    assert played.failed == 1
    assert "no-such-dataset" in played.output
    assert not fleet.does("ls /etc/zrb/config.yaml")


def test_configuration_credentials_and_key_are_there_and_private(fleet: Fleet) -> None:
    played = fleet.role("config", variables())
    assert played.ok, played.output
    document = yaml.safe_load(fleet.said("cat /etc/zrb/config.yaml"))
    assert document == {
        **{"host": HOST, "base_dir": "/var/lib/zrb", "signing_key": "/etc/zrb/signing.key"},
        **settings(),
    }
    private = "/etc/zrb/config.yaml /etc/zrb/credentials /etc/zrb/signing.key"
    assert fleet.said(f"stat --format='%a %U' {private}").splitlines() == ["600 root"] * 3
    assert f"aws_secret_access_key = {SECRET}" in fleet.said("cat /etc/zrb/credentials")
    assert SECRET not in played.output
    assert fleet.does("zrb validate-config --offline")


def test_the_public_key_is_kept_on_the_controller(fleet: Fleet) -> None:
    public = signer(fleet)
    check_signer(public)
    assert f"signs as {public}" in fleet.said("zrb validate-config --offline")


def test_a_second_run_and_a_check_change_nothing(fleet: Fleet) -> None:
    before = fleet.said("sha256sum /etc/zrb/*; stat --format='%n %a %u %Z' /etc/zrb/*")
    played = fleet.role("config", variables())
    assert (played.ok, played.changes) == (True, ()), played.output
    changing = variables(config_settings=settings(workers=2))
    played = fleet.role("config", changing, check=True)
    assert played.ok, played.output
    assert played.changes == ("zrb.fleet.config : Write the configuration once zrb has found it right",)
    assert fleet.said("sha256sum /etc/zrb/*; stat --format='%n %a %u %Z' /etc/zrb/*") == before


def test_a_private_age_key_on_the_host_is_told(fleet: Fleet) -> None:
    fleet.machine.shell("cat >/etc/zrb/forgotten.key", input=f"{IDENTITY}\n".encode())
    try:
        played = fleet.role("config", variables())
        assert played.failed == 1
        assert "/etc/zrb/forgotten.key" in played.output
        assert str(IDENTITY) not in played.output
    finally:
        fleet.said("rm /etc/zrb/forgotten.key")


def test_absent_leaves_no_secret_behind(fleet: Fleet) -> None:
    """And present makes everything anew, with another key."""
    before = signer(fleet)
    assert fleet.role("config", variables(config_state="absent")).ok
    assert fleet.said("find /etc/zrb -type f") == ""
    assert fleet.role("config", variables(config_state="absent")).changes == ()
    assert fleet.role("config", variables()).ok
    assert signer(fleet) != before
