# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file: what loads, and what each mistake is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.errors import ConfigError, LibraryMissing, NoSuchTask
from zrb.run.config_file import default_config_path, find_tasks, load_config
from zrb.run.config_schema_nodes import MAX_CONFIG_BYTES
from zrb.seal.age import new_identity
from zrb.seal.signing import SigningKey
from zrb.values.config import MIB, Config, Limits, LocalSettings, S3Settings, StorageClasses, Task

AGE = "age1gde050sg4l5pa7g2vvd7ly8lmenf36xxlsx6an388uepxrh6457qk5v69w"
AGE_PRIVATE, OTHER_AGE = new_identity()
SIGNER = SigningKey.generate()
Load = Callable[[str | bytes], Config]

SMALL = f"""\
base_dir: /var/lib/zrb
host: nas1
age_public_key: {AGE}
local:
  path: /mnt/usb/zrb
"""
S3 = SMALL.replace("local:\n  path: /mnt/usb/zrb\n", "s3:\n  bucket: my-backups\n")

WHOLE = f"""\
base_dir: /var/lib/zrb
log_dir: /var/log/zrb
host: nas1
age_public_key: {AGE}
age_recipients: [{OTHER_AGE}, {AGE}]
signing_key: /etc/zrb/signing.key
trusted_signers: [{SIGNER.public}, {SIGNER.public}]
s3:
  enabled: true
  bucket: my-backup-bucket
  region: eu-central-1
  prefix: zfs-backups/
  endpoint: "https://s3.example.com:9000/"
  ca_bundle: /etc/ssl/own-ca.pem
  expected_bucket_owner: "012345678901"
  checksums: off
  storage_class:
    manifest: STANDARD_IA
    backup_data: [DEEP_ARCHIVE, DEEP_ARCHIVE, GLACIER, STANDARD_IA, STANDARD]
  retry: {{max_attempts: 5}}
  profile: backup
  credentials_file: /etc/zrb/credentials
local: {{enabled: false, path: /mnt/usb/zrb}}
part_size: 128MiB
chunk_size: 16777216
memory_limit: 0.5 GiB
workers: 8
bandwidth_limit: 10MB
tasks:
  - name: example_task
    description: Example
    pool: pool
    dataset: data/home
    enabled: true
    recursive: yes
    exclude: ["*/tmp"]
    snapshot_prefix: nightly
    take_snapshot: false
    raw: never
"""

OF_THE_GO_TOOL = f"""\
base_dir: /home/user/zrb_base/
age_public_key: {AGE}
host: ""

s3:
  enabled: true
  bucket: my-backup-bucket
  region: ""
  prefix: zfs-backups
  endpoint: # empty for AWS
  storage_class:
    manifest: STANDARD
    backup_data:
      - DEEP_ARCHIVE
      - STANDARD
  retry:
    max_attempts: 3
local:
  enabled: false
  path: ""
tasks:
  - name: first
    description: ""
    pool: tank
    dataset: data
    enabled: true
  - name: second
    pool: tank
    dataset: ""
    snapshot_prefix: ""
    enabled: false
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    path = tmp_path / "config.yaml"

    def write_and_load(text: str | bytes) -> Config:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return load_config(path)

    return write_and_load


def refusal(load: Load, text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return caught.value


def problem(load: Load, text: str | bytes) -> str:
    """What the refusal of ``text`` says, without the directory of the file."""
    said = refusal(load, text).problem
    return said[said.index("config.yaml") :]


def test_the_default_place() -> None:
    assert default_config_path == Path("/etc/zrb/config.yaml")


def test_a_small_configuration_has_good_defaults(load: Load) -> None:
    assert load(SMALL) == Config(
        base_dir=PurePosixPath("/var/lib/zrb"),
        log_dir=PurePosixPath("/var/lib/zrb/logs"),
        host="nas1",
        recipients=(AGE,),
        signing_key=None,
        local=LocalSettings(PurePosixPath("/mnt/usb/zrb")),
    )
    assert load(S3).s3 == S3Settings("my-backups")


def test_every_key_is_read(load: Load) -> None:
    assert load(WHOLE) == Config(
        base_dir=PurePosixPath("/var/lib/zrb"),
        log_dir=PurePosixPath("/var/log/zrb"),
        host="nas1",
        recipients=(AGE, OTHER_AGE),
        signing_key=PurePosixPath("/etc/zrb/signing.key"),
        trusted_signers=(SIGNER.public,),
        s3=S3Settings(
            bucket="my-backup-bucket",
            region="eu-central-1",
            prefix="zfs-backups/",
            endpoint="https://s3.example.com:9000",
            ca_bundle="/etc/ssl/own-ca.pem",
            expected_bucket_owner="012345678901",
            checksums="off",
            storage_class=StorageClasses(
                "STANDARD_IA", ("DEEP_ARCHIVE", "DEEP_ARCHIVE", "GLACIER", "STANDARD_IA", "STANDARD")
            ),
            max_attempts=5,
            profile="backup",
            credentials_file="/etc/zrb/credentials",
        ),
        local=None,
        limits=Limits(128 * MIB, 16 * MIB, 512 * MIB, 8, 10_000_000),
        tasks=(
            Task(
                name="example_task",
                description="Example",
                pool="pool",
                dataset="data/home",
                recursive=True,
                exclude=("*/tmp",),
                snapshot_prefix="nightly",
                take_snapshot=False,
                raw="never",
            ),
        ),
    )


def test_a_configuration_of_the_go_tool_loads_unchanged(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "nas7.example.com")
    config = load(OF_THE_GO_TOOL)
    assert config.host == "nas7"
    assert config.base_dir == PurePosixPath("/home/user/zrb_base")
    assert config.local is None
    assert config.s3 == S3Settings(
        bucket="my-backup-bucket",
        prefix="zfs-backups/",
        storage_class=StorageClasses("STANDARD", ("DEEP_ARCHIVE", "STANDARD")),
        max_attempts=3,
    )
    assert config.tasks == (
        Task(name="first", pool="tank", dataset="data"),
        Task(name="second", pool="tank", dataset="", enabled=False),
    )


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "", "a b"])
def test_a_machine_without_a_name_needs_one(load: Load, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    text = SMALL.replace("host: nas1\n", "")
    short = name.partition(".")[0]
    said = f"config.yaml:1: the file has no `host`, and this machine is called {short!r}, which does not tell it from"
    assert problem(load, text).startswith(said)


@pytest.mark.parametrize(
    ("text", "said", "next_step"),
    [
        (
            SMALL + "hots: x\n",
            ":6: `hots` is an unknown key",
            "Did you mean `host`? Known here: base_dir, log_dir, host",
        ),
        (SMALL + "xyz: x\n", ":6: `xyz` is an unknown key", "Known here: base_dir, log_dir"),
        (S3 + "  buket: x\n", ":6: `s3.buket` is an unknown key", "Did you mean `bucket`?"),
        (SMALL + "host: nas2\n", ":6: `host` stands twice, first in line 2", "Keep one of the two"),
        (S3 + "  bucket: b\n", ":6: `s3.bucket` stands twice, first in line 5", "Keep one of the two"),
        (SMALL + "? [a]\n: x\n", ":6: `?` is an unknown key", "Known here"),
        (SMALL + "<<: {workers: 2}\n", ":6: `<<` is an unknown key", "Known here"),
        (
            S3 + "  secret_key: hunter2\n",
            ":6: `s3.secret_key` is unknown, and credentials never stand in this file",
            "(mode 0600)",
        ),
        (S3 + "  retry: {attempts: 2}\n", ":6: `s3.retry.attempts` is an unknown key", "Did you mean `max_attempts`?"),
        ("- a\n", ":1: the file has to be a mapping, and is a list", "It takes the keys base_dir"),
        ("hello\n", ":1: the file has to be a mapping, and is text", "It takes the keys base_dir"),
        (
            SMALL + "s3: true\n",
            ":6: `s3` has to be a mapping, and is true or false",
            "It takes the keys enabled, bucket",
        ),
        (SMALL.replace("base_dir: /var/lib/zrb\n", ""), ":1: the file lacks the key `base_dir`", "/var/lib/zrb"),
        (SMALL.replace("/var/lib", "var/lib"), ":1: `base_dir` cannot be 'var/lib/zrb'", "Write the whole path"),
        (SMALL.replace("/var/lib", "/var/../lib"), ":1: `base_dir` cannot be '/var/../lib/zrb'", "without .."),
        (SMALL.replace("/var/lib/zrb", "2026-01-31"), ":1: `base_dir` has to be text, and is a date", "in quotes"),
        (SMALL.replace("/var/lib/zrb", '""'), ":1: `base_dir` is empty", "Give it a value"),
        (SMALL.replace("/var/lib/zrb", '"/a\\tb"'), ":1: `base_dir` holds a control character", "Take it out"),
        (SMALL.replace("nas1", "-nas"), ":2: `host` cannot be '-nas'", "A host's name has 1 to 64 letters"),
        (SMALL.replace("nas1", "7"), ":2: `host` has to be text, and is a whole number", "in quotes"),
        (SMALL.replace("nas1", "1.5"), ":2: `host` has to be text, and is a number", "in quotes"),
        (SMALL.replace("nas1", "!mine x"), ":2: `host` has to be text, and is something else", "in quotes"),
        (SMALL + "signing_key: keys/x\n", ":6: `signing_key` cannot be 'keys/x'", "Write the whole path"),
        (SMALL + "log_dir: [a]\n", ":6: `log_dir` has to be text, and is a list", "in quotes"),
        (
            SMALL.replace("path: /mnt/usb/zrb", "enabled: true"),
            ":5: `local` lacks the key `path`",
            "Name the directory",
        ),
        (
            SMALL.replace("  path: /mnt/usb/zrb", "  path: usb"),
            ":5: `local.path` cannot be 'usb'",
            "Write the whole path",
        ),
        (
            S3.replace("bucket: my-backups", "region: x"),
            ":5: `s3` lacks the key `bucket`",
            "Name the bucket, or set `enabled: false`",
        ),
        (S3.replace("my-backups", "a/b"), ":5: `s3.bucket` cannot be 'a/b'", "A bucket's name has 3 to 63"),
        (S3 + "  region: eu west\n", ":6: `s3.region` cannot be 'eu west'", "eu-central-1"),
        (S3 + "  prefix: a//b\n", ":6: `s3.prefix` cannot be 'a//b'", "without empty parts"),
        (S3 + "  prefix: a/../b\n", ":6: `s3.prefix` cannot be 'a/../b'", "without empty parts"),
        (
            S3 + "  endpoint: s3.example.com\n",
            ":6: `s3.endpoint` cannot be 's3.example.com'",
            "https://s3.example.com:9000",
        ),
        (S3 + "  endpoint: ftp://x\n", ":6: `s3.endpoint` cannot be 'ftp://x'", "https://s3.example.com:9000"),
        (
            S3 + "  endpoint: https://x/bucket\n",
            ":6: `s3.endpoint` cannot be 'https://x/bucket'",
            "nothing after the port",
        ),
        (S3 + "  endpoint: https://x:y\n", ":6: `s3.endpoint` is not a URL", "https://s3.example.com:9000"),
        (S3 + "  endpoint: https://me:hunter2@x\n", ":6: `s3.endpoint` holds a user name or a password", "(mode 0600)"),
        (S3 + "  ca_bundle: ca.pem\n", ":6: `s3.ca_bundle` cannot be 'ca.pem'", "Write the whole path"),
        (
            S3 + "  expected_bucket_owner: 12\n",
            ":6: `s3.expected_bucket_owner` is not the number of an AWS account",
            "12 digits",
        ),
        (S3 + "  expected_bucket_owner: [1]\n", ":6: `s3.expected_bucket_owner` is not the number", "12 digits"),
        (S3 + "  checksums: on\n", ":6: `s3.checksums` cannot be 'on'", "Choose one of auto, required, off"),
        (S3 + "  checksums: 1\n", ":6: `s3.checksums` cannot be a whole number", "Choose one of auto, required, off"),
        (S3 + "  enabled: 1\n", ":6: `s3.enabled` has to be true or false, and is a whole number", "without quotes"),
        (S3 + '  enabled: "true"\n', ":6: `s3.enabled` has to be true or false, and is text", "without quotes"),
        (
            S3 + "  retry: {max_attempts: 0}\n",
            ":6: `s3.retry.max_attempts` has to be a whole number from 1 to 100",
            "decimal",
        ),
        (
            S3 + "  storage_class: GLACIER\n",
            ":6: `s3.storage_class` has to be a mapping, and is text",
            "manifest, backup_data",
        ),
        (
            S3 + "  storage_class: {backup_data: []}\n",
            ":6: `s3.storage_class.backup_data` is an empty list",
            "at least 1",
        ),
        (
            S3 + "  storage_class: {backup_data: GLACIER}\n",
            ":6: `s3.storage_class.backup_data` has to be a list, and is text",
            "[one, two]",
        ),
        (
            S3 + "  storage_class:\n    backup_data:\n      - STANDARD\n      - GLACIAL\n",
            ":9: `s3.storage_class.backup_data[1]` cannot be 'GLACIAL'",
            "Choose one of STANDARD, REDUCED_REDUNDANCY, STANDARD_IA",
        ),
        (
            S3 + "  storage_class: {manifest: DEEP_ARCHIVE}\n",
            ":6: `s3.storage_class.manifest` cannot be DEEP_ARCHIVE",
            "Take STANDARD",
        ),
        (
            S3 + "  storage_class: {manifest: GLACIER}\n",
            ":6: `s3.storage_class.manifest` cannot be GLACIER",
            "Take STANDARD",
        ),
        (
            S3 + "  storage_class: {manifest: FAST}\n",
            ":6: `s3.storage_class.manifest` cannot be 'FAST'",
            "Choose one of",
        ),
        (SMALL + "workers: 0\n", ":6: `workers` has to be a whole number from 1 to 64", "decimal"),
        (SMALL + "workers: 65\n", ":6: `workers` has to be a whole number from 1 to 64", "decimal"),
        (SMALL + 'workers: "4"\n', ":6: `workers` has to be a whole number from 1 to 64", "without quotes"),
        (SMALL + "workers: 010\n", ":6: `workers` has to be a whole number from 1 to 64", "decimal"),
        (SMALL + "part_size: 0\n", ":6: `part_size` cannot be 0", "Write a whole number of bytes, or a size"),
        (SMALL + "part_size: 0MiB\n", ":6: `part_size` cannot be 0", "like 256MiB"),
        (SMALL + "part_size: -5\n", ":6: `part_size` cannot be -5", "like 256MiB"),
        (SMALL + "part_size: 1:30\n", ":6: `part_size` cannot be 1:30", "like 256MiB"),
        (
            SMALL + "part_size: 256M\n",
            ":6: `part_size` has the unit M, which does not say how many bytes",
            "B is bytes, b is bits",
        ),
        (
            SMALL + "part_size: 256Mib\n",
            ":6: `part_size` has the unit Mib, which does not say",
            "B is bytes, b is bits",
        ),
        (SMALL + "part_size: 256XB\n", ":6: `part_size` has the unknown unit XB", "like 256MiB"),
        (SMALL + "part_size: 1.5B\n", ":6: `part_size` is '1.5B', which is no whole number of bytes", "like 256MiB"),
        (SMALL + "part_size: -1MiB\n", ":6: `part_size` has to be a size, and is '-1MiB'", "like 256MiB"),
        (SMALL + "part_size: ٣MiB\n", ":6: `part_size` has to be a size, and is '٣MiB'", "like 256MiB"),
        (SMALL + "part_size: 1.5\n", ":6: `part_size` has to be a size, and is a number", "like 256MiB"),
        (SMALL + "part_size:\n", ":6: `part_size` has to be a size, and is empty", "like 256MiB"),
        (SMALL + "tasks: {}\n", ":6: `tasks` has to be a list, and is a mapping", "[one, two]"),
        (SMALL + "tasks: [x]\n", ":6: `tasks[0]` has to be a mapping, and is text", "It takes the keys name"),
        (
            SMALL + "tasks: [{pool: a, dataset: b}]\n",
            ":6: `tasks[0]` lacks the key `name`",
            "`name`, `pool` and `dataset`",
        ),
        (
            SMALL + "tasks: [{name: a, dataset: b}]\n",
            ":6: `tasks[0]` lacks the key `pool`",
            "`name`, `pool` and `dataset`",
        ),
        (SMALL + "tasks: [{name: a, pool: b}]\n", ":6: `tasks[0]` lacks the key `dataset`", "without its pool"),
        (
            SMALL + "tasks: [{name: a b, pool: b, dataset: c}]\n",
            ":6: `tasks[0].name` cannot be 'a b'",
            "1 to 64 letters",
        ),
        (
            SMALL + "tasks: [{name: a, pool: -b, dataset: c}]\n",
            ":6: `tasks[0].pool` is not right: '-b' is not a ZFS pool",
            "Correct the name",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: c@d}]\n",
            ":6: `tasks[0].dataset` is not right: 'b/c@d' is not a ZFS dataset",
            "Correct the name",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: /c}]\n",
            ":6: `tasks[0].dataset` is not right: 'b//c' is not a ZFS dataset",
            "Correct the name",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: c, raw: maybe}]\n",
            ":6: `tasks[0].raw` cannot be 'maybe'",
            "auto, always, never",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: c, snapshot_prefix: a@}]\n",
            ":6: `tasks[0].snapshot_prefix` cannot be 'a@'",
            "1 to 64",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: c, exclude: [x]}]\n",
            ":6: `tasks[0].exclude` has no meaning in a task",
            "Set `recursive: true`",
        ),
        (
            SMALL + "tasks: [{name: a, pool: b, dataset: c, exclude: ['']}]\n",
            ":6: `tasks[0].exclude[0]` is empty",
            "Give it a value",
        ),
        (
            SMALL + "tasks:\n  - {name: a, pool: b, dataset: c}\n  - {name: a, pool: b, dataset: d}\n",
            ":8: `tasks[1]` is a second task with the name 'a'",
            "a name of its own",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_key(load: Load, text: str, said: str, next_step: str) -> None:
    error = refusal(load, text)
    assert f"config.yaml{said}" in error.problem
    assert next_step in error.next_step
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SMALL + S3[S3.index("s3:") :], ":5: `local` is enabled, and `s3` too"),
        (SMALL + "  enabled: false\n", ":1: the file enables neither `s3` nor `local`"),
        (SMALL[: SMALL.index("local:")], ":1: the file enables neither `s3` nor `local`"),
        (SMALL.replace(f"age_public_key: {AGE}\n", ""), ":1: the file names no recipient"),
        (SMALL.replace(AGE, '""'), ":1: the file names no recipient"),
        (SMALL + "age_recipients: []\n", None),
        (
            SMALL + "part_size: 16MiB\nchunk_size: 32MiB\n",
            ":7: `chunk_size` is 32.0 MiB, more than `part_size` (16.0 MiB)",
        ),
        (S3 + "chunk_size: 4MiB\n", ":6: `chunk_size` makes chunks of 4.0 MiB, and S3 takes 5 MiB to 5 GiB"),
        (S3 + "part_size: 4MiB\n", ":6: `part_size` makes chunks of 4.0 MiB, and S3 takes 5 MiB to 5 GiB"),
        (S3 + "part_size: 9GiB\nchunk_size: 6GiB\nmemory_limit: 16GiB\n", ":7: `chunk_size` makes chunks of 6.0 GiB"),
        (SMALL + "chunk_size: 1MiB\n", None),
        (SMALL + "part_size: 20MiB\n", None),
        (
            S3 + "part_size: 5TiB\nchunk_size: 5GiB\nmemory_limit: 11GiB\n",
            ":6: `part_size` is 5.0 TiB, and an object of S3 has at most",
        ),
        (
            S3 + "part_size: 1TiB\n",
            ":6: `part_size` is 32777 chunks of 32.0 MiB, and an upload to S3 has at most 10000",
        ),
        (S3 + "part_size: 1TiB\nchunk_size: 128MiB\n", None),
        (
            SMALL + "memory_limit: 79MiB\n",
            ":6: `memory_limit` does not fit: `memory_limit` is 79.0 MiB, and 80.0 MiB are needed, for two chunks",
        ),
        (SMALL + "memory_limit: 80MiB\n", None),
        (
            SMALL + "chunk_size: 250MiB\n",
            ":6: `chunk_size` does not fit: `memory_limit` is 512.0 MiB, and 516.0 MiB are needed",
        ),
        (SMALL + "s3: {enabled: false}\n", None),
        (SMALL + "s3: {enabled: true, bucket: abc}\n", ":5: `local` is enabled, and `s3` too"),
        (
            SMALL + "memory_limit: 1\n",
            ":6: `memory_limit` does not fit: `memory_limit` is 1 B, and 80.0 MiB are needed",
        ),
    ],
)
def test_what_does_not_go_together_is_named(load: Load, text: str, said: str | None) -> None:
    if said is None:
        load(text)
    else:
        assert problem(load, text).startswith(f"config.yaml{said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "config.yaml is empty"),
        ("# only a comment\n", "config.yaml is empty"),
        ("a: [1\n", "config.yaml:2: this is not valid YAML"),
        ("a: b: c\n", "config.yaml:1: this is not valid YAML"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: this is not valid YAML"),
        ("a: *nowhere\n", "config.yaml:1: this is not valid YAML"),
        (b"\xff\xfe\x00", "config.yaml: this is not valid YAML"),
        ("a: \x07\n", "config.yaml: this is not valid YAML"),
        ("[" * 50_000, "config.yaml: this is not valid YAML"),
        (b" " * (MAX_CONFIG_BYTES + 1), f"config.yaml has {MAX_CONFIG_BYTES + 1} bytes"),
    ],
)
def test_what_is_no_configuration_is_said(load: Load, text: str | bytes, said: str) -> None:
    assert problem(load, text).startswith(said)


def test_keys_are_checked(load: Load) -> None:
    assert problem(load, SMALL.replace(AGE, AGE[:-1] + "q")).startswith(
        "config.yaml:3: `age_public_key` is not right: "
    )
    error = refusal(load, SMALL + f"age_recipients:\n  - {OTHER_AGE}\n  - {AGE_PRIVATE}\n")
    assert "config.yaml:8: `age_recipients[1]` is not right: An age private key stands where a public" in error.problem
    assert AGE_PRIVATE[16:] not in str(error)
    private = SIGNER.text().splitlines()[-1]
    error = refusal(load, SMALL + f"trusted_signers: [{private}]\n")
    assert "`trusted_signers[0]` is not right: A private key stands where the public key of a signer" in error.problem
    assert private[18:] not in str(error)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
def test_a_file_that_others_can_write_is_refused(load: Load, mode: int, tmp_path: Path) -> None:
    load(SMALL)
    (tmp_path / "config.yaml").chmod(mode)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "config.yaml")
    assert f"has mode {mode:04o}, so others than its owner can change where backups go" in caught.value.problem
    assert caught.value.next_step.startswith("`chmod 600 ")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.yaml")
    assert caught.value.problem == f"The configuration file {tmp_path / 'none.yaml'} does not exist"
    assert "--config; the default is /etc/zrb/config.yaml" in caught.value.next_step
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_aliases_are_resolved_where_they_fit(load: Load) -> None:
    assert load(SMALL.replace(AGE, f"&key {AGE}") + "age_recipients: [*key]\n").recipients == (AGE,)


def test_keys_of_either_kind_are_recipients_and_a_mixture_is_refused(load: Load) -> None:
    hybrid, other = new_identity("hybrid")[1], new_identity("hybrid")[1]
    both = SMALL.replace(AGE, hybrid) + f"age_recipients: [{other}]\n"
    assert load(both).recipients == (hybrid, other)
    classic = [new_identity()[1] for _ in range(33)]
    for text, line, noun in [
        (SMALL + f"age_recipients: [{hybrid}]\n", "age_recipients", "mixed"),
        (SMALL.replace(f"age_public_key: {AGE}\n", f"age_recipients: [{AGE}, {hybrid}]\n"), "age_recipients", "mixed"),
        (SMALL.replace(f"age_public_key: {AGE}\n", f"age_recipients: {classic}\n"), "age_recipients", "33"),
    ]:
        with pytest.raises(ConfigError, match=noun) as caught:
            load(text)
        assert line in caught.value.problem
        assert "zrb genkey" not in caught.value.next_step


def test_missing_libraries_are_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitmath", None)
    with pytest.raises(LibraryMissing, match="The Python library bitmath is needed"):
        load(SMALL + "part_size: 1MiB\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(LibraryMissing, match="The Python library PyYAML is needed"):
        load(SMALL)


@given(st.text(max_size=40), st.sampled_from(["host", "part_size", "tasks", "s3", "workers", "signing_key"]))
def test_no_text_in_any_place_is_more_than_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, text: str, key: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(f"{SMALL}{key}: {text}\n".encode("utf-8", "replace"))
    path.chmod(0o600)
    try:
        load_config(path)
    except ConfigError as error:
        assert error.next_step
    finally:
        path.unlink()


def test_tasks_are_found_by_name(load: Load) -> None:
    config = load(WHOLE.replace("tasks:\n", "tasks:\n  - {name: idle, pool: tank, dataset: x, enabled: false}\n"))
    assert [task.name for task in find_tasks(config, [])] == ["example_task"]
    assert [task.name for task in find_tasks(config, ["idle", "example_task", "idle"])] == ["idle", "example_task"]
    with pytest.raises(NoSuchTask) as caught:
        find_tasks(config, ["idle", "exmaple"])
    assert caught.value.problem == "There is no task 'exmaple' in the configuration"
    assert caught.value.next_step == "Known tasks: idle, example_task"
    with pytest.raises(NoSuchTask, match="Add it under `tasks`; there is none yet"):
        find_tasks(load(SMALL), ["x"])
