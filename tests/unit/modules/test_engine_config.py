# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module parameters become the engine's configuration: the same one that a file would give, or the same complaint."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from plugins.module_utils._ansible.argument_spec import ArgumentSpec
from plugins.module_utils._ansible.arguments import BACKUP, BACKUP_INFO, RESTORE, SNAPSHOT
from plugins.module_utils._ansible.engine_config import config_from, dataset_task, snapshot_config_from, task_from
from plugins.module_utils._ansible.times import parse_age, parse_moment
from plugins.module_utils._engine.errors import ConfigError, NoSuchTask, UsageError
from plugins.module_utils._engine.run.keys import write_age_key, write_signing_key

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def params(spec: Any, **given: Any) -> dict[str, Any]:
    """What a module would find in ``params``."""
    return {name: option.get("default") for name, option in spec.options.items()} | {"host": "nas1"} | given


@pytest.fixture
def recipient(tmp_path: Path) -> str:
    return str(write_age_key(tmp_path / "age.key").public)


@pytest.fixture
def signer(tmp_path: Path) -> str:
    return str(write_signing_key(tmp_path / "signing.key").public)


@pytest.fixture
def backup(recipient: str) -> dict[str, Any]:
    return {
        "dataset": "tank/home/My files",
        "recipients": [recipient],
        "signing_key": "/etc/zrb/signing.key",
        "level": 0,
    }


def test_options_say_all_that_a_file_says(backup: dict[str, Any], recipient: str, signer: str) -> None:
    given = params(
        BACKUP,
        **backup,
        bucket="my-bucket",
        prefix="nas",
        region="eu-central-1",
        endpoint_url="https://s3.example.org",
        aws_ca_bundle="/etc/ssl/own.pem",
        expected_bucket_owner="123456789012",
        checksums="off",
        trusted_signers=[signer],
        storage_classes=["DEEP_ARCHIVE", "STANDARD_IA"],
        manifest_storage_class="STANDARD_IA",
        part_size="1GiB",
        chunk_size="16MiB",
        memory_limit="1GiB",
        workers=3,
        bandwidth_limit="10MiB",
        recursive=True,
        exclude=["*/cache"],
        snapshot_prefix="weekly",
        raw="never",
        take_snapshot=False,
        keep_snapshots="3",
        access_key="id",
        secret_key="secret",
        validate_certs=False,
    )
    config = config_from(given)
    s3, limits = config.s3, config.limits
    assert s3 is not None
    assert (s3.bucket, s3.prefix, s3.region, s3.endpoint) == (
        "my-bucket",
        "nas/",
        "eu-central-1",
        "https://s3.example.org",
    )
    assert (s3.ca_bundle, s3.expected_bucket_owner, s3.checksums) == ("/etc/ssl/own.pem", "123456789012", "off")
    assert (s3.storage_class.manifest, s3.storage_class.backup_data) == ("STANDARD_IA", ("DEEP_ARCHIVE", "STANDARD_IA"))
    assert s3.validate_certs is False
    assert s3.credentials is not None
    assert (s3.credentials.access_key, s3.credentials.secret_key) == ("id", "secret")
    assert (limits.part_size, limits.chunk_size, limits.memory_limit) == (2**30, 16 * 2**20, 2**30)
    assert (limits.workers, limits.bandwidth_limit) == (3, 10 * 2**20)
    assert (config.host, config.recipients, config.trusted_signers) == ("nas1", (recipient,), (signer,))
    assert config.base_dir == PurePosixPath("/var/lib/zrb")

    task = task_from(given, config)
    assert task.dataset_name == "tank/home/My files"
    assert (task.recursive, task.exclude, task.snapshot_prefix, task.raw) == (True, ("*/cache",), "weekly", "never")
    assert (task.take_snapshot, config.keep_snapshots) == (False, 3)


def test_what_is_not_given_is_left_to_the_engine(backup: dict[str, Any]) -> None:
    config = config_from(params(BACKUP, **backup, repository="/mnt/usb"))
    assert config.local is not None
    assert config.local.path == PurePosixPath("/mnt/usb")
    assert (config.limits.part_size, config.limits.workers) == (0, 4)
    assert task_from(params(BACKUP, **backup), config).snapshot_prefix == "zrb"


def test_reading_needs_no_recipient() -> None:
    assert config_from(params(BACKUP_INFO, repository="/mnt/usb")).recipients == ()
    assert config_from(params(RESTORE, repository="/mnt/usb")).tasks == ()


@pytest.mark.parametrize(
    ("changes", "option", "message"),
    [
        ({"repository": "mnt/usb"}, "repository", "The option repository "),
        ({"recipients": ["age1x"]}, "recipients", "The option recipients "),
        ({"recipients": []}, "", "The set of options names no recipient"),
        ({"part_size": "1 parsec"}, "part_size", "The option part_size "),
        ({"workers": 0}, "workers", "The option workers "),
        ({"host": "nas 1"}, "host", "The option host cannot be 'nas 1'"),
        ({"dataset": "tank/../etc"}, "dataset", "The option dataset "),
        ({"dataset": "/tank"}, "dataset", "The option dataset "),
        ({"keep_snapshots": "-1"}, "keep_snapshots", "The option keep_snapshots "),
        ({"snapshot_prefix": "a@b"}, "snapshot_prefix", "The option snapshot_prefix cannot be 'a@b'"),
        ({"repository": None, "bucket": "a/b"}, "bucket", "The option bucket cannot be 'a/b'"),
        ({"repository": None, "bucket": "abc", "endpoint_url": "nonsense"}, "endpoint_url", "The option endpoint_url "),
        (
            {"repository": None, "bucket": "abc", "storage_classes": ["COLD"]},
            "storage_classes",
            "The option storage_classes ",
        ),
    ],
)
def test_complaints_name_the_option(backup: dict[str, Any], changes: dict[str, Any], option: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config_from(params(BACKUP, **({"repository": "/mnt/usb"} | backup | changes)))
    assert raised.value.explain().startswith(message)
    assert raised.value.subject == option
    assert "options:1" not in raised.value.explain()


@pytest.fixture
def config_file(tmp_path: Path, recipient: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(
        f"base_dir: {tmp_path}\nhost: nas2\nage_recipients: [{recipient}]\n"
        "s3: {enabled: true, bucket: of-the-file, region: eu-west-1, prefix: nas/}\n"
        "tasks: [{name: home, pool: tank, dataset: home}]\n"
    )
    path.chmod(0o600)
    return path


def test_a_file_can_be_met_by_credentials_and_host(config_file: Path, signer: str) -> None:
    given = params(
        RESTORE,
        config=str(config_file),
        trusted_signers=[signer],
        region="eu-central-1",
        access_key="id",
        secret_key="secret",
        session_token="token",
    )
    config = config_from(given)
    assert config.s3 is not None
    assert (config.s3.bucket, config.s3.region, config.s3.prefix) == ("of-the-file", "eu-central-1", "nas/")
    assert config.s3.credentials is not None
    assert config.s3.credentials.session_token == "token"
    assert config.host == "nas1"
    assert config.trusted_signers == (signer,)
    assert config_from(params(RESTORE, config=str(config_file), host=None)).host == "nas2"


def test_limits_of_a_file_can_be_overridden_each_by_itself(config_file: Path) -> None:
    with config_file.open("a") as file:
        file.write("part_size: 64MiB\nchunk_size: 16MiB\nmemory_limit: 256MiB\n")
        file.write("workers: 2\nbandwidth_limit: 1MiB\nproof: false\n")
    of_the_file = config_from(params(RESTORE, config=str(config_file))).limits
    assert (of_the_file.part_size, of_the_file.chunk_size, of_the_file.workers) == (64 * 2**20, 16 * 2**20, 2)
    assert not of_the_file.proof
    for option, text, value in (("workers", 8, 8), ("memory_limit", "1GiB", 2**30), ("bandwidth_limit", "0", 0)):
        limits = config_from(params(RESTORE, config=str(config_file), **{option: text})).limits
        assert limits == replace(of_the_file, **{option: value})
    with pytest.raises(ConfigError, match="memory_limit"):
        config_from(params(RESTORE, config=str(config_file), memory_limit="24MiB"))


def test_a_file_is_read_as_the_command_reads_it(config_file: Path) -> None:
    given = params(BACKUP, config=str(config_file), task="work")
    with pytest.raises(NoSuchTask, match="home"):
        task_from(given, config_from(given))
    config_file.write_text("colour: red\n")
    with pytest.raises(ConfigError) as raised:
        config_from(given)
    assert f"{config_file}:1: `colour`" in raised.value.problem


def test_a_snapshot_needs_no_repository(config_file: Path) -> None:
    given = params(SNAPSHOT, dataset="tank", level=0)
    assert task_from(given, snapshot_config_from(given)).dataset_name == "tank"
    given = params(SNAPSHOT, config=str(config_file), task="home", level=0)
    assert task_from(given, snapshot_config_from(given)).dataset_name == "tank/home"
    assert dataset_task("tank/a/b").dataset_name == "tank/a/b"


def test_specifications_cannot_say_an_option_twice() -> None:
    with pytest.raises(ValueError, match="config, level"):
        SNAPSHOT + ArgumentSpec(options={"level": {}, "config": {}})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("20h", 72000), ("1d", 86400), ("2 w", 1209600)]
)
def test_ages(text: str, seconds: int) -> None:
    assert parse_age(text, option="x") == timedelta(seconds=seconds)
    assert parse_moment(text, option="x", now=NOW) == NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "20", "h", "-1d", "1.5h", "1y", "1d2h", "1d\n"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_age(text, option="unless_newer_than")
    assert "unless_newer_than" in raised.value.problem and repr(text) in raised.value.problem
    assert "20h" in raised.value.next_step


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00Z", NOW),
        ("2026-01-31T13:00+01:00", NOW),
        ("2026-01-31 12:00:00", NOW),
        ("2026-01-31", NOW.replace(hour=0)),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text, option="at") == moment


def test_an_age_is_no_moment_of_its_own() -> None:
    with pytest.raises(UsageError, match=r"option at .*'7d'"):
        parse_moment("7d", option="at")
