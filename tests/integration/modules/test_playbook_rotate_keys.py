# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook rotate_keys: new keys sign and open new backups, and the old ones still prove and open those before."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb.config.key_files import read_identities, read_signing_key
from zrb.run.keys import write_age_key
from zrb.seal.age_keys import public_of

from tests.fixtures.file_tree import change_tree, compare, describe_tree
from tests.integration.modules.conftest import Ansible, Nas
from tests.integration.modules.test_playbook_restore import files_of
from tests.integration.modules.test_playbooks import failed_hosts, play, table

pytestmark = pytest.mark.zfs
HOST = "zrbtest-nas"


@pytest.fixture
def config(nas: Nas, tmp_path: Path) -> Path:
    """The configuration of a host as deploy leaves it, with a classic age key, which lies elsewhere."""
    directory = tmp_path / "etc"
    directory.mkdir()
    key = directory / "signing.key"
    old = write_age_key(nas.directory / "classic.key", kind="classic").public
    changes = {"age_recipients": [old], "signing_key": str(key)}
    document = yaml.safe_load(nas.config.read_text()) | changes
    nas.signing_key.rename(key)
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


@pytest.fixture
def inventory(config: Path, tmp_path: Path) -> Path:
    """That host, and some that keys cannot be rotated on."""
    directory = tmp_path / "inventory"
    kept = directory / "host_vars" / HOST
    kept.mkdir(parents=True)
    (kept / "zrb_signer.yml").write_text(f"zrb_signer: {signer_in(config.parent / 'signing.key')}\n")
    hosts: dict[str, dict[str, Any]] = {
        HOST: {},
        "bare": {"config_path": "/nonexistent/config.yaml"},
        "unknown": {"zrb_signer": "zrbsign1ofanotherhost"},
        "empty-survey": {"zrb_signing_key": "", "zrb_private_keys": ""},
        "homeless": {"config_host_vars": ""},
    }
    common = {
        "config_command": str(Path(sys.executable).with_name("zrb")),
        "config_path": str(config),
        "config_settings": {**yaml.safe_load(config.read_text()), "signing_key": str(config.with_name("signing.key"))},
        "permissions_command": str(Path(sys.executable).with_name("zrb")),
        "permissions_config": str(config),
        "permissions_user": "root",
        "zrb_signing_key": str(config.with_name("signing-2.key")),
        "zrb_private_keys": [str(tmp_path / "usb.key"), str(tmp_path / "safe.key")],
    }
    path = directory / "hosts.yml"
    path.write_text(yaml.safe_dump({"nas": {"hosts": hosts, "vars": common}}))
    return path


def signer_in(key: Path) -> str:
    """The public half of a signing key."""
    return read_signing_key(key).public


def content_of(*places: Path) -> dict[Path, bytes]:
    """All files below ``places``."""
    return {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}


def test_new_keys_take_over_and_old_backups_stay_readable(
    ansible: Ansible, nas: Nas, config: Path, inventory: Path, tmp_path: Path
) -> None:
    backup = {"zrb.fleet.zfs_backup": {"config": str(config), "task": "home", "level": 1}}
    (made,) = ansible.play([backup])
    (first,) = made["backups"]
    before = describe_tree(nas.files)
    change_tree(nas.files, 1)
    old_signer, new_keys = signer_in(config.with_name("signing.key")), [tmp_path / "usb.key", tmp_path / "safe.key"]

    there = content_of(config.parent, inventory.parent)
    checked = play(ansible, "rotate_keys", inventory, "--check", "--limit", HOST, status=0)
    assert table(checked)[1].split() == [HOST, "new", "2", "plan"]
    assert content_of(config.parent, inventory.parent) == there
    assert not [path for path in new_keys if path.exists()]

    log = tmp_path / "log"
    ansible.environment["ANSIBLE_LOG_PATH"] = str(log)
    said = play(ansible, "rotate_keys", inventory, "-vvv", "--diff", status=2)
    assert failed_hosts(said) == ["bare", "empty-survey", "homeless", "unknown"]
    refusals = said[said.index("Fail for each host") :]
    words = {
        "bare": "zrb.fleet.deploy",
        "empty-survey": "zrb_private_keys",
        "homeless": "config_host_vars",
        "unknown": "zrb.fleet.deploy",
    }
    for host, word in words.items():
        assert re.search(rf'"msg": "{host}: .*{word}', refusals), refusals

    new_signer = signer_in(config.with_name("signing-2.key"))
    recipients = [public_of(read_identities(path)[0]) for path in new_keys]
    rows = [line.split() for line in table(said[said.index("PLAY [Report]") :])]
    assert [HOST, new_signer[:32], "2", "ok"] in rows
    assert not config.with_name("signing.key").exists()
    assert [path.stat().st_mode & 0o777 for path in (*new_keys, config.with_name("signing-2.key"))] == [0o600] * 3
    document = yaml.safe_load(config.read_text())
    assert (document["age_recipients"], document["trusted_signers"]) == (recipients, [old_signer])
    assert document["signing_key"] == str(config.with_name("signing-2.key"))
    kept = inventory.parent / "host_vars" / HOST
    assert yaml.safe_load((kept / "zrb_signer.yml").read_text()) == {
        "zrb_signer": new_signer,
        "zrb_former_signers": [old_signer],
    }
    secrets = [
        line for path in (*new_keys, config.with_name("signing-2.key")) for line in path.read_text().splitlines()
    ]
    for secret in (line for line in secrets if not line.startswith("#")):
        assert secret not in said + log.read_text()
        assert not [
            path
            for path, content in content_of(inventory.parent, ansible.directory).items()
            if secret.encode() in content
        ]

    there = content_of(config.parent, inventory.parent, *new_keys)
    again = play(ansible, "rotate_keys", inventory, "--limit", HOST, status=0)
    assert " changed=0 " in again[again.index("PLAY RECAP") :]
    assert content_of(config.parent, inventory.parent, *new_keys) == there

    def restore(name: str, key: Path, **more: Any) -> dict[str, Any]:
        options = {"config": str(config), "dataset": nas.dataset, "private_key": str(key), **more}
        return {"zrb.fleet.zfs_restore": {**options, "target": f"{nas.restore}/{name}"}}

    made, listed, old, newest, shut = ansible.play(
        [
            backup,
            {"zrb.fleet.zfs_backup_info": {"config": str(config)}},
            restore("old", nas.directory / "classic.key", backup_id=first["backup_id"]),
            restore("new", new_keys[1]),
            restore("shut", nas.directory / "classic.key"),
        ]
    )
    (second,) = made["backups"]
    # Another kind of key begins another chain, whatever level was asked for.
    assert (second["level"], second["level_requested"]) == (0, 1)
    assert [entry["signer"] for entry in listed["backups"]] == [old_signer, new_signer]
    assert listed["problems"] == []
    assert (old["restored"]["links"], newest["restored"]["links"]) == ([first["backup_id"]], [second["backup_id"]])
    assert shut["error"] == "WrongIdentity"
    assert compare(before, describe_tree(files_of(f"{nas.restore}/old", tmp_path / "old"))) == []
    assert compare(describe_tree(nas.files), describe_tree(files_of(f"{nas.restore}/new", tmp_path / "new"))) == []
