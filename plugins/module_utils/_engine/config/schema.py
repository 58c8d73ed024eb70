# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of the configuration. Each is declared here once; the defaults are in ``values/config.py``. A test compares
both with docs/configuration.md."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

from ..errors import BadRecipient, UsageError
from ..seal.age_keys import check_recipient, check_recipients
from ..seal.signing import check_signer
from ..values.config import Config, LocalSettings, S3Settings, StorageClasses, Task
from ..values.retention import Retention
from ..values.storage_classes import ARCHIVE_CLASSES, READABLE_CLASSES
from ..zfs.names import check_dataset_name, check_pool_name
from .size_checks import read_limits
from .value_readers import (
    choice,
    duration,
    endpoint,
    flag,
    list_of,
    matching,
    path,
    path_text,
    prefix,
    price,
    scalar,
    size,
    text,
    time_zone,
    whole,
)
from .yaml_nodes import Key, Keys, Node, parse_yaml, read_mapping, require

_HOST = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}"


def read_config(file: Path, content: bytes, *, writes: bool = True) -> Config:
    """Return the configuration in ``content``. Without ``writes`` it needs no recipient. ``file`` is named in errors.

    Raises ``ConfigError``.
    """
    root = parse_yaml(file, content)
    values = read_mapping(root, ROOT)
    require(root, ROOT, values, "base_dir")
    s3, local = values.get("s3"), values.get("local")
    if s3 and local:
        raise root.at("local").error(
            "is enabled, but `s3` is enabled too",
            "Set `enabled: false` in one of them; a second repository needs a second file",
        )
    if not s3 and not local:
        raise root.error("enables neither `s3` nor `local`", "Enable one of them")
    return Config(
        base_dir=values["base_dir"],
        log_dir=values.get("log_dir", values["base_dir"] / "logs"),
        host=values.get("host") or _default_host(root),
        recipients=_recipients(root, values, needed=writes),
        signing_key=values.get("signing_key"),
        trusted_signers=tuple(dict.fromkeys(values.get("trusted_signers", ()))),
        s3=s3,
        local=local,
        limits=read_limits(root, values, on_s3=s3 is not None),
        patience_s=values.get("patience"),
        retention=values.get("retention", Retention()),
        prices=values.get("prices", {}),
        tasks=values.get("tasks", ()),
    )


def _recipients(root: Node, values: dict[str, Any], *, needed: bool) -> tuple[str, ...]:
    single = [values["age_public_key"]] if "age_public_key" in values else []
    recipients = tuple(dict.fromkeys([*single, *values.get("age_recipients", ())]))
    if needed and not recipients:
        raise root.error("names no recipient", "Add a public key to `age_recipients`; `zrb genkey` creates a key pair")
    try:
        check_recipients(recipients)
    except BadRecipient as error:
        place = root.at("age_recipients" if "age_recipients" in values else "age_public_key")
        raise place.error(f"is not right: {error.problem}", error.next_step) from None
    return recipients


def _default_host(root: Node) -> str:
    """Return the short name of this machine. Machines that share a repository need different names."""
    name = socket.gethostname().partition(".")[0]
    if not re.fullmatch(_HOST, name) or name == "localhost":
        raise root.error(
            f"has no `host`, and the hostname {name!r} does not distinguish this machine from others",
            "Add `host: ` with a unique name for this machine",
        )
    return name


def _s3(node: Node) -> S3Settings | None:
    values = read_mapping(node, S3)
    if not values.pop("enabled", True):
        return None
    require(node, S3, values, "bucket")
    return S3Settings(**values.pop("retry", {}), **values)


def _local(node: Node) -> LocalSettings | None:
    values = read_mapping(node, LOCAL)
    if not values.pop("enabled", True):
        return None
    require(node, LOCAL, values, "path")
    return LocalSettings(**values)


def _retention(node: Node) -> Retention:
    if node.kind == "str" and node.yaml.value == "never":
        return Retention()
    values = read_mapping(node, RETENTION)
    if "keep_within" in values:
        values["keep_within_s"] = values.pop("keep_within")
    policy = Retention(**values)
    if policy.keeps_all:
        raise node.error(
            "names no rule, so that nothing would be kept", "Add one such as `keep_last`, or write `never`"
        )
    return policy


def _task(node: Node) -> Task:
    values = read_mapping(node, TASK)
    require(node, TASK, values, "name", "pool", "dataset")
    task = Task(**values)
    try:
        check_dataset_name(task.dataset_name)
    except UsageError as error:
        raise node.at("dataset").error(f"is not right: {error.problem}", error.next_step) from None
    if task.exclude and not task.recursive:
        raise node.at("exclude").error(
            "has no effect in a task that is not recursive", "Set `recursive: true`, or remove `exclude`"
        )
    return task


def _tasks(node: Node) -> tuple[Task, ...]:
    tasks = list_of(_task)(node)
    names: set[str] = set()
    for entry, task in zip(node.entries(), tasks, strict=True):
        if task.name in names:
            raise entry.error(f"has the same name as another task: {task.name!r}", "Give each task a different name")
        names.add(task.name)
    return tasks


_storage_class = choice(*READABLE_CLASSES, *ARCHIVE_CLASSES)
_count = whole(1, 100_000)

RETENTION: Keys = {
    "keep_last": Key(_count, "the newest so many backups of each dataset"),
    "keep_within": Key(duration, "all that are not older than this, counted from the newest"),
    "keep_hourly": Key(_count, "the newest of each of the last so many hours that have a backup"),
    "keep_daily": Key(_count, "of each day"),
    "keep_weekly": Key(_count, "of each week, which begins on Monday"),
    "keep_monthly": Key(_count, "of each month"),
    "keep_yearly": Key(_count, "of each year"),
    "time_zone": Key(time_zone, "in which days begin"),
}
PRICES: Keys = {
    name: Key(price, "of a GB for a month in this storage class") for name in (*READABLE_CLASSES, *ARCHIVE_CLASSES)
}
TASK: Keys = {
    "name": Key(matching(_NAME), "1 to 64 letters, digits and _ . : - ; part of the tag of holds, so keep it"),
    "description": Key(text, "for people"),
    "pool": Key(scalar(check_pool_name), "the name of the pool"),
    "dataset": Key(text, 'its name below the pool; "" for the root dataset of the pool', empty=""),
    "enabled": Key(flag, "false: only when --task names it"),
    "recursive": Key(flag, "true: all datasets below too, snapshots at one instant, a backup for each"),
    "exclude": Key(list_of(text), 'globs of dataset names that a recursive task leaves out, e.g. ["*/cache"]'),
    "snapshot_prefix": Key(matching(_NAME), "1 to 64 letters, digits and _ . : - ; {prefix}_level{N}_{UTC time}"),
    "take_snapshot": Key(flag, "false: send the newest snapshot with that prefix and level"),
    "raw": Key(choice("auto", "always", "never"), "auto: as it is on disk if the dataset is encrypted; always; never"),
    "retention": Key(_retention, "of this task alone, as above, or never; default: as above"),
}
STORAGE_CLASS: Keys = {
    "manifest": Key(choice(*READABLE_CLASSES), "not an archive class: a restore reads manifests first"),
    "backup_data": Key(list_of(_storage_class, least=1), "one per level, the last repeats"),
}
RETRY: Keys = {"max_attempts": Key(whole(1, 100), "of each request")}
S3: Keys = {
    "enabled": Key(flag, "exactly one of s3 and local is enabled"),
    "bucket": Key(matching(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}"), "3 to 63 letters, digits, dots and dashes"),
    "region": Key(matching(r"[A-Za-z0-9-]{1,64}"), "such as eu-central-1; us-east-1 for most other services"),
    "prefix": Key(prefix, "of all keys"),
    "endpoint": Key(endpoint, "leave out for AWS"),
    "ca_bundle": Key(path_text, "PEM file of your own CA, for a self-hosted endpoint"),
    "expected_bucket_owner": Key(
        matching(r"[0-9]{12}", kinds=("str", "int")), "12 digits of an AWS account, in quotes; others are refused"
    ),
    "checksums": Key(
        choice("auto", "required", "off"), "auto learns what the endpoint does; required insists; off sends none"
    ),
    "storage_class": Key(lambda node: StorageClasses(**read_mapping(node, STORAGE_CLASS)), ""),
    "retry": Key(lambda node: read_mapping(node, RETRY), ""),
    "profile": Key(text, "of the AWS credentials file"),
    "credentials_file": Key(path_text, "default: /etc/zrb/credentials if it exists, else the usual AWS chain"),
}
LOCAL: Keys = {
    "enabled": Key(flag, "exactly one of s3 and local is enabled"),
    "path": Key(path, "must exist: a disk that is not mounted must not be filled"),
}
ROOT: Keys = {
    "base_dir": Key(path, "directory for state, locks and spool"),
    "log_dir": Key(path, "default: logs below base_dir"),
    "host": Key(matching(_HOST), "this machine: 1 to 64 letters, digits and . _ - ; default: the short hostname"),
    "age_public_key": Key(scalar(check_recipient), "one more of age_recipients"),
    "age_recipients": Key(list_of(scalar(check_recipient)), "each can restore; one is needed, two are better"),
    "signing_key": Key(path, "signs manifests; needed to back up"),
    "trusted_signers": Key(list_of(scalar(check_signer)), "whose manifests count, besides those of signing_key"),
    "s3": Key(_s3, ""),
    "local": Key(_local, ""),
    "part_size": Key(size(), "plaintext bytes of one object; default: chosen for each backup"),
    "chunk_size": Key(size(), "one request; 5MiB at least on S3; default: chosen for each backup"),
    "memory_limit": Key(size(), "all buffers together"),
    "workers": Key(whole(1, 64), "uploads or downloads at once"),
    "bandwidth_limit": Key(size(least=0), "bytes per second for uploads; 0 is no limit"),
    "patience": Key(duration, "how long a run waits for an endpoint that is away; default: 6h, at a terminal 5m"),
    "proof": Key(flag, "decrypts again what a backup stores, to find bits that flip in memory"),
    "retention": Key(_retention, "which backups `zrb cleanup` keeps; the default, never, is never to remove any"),
    "prices": Key(lambda node: read_mapping(node, PRICES), "of a GB (10^9 bytes) for a month, by storage class"),
    "tasks": Key(_tasks, ""),
}
