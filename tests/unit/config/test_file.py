# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration file: what loads, and what each mistake is called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.config import schema
from zrb.config.file import MAX_CONFIG_BYTES, load_config
from zrb.config.schema import LOCAL, RETRY, ROOT, STORAGE_CLASS
from zrb.config.tasks import find_tasks
from zrb.config.yaml_nodes import Keys
from zrb.errors import ConfigError, LibraryMissing, NoSuchTask
from zrb.seal.age_keys import new_identity
from zrb.seal.signing import SigningKey
from zrb.values.config import MIB, Config, Limits, LocalSettings, S3Settings, StorageClasses, Task
from zrb.values.retention import Retention

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
retention:
  keep_last: 3
  keep_within: 36h
  keep_hourly: 24
  keep_daily: 7
  keep_weekly: 5
  keep_monthly: 12
  keep_yearly: 10
  time_zone: Europe/Vienna
prices: {{STANDARD: 0.023, DEEP_ARCHIVE: 1}}
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
    retention: {{keep_last: 1}}
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
    assert type(caught.value) is ConfigError
    assert caught.value.next_step
    return caught.value


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
        retention=Retention(3, 36 * 3600, 24, 7, 5, 12, 10, "Europe/Vienna"),
        prices={"STANDARD": 0.023, "DEEP_ARCHIVE": 1.0},
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
                retention=Retention(keep_last=1),
            ),
        ),
    )


@pytest.mark.parametrize("written", ["", "retention:\n", "retention: never\n"])
def test_everything_is_kept_unless_somebody_decides_otherwise(load: Load, written: str) -> None:
    config = load(SMALL + written + TASK)
    assert config.retention == Retention()
    assert config.retention.keeps_all
    assert config.tasks[0].retention is None


def test_a_task_may_keep_what_others_do_not(load: Load) -> None:
    config = load(SMALL + "retention: {keep_last: 1}\n" + TASK.replace("c}", "c, retention: never}"))
    assert not config.retention.keeps_all
    assert config.tasks[0].retention == Retention()


def test_a_policy_is_written_as_it_is_read(load: Load) -> None:
    for policy in (Retention(), Retention(1, 36 * 3600, 2, 3, 4, 5, 6), Retention(keep_within_s=86_400)):
        written = str(policy)
        text = written if policy.keeps_all else f"{{{written}}}"
        assert load(SMALL + f"retention: {text}\n").retention == policy


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


@pytest.mark.parametrize(
    ("text", "patience_s"),
    [("0", 0), ("90s", 90), ("5 m", 300), ("6h", 21_600), ("2d", 172_800), ("", None)],
)
def test_patience_has_a_unit(load: Load, text: str, patience_s: int | None) -> None:
    assert load(SMALL + f"patience: {text}\n").patience_s == patience_s


@pytest.mark.parametrize("name", ["localhost", "localhost.localdomain", "", "a b"])
def test_a_machine_without_a_name_needs_one(load: Load, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)
    error = refusal(load, SMALL.replace("host: nas1\n", ""))
    assert "config.yaml:1:" in error.problem
    assert repr(name.partition(".")[0]) in error.problem
    assert "`host: `" in error.next_step


TASK = "tasks: [{name: a, pool: b, dataset: c}]\n"
MISTAKES = [
    # what is written, the line and the key that are named, a word that is said
    (SMALL + "hots: x\n", 6, "hots", "`host`"),
    (SMALL + "xyz: x\n", 6, "xyz", "base_dir"),
    (S3 + "  buket: x\n", 6, "s3.buket", "`bucket`"),
    (S3 + "  x.bucket: x\n", 6, "s3.x.bucket", "unknown"),
    (S3 + "  retry: {attempts: 2}\n", 6, "s3.retry.attempts", "`max_attempts`"),
    (SMALL + "host: nas2\n", 6, "host", "line 2"),
    (S3 + "  bucket: b\n", 6, "s3.bucket", "line 5"),
    (SMALL + "? [a]\n: x\n", 6, "?", "unknown"),
    (SMALL + "<<: {workers: 2}\n", 6, "<<", "unknown"),
    (S3 + "  secret_key: hunter2\n", 6, "s3.secret_key", "/etc/zrb/credentials"),
    ("- a\n", 1, "", "a list"),
    ("hello\n", 1, "", "text"),
    (SMALL.replace("base_dir: /var/lib/zrb\n", ""), 1, "", "`base_dir`"),
    (SMALL.replace("/var/lib/zrb", '""'), 1, "", "`base_dir`"),
    (SMALL.replace("/var/lib", "var/lib"), 1, "base_dir", "whole path"),
    (SMALL.replace("/var/lib", "/var/../lib"), 1, "base_dir", "without .."),
    (SMALL.replace("/var/lib/zrb", "2026-01-31"), 1, "base_dir", "a date"),
    (SMALL.replace("/var/lib/zrb", '"/a\\tb"'), 1, "base_dir", "control character"),
    (SMALL.replace("nas1", "-nas"), 2, "host", "1 to 64 letters"),
    (SMALL.replace("nas1", "7"), 2, "host", "Quote"),
    (SMALL.replace("nas1", "1.5"), 2, "host", "a fraction"),
    (SMALL.replace("nas1", "!mine x"), 2, "host", "something else"),
    (SMALL + "signing_key: keys/x\n", 6, "signing_key", "whole path"),
    (SMALL.replace("path: /mnt/usb/zrb", "enabled: true"), 5, "local", "`path`"),
    (S3.replace("bucket: my-backups", "region: x"), 5, "s3", "`bucket`"),
    (S3.replace("my-backups", '""'), 5, "s3", "`bucket`"),
    (S3.replace("my-backups", "a/b"), 5, "s3.bucket", "3 to 63 letters"),
    (S3 + "  region: eu west\n", 6, "s3.region", "eu-central-1"),
    (S3 + "  prefix: a//b\n", 6, "s3.prefix", "empty parts"),
    (S3 + "  prefix: a/../b\n", 6, "s3.prefix", "empty parts"),
    (S3 + "  endpoint: s3.example.com\n", 6, "s3.endpoint", "https://"),
    (S3 + "  endpoint: ftp://x\n", 6, "s3.endpoint", "https://"),
    (S3 + "  endpoint: https://x/bucket\n", 6, "s3.endpoint", "after the port"),
    (S3 + "  endpoint: https://x:y\n", 6, "s3.endpoint", "https://"),
    (S3 + "  endpoint: https://x:0\n", 6, "s3.endpoint", "https://"),
    (S3 + "  endpoint: https://x:70000\n", 6, "s3.endpoint", "https://"),
    (S3 + "  endpoint: https://me:hunter2@x\n", 6, "s3.endpoint", "password"),
    (S3 + "  ca_bundle: ca.pem\n", 6, "s3.ca_bundle", "whole path"),
    (S3 + "  expected_bucket_owner: 12\n", 6, "s3.expected_bucket_owner", "12 digits"),
    (S3 + "  checksums: on\n", 6, "s3.checksums", "required"),
    (S3 + "  checksums: 1\n", 6, "s3.checksums", "required"),
    (S3 + '  enabled: "true"\n', 6, "s3.enabled", "without quotes"),
    (S3 + "  retry: {max_attempts: 0}\n", 6, "s3.retry.max_attempts", "from 1 to 100"),
    (S3 + "  storage_class: {backup_data: []}\n", 6, "s3.storage_class.backup_data", "empty list"),
    (
        S3 + "  storage_class:\n    backup_data:\n      - STANDARD\n      - GLACIAL\n",
        9,
        "s3.storage_class.backup_data[1]",
        "STANDARD_IA",
    ),
    (S3 + "  storage_class: {manifest: DEEP_ARCHIVE}\n", 6, "s3.storage_class.manifest", "Choose"),
    (S3 + "  storage_class: {manifest: GLACIER}\n", 6, "s3.storage_class.manifest", "Choose"),
    (SMALL + "workers: 0\n", 6, "workers", "from 1 to 64"),
    (SMALL + "workers: 65\n", 6, "workers", "from 1 to 64"),
    (SMALL + 'workers: "4"\n', 6, "workers", "without quotes"),
    (SMALL + "workers: 010\n", 6, "workers", "decimal"),
    (SMALL + "part_size: 0\n", 6, "part_size", "from 1 "),
    (SMALL + "part_size: 0MiB\n", 6, "part_size", "from 1 "),
    (SMALL + "part_size: -5\n", 6, "part_size", "256MiB"),
    (SMALL + "part_size: 1:30\n", 6, "part_size", "256MiB"),
    (SMALL + "part_size: 256M\n", 6, "part_size", "b is bits"),
    (SMALL + "part_size: 256Mib\n", 6, "part_size", "b is bits"),
    (SMALL + "part_size: 256XB\n", 6, "part_size", "256MiB"),
    (SMALL + "part_size: 1.5B\n", 6, "part_size", "whole bytes"),
    (SMALL + "part_size: -1MiB\n", 6, "part_size", "256MiB"),
    (SMALL + "part_size: ٣MiB\n", 6, "part_size", "256MiB"),
    (SMALL + "part_size: 1.5\n", 6, "part_size", "a fraction"),
    (SMALL + "part_size: 99999999999999999999TiB\n", 6, "part_size", "5TiB"),
    (SMALL + "bandwidth_limit: 5497558138881\n", 6, "bandwidth_limit", "5TiB"),
    *((SMALL + f"patience: {text}\n", 6, "patience", "6h") for text in ("6", "-1h", "1.5h", "h", "6 hours", "06h")),
    (SMALL + "retention: forever\n", 6, "retention", "text"),
    (SMALL + "retention: {time_zone: UTC}\n", 6, "retention", "keep_last"),
    (SMALL + "retention: {keep_within: 0}\n", 6, "retention", "keep_last"),
    (SMALL + "retention:\n  keep_dayly: 1\n", 7, "retention.keep_dayly", "`keep_daily`"),
    (SMALL + "retention: {keep_last: 0}\n", 6, "retention.keep_last", "from 1 to 100000"),
    (SMALL + "retention: {keep_last: -1}\n", 6, "retention.keep_last", "from 1 to 100000"),
    (SMALL + "retention: {keep_last: 3d}\n", 6, "retention.keep_last", "without quotes"),
    (SMALL + "retention: {keep_within: 7}\n", 6, "retention.keep_within", "unit"),
    *(
        (SMALL + f"retention: {{keep_last: 1, time_zone: {zone}}}\n", 6, "retention.time_zone", "Europe/Vienna")
        for zone in ("CET/CEST", "Europe", "../UTC", "/etc/passwd", "+02:00")
    ),
    (SMALL + "prices: {STANDART: 1}\n", 6, "prices.STANDART", "`STANDARD`"),
    (SMALL + "prices: {STANDARD: -1}\n", 6, "prices.STANDARD", "0.023"),
    (SMALL + 'prices: {STANDARD: "1"}\n', 6, "prices.STANDARD", "0.023"),
    (SMALL + "prices: {STANDARD: .inf}\n", 6, "prices.STANDARD", "0.023"),
    (SMALL + TASK.replace("c}", "c, retention: {keep_last: x}}"), 6, "tasks[0].retention.keep_last", "without quotes"),
    (SMALL + "tasks: [{pool: a, dataset: b}]\n", 6, "tasks[0]", "`name`"),
    (SMALL + "tasks: [{name: a, dataset: b}]\n", 6, "tasks[0]", "`pool`"),
    (SMALL + "tasks: [{name: a, pool: b}]\n", 6, "tasks[0]", "`dataset`"),
    (SMALL + TASK.replace("name: a", "name: a b"), 6, "tasks[0].name", "1 to 64 letters"),
    (SMALL + TASK.replace("pool: b", "pool: -b"), 6, "tasks[0].pool", "'-b'"),
    (SMALL + TASK.replace("dataset: c", "dataset: c@d"), 6, "tasks[0].dataset", "'b/c@d'"),
    (SMALL + TASK.replace("dataset: c", "dataset: /c"), 6, "tasks[0].dataset", "'b//c'"),
    (SMALL + TASK.replace("c}", "c, raw: maybe}"), 6, "tasks[0].raw", "always"),
    (SMALL + TASK.replace("c}", "c, snapshot_prefix: a@}"), 6, "tasks[0].snapshot_prefix", "1 to 64"),
    (SMALL + TASK.replace("c}", "c, exclude: [x]}"), 6, "tasks[0].exclude", "recursive"),
    (SMALL + TASK.replace("c}", "c, exclude: ['']}"), 6, "tasks[0].exclude[0]", "leave"),
    (
        SMALL + "tasks:\n  - {name: a, pool: b, dataset: c}\n  - {name: a, pool: b, dataset: d}\n",
        8,
        "tasks[1]",
        "'a'",
    ),
    # what does not go together
    (SMALL + S3[S3.index("s3:") :], 5, "local", "`s3`"),
    (SMALL + "s3: {enabled: true, bucket: abc}\n", 5, "local", "`s3`"),
    (SMALL + "  enabled: false\n", 1, "", "`local`"),
    (SMALL[: SMALL.index("local:")], 1, "", "`local`"),
    (SMALL.replace(f"age_public_key: {AGE}\n", ""), 1, "", "recipient"),
    (SMALL.replace(AGE, '""'), 1, "", "recipient"),
    (SMALL + "part_size: 16MiB\nchunk_size: 32MiB\n", 7, "chunk_size", "`part_size`"),
    (S3 + "chunk_size: 4MiB\n", 6, "chunk_size", "5 MiB to 5 GiB"),
    (S3 + "part_size: 4MiB\n", 6, "part_size", "5 MiB to 5 GiB"),
    (S3 + "part_size: 9GiB\nchunk_size: 6GiB\nmemory_limit: 16GiB\n", 7, "chunk_size", "5 GiB"),
    (S3 + "part_size: 5TiB\nchunk_size: 5GiB\nmemory_limit: 11GiB\n", 6, "part_size", "5 TiB"),
    (S3 + "part_size: 4TiB\n", 6, "part_size", "16917 chunks"),
    (SMALL + "memory_limit: 25MiB\n", 6, "memory_limit", "26.0 MiB"),
    (SMALL + "chunk_size: 250MiB\n", 6, "chunk_size", "516.0 MiB"),
    (SMALL + "memory_limit: 1\n", 6, "memory_limit", "26.0 MiB"),
]


@pytest.mark.parametrize(("text", "line", "key", "word"), MISTAKES)
def test_a_mistake_is_named_with_its_line_and_key(load: Load, text: str, line: int, key: str, word: str) -> None:
    error = refusal(load, text)
    assert f"config.yaml:{line}: {f'`{key}`' if key else 'the file'} " in error.problem
    assert error.subject == key
    assert word in error.explain()
    assert "hunter2" not in error.explain()


@pytest.mark.parametrize(
    "text",
    [
        SMALL + "age_recipients: []\n",
        SMALL + "chunk_size: 1MiB\n",
        SMALL + "part_size: 20MiB\n",
        S3 + "part_size: 1TiB\nchunk_size: 128MiB\n",
        SMALL + "memory_limit: 26MiB\n",
        S3 + "part_size: 1TiB\n",
        SMALL + "s3: {enabled: false}\n",
        SMALL + "bandwidth_limit: 0\n",
        S3 + "  expected_bucket_owner: 123456789012\n",
        S3 + "  prefix: /\n",
    ],
)
def test_what_goes_together_loads(load: Load, text: str) -> None:
    load(text)


SECTIONS: dict[str, tuple[Keys, str]] = {
    # the keys of a mapping, and a file whose last line is open for one more of them
    "": (ROOT, f"s3: {{bucket: my-backups}}\nbase_dir: /b\nhost: nas1\nage_public_key: {AGE}\n"),
    "s3.": (schema.S3, f"base_dir: /b\nhost: nas1\nage_public_key: {AGE}\ns3:\n  bucket: my-backups\n  "),
    "s3.storage_class.": (STORAGE_CLASS, S3 + "  storage_class:\n    "),
    "s3.retry.": (RETRY, S3 + "  retry:\n    "),
    "local.": (LOCAL, SMALL + "  "),
    "retention.": (schema.RETENTION, SMALL + "retention:\n  keep_last: 1\n  keep_daily: 1\n  "),
    "prices.": (schema.PRICES, SMALL + "prices:\n  "),
    "tasks[0].": (schema.TASK, SMALL + "tasks:\n  - name: a\n    pool: b\n    dataset: c\n    "),
}
EVERY_KEY = [(section, key) for section, (keys, _start) in SECTIONS.items() for key in keys]


def with_value(section: str, key: str, value: str) -> str:
    """A file that says ``key: value`` on its last line, and nowhere else."""
    lines = SECTIONS[section][1].splitlines()
    indent = len(lines[-1]) if not lines[-1].strip() else 0
    kept = [line for line in lines if not re.match(rf" {{{indent}}}{key}:", line) and line.strip()]
    return "\n".join([*kept, f"{' ' * indent}{key}: {value}\n"])


@pytest.mark.parametrize(("section", "key"), EVERY_KEY)
@pytest.mark.parametrize("value", ["{a: [b]}", "[{a: b}]", "!mine x", "[[]]"])
def test_every_key_refuses_what_it_does_not_take_and_names_itself(
    load: Load, section: str, key: str, value: str
) -> None:
    text = with_value(section, key, value)
    error = refusal(load, text)
    assert re.fullmatch(re.escape(section + key) + r"(\[0\])?(\.a)?", error.subject)
    assert f"config.yaml:{text.count(chr(10))}: `{error.subject}` " in error.problem


@pytest.mark.parametrize(("section", "key"), EVERY_KEY)
def test_a_key_that_is_left_empty_counts_as_left_out(load: Load, section: str, key: str) -> None:
    if section + key in {"base_dir", "age_public_key", "s3", "s3.bucket", "local.path"}:
        refusal(load, with_value(section, key, '""'))
    elif section == "tasks[0]." and key in {"name", "pool"}:
        refusal(load, with_value(section, key, ""))
    elif section + key == "tasks[0].dataset":
        assert load(with_value(section, key, "")).tasks[0].dataset == ""
    else:
        without = with_value(section, key, "").rpartition(key)[0].rstrip() + "\n"
        if section + key == "host":
            without += "host: " + schema._default_host(None) + "\n"  # type: ignore[arg-type]
        assert load(with_value(section, key, "")) == load(
            without.replace("storage_class:\n", "").replace("retry:\n", "").replace("prices:\n", "")
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "config.yaml is empty"),
        ("# only a comment\n", "config.yaml is empty"),
        ("a: [1\n", "config.yaml:2: "),
        ("a: b: c\n", "config.yaml:1: "),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: "),
        ("a: *nowhere\n", "config.yaml:1: "),
        (b"\xff\xfe\x00", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("[" * 50_000, "not valid YAML"),
        (b" " * (MAX_CONFIG_BYTES + 1), "too long"),
    ],
)
def test_what_is_no_configuration_is_said(load: Load, text: str | bytes, said: str) -> None:
    assert said in refusal(load, text).problem


def test_keys_are_checked(load: Load) -> None:
    assert refusal(load, SMALL.replace(AGE, AGE[:-1] + "q")).subject == "age_public_key"
    error = refusal(load, SMALL + f"age_recipients:\n  - {OTHER_AGE}\n  - {AGE_PRIVATE}\n")
    assert "config.yaml:8: `age_recipients[1]` " in error.problem
    assert "private key" in error.problem
    assert AGE_PRIVATE[16:] not in str(error)
    private = SIGNER.text().splitlines()[-1]
    error = refusal(load, SMALL + f"trusted_signers: [{private}]\n")
    assert error.subject == "trusted_signers[0]"
    assert "private key" in error.problem
    assert private[18:] not in str(error)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o664])
def test_a_file_that_others_can_write_is_refused(load: Load, mode: int, tmp_path: Path) -> None:
    load(SMALL)
    path = tmp_path / "config.yaml"
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}") as caught:
        load_config(path)
    assert caught.value.subject == str(path)
    assert f"`chmod 600 {path}`" in caught.value.next_step


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, word in (("none", "does not exist"), ("pipe", "regular file"), (".", "regular file")):
        with pytest.raises(ConfigError, match=word) as caught:
            load_config(tmp_path / name)
        assert caught.value.subject == str(tmp_path / name)
        assert caught.value.next_step


def test_aliases_are_resolved_where_they_fit(load: Load) -> None:
    assert load(SMALL.replace(AGE, f"&key {AGE}") + "age_recipients: [*key]\n").recipients == (AGE,)


def test_keys_of_either_kind_are_recipients_and_a_mixture_is_refused(load: Load) -> None:
    hybrid, other = new_identity("hybrid")[1], new_identity("hybrid")[1]
    both = SMALL.replace(AGE, hybrid) + f"age_recipients: [{other}]\n"
    assert load(both).recipients == (hybrid, other)
    classic = [new_identity()[1] for _ in range(33)]
    for text, noun in [
        (SMALL + f"age_recipients: [{hybrid}]\n", "mixed"),
        (SMALL.replace(f"age_public_key: {AGE}\n", f"age_recipients: [{AGE}, {hybrid}]\n"), "mixed"),
        (SMALL.replace(f"age_public_key: {AGE}\n", f"age_recipients: {classic}\n"), "33"),
    ]:
        with pytest.raises(ConfigError, match=noun) as caught:
            load(text)
        assert "age_recipients" in caught.value.problem
        assert "zrb genkey" not in caught.value.next_step


def test_missing_libraries_are_named(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitmath", None)
    with pytest.raises(LibraryMissing, match="bitmath"):
        load(SMALL + "part_size: 1MiB\n")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(LibraryMissing, match="PyYAML"):
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
    assert caught.value.subject == "exmaple"
    assert "idle, example_task" in caught.value.next_step
    with pytest.raises(NoSuchTask, match="`tasks`"):
        find_tasks(load(SMALL), ["x"])
