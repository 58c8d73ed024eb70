# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the configuration may say: every key with what reads it, and which values go together."""

from __future__ import annotations

import re
import socket
from pathlib import PurePosixPath

from ..errors import UsageError
from ..seal.age import check_recipient
from ..seal.signing import check_signer
from ..values.config import Config, LocalSettings, S3Settings, StorageClasses, Task
from ..zfs.names import check_dataset_name, check_pool_name
from .config_schema_limits import read_limits
from .config_schema_nodes import Place, Read, Section, read_section
from .config_schema_values import (
    absolute_path,
    any_text,
    bucket_owner,
    checked,
    choice,
    endpoint,
    flag,
    list_of,
    manifest_class,
    matching,
    optional_path,
    path_text,
    prefix,
    size,
    storage_class,
    text,
    whole,
)

_HOST = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def read_config(root: Place, *, writes: bool = True) -> Config:
    """The configuration whose document has ``root``; one that never ``writes`` needs no recipient.

    Raises ``ConfigError``.
    """
    section = read_section(root, _ROOT)
    values = section.values
    s3, local = _storage(section)
    base_dir: PurePosixPath = section.need("base_dir", "Give a directory for state, locks and spool: /var/lib/zrb")
    return Config(
        base_dir=base_dir,
        log_dir=values.get("log_dir") or base_dir / "logs",
        host=values.get("host") or _default_host(root),
        recipients=_recipients(section, needed=writes),
        signing_key=values.get("signing_key"),
        trusted_signers=tuple(dict.fromkeys(values.get("trusted_signers", ()))),
        s3=s3,
        local=local,
        limits=read_limits(section, on_s3=s3 is not None),
        tasks=values.get("tasks", ()),
    )


def _s3(place: Place) -> S3Settings | None:
    section = read_section(place, _S3)
    # What is left empty means the default, as in the files of the Go tool.
    values = {key: value for key, value in section.values.items() if value != ""}
    enabled, retry = values.pop("enabled", True), values.pop("retry", {})
    if not enabled:
        return None
    section.need("bucket", "Name the bucket, or set `enabled: false`")
    return S3Settings(**values, **retry)


def _local(place: Place) -> LocalSettings | None:
    section = read_section(place, _LOCAL)
    if not section.values.get("enabled", True):
        return None
    return LocalSettings(section.need("path", "Name the directory, or set `enabled: false`"))


def _storage_class(place: Place) -> StorageClasses:
    return StorageClasses(**read_section(place, _STORAGE_CLASS).values)


def _storage(section: Section) -> tuple[S3Settings | None, LocalSettings | None]:
    s3, local = section.values.get("s3"), section.values.get("local")
    if s3 is not None and local is not None:
        raise section.where("local").error(
            "is enabled, and `s3` too",
            "Set `enabled: false` in one of the two; a second repository needs a second file",
        )
    if s3 is None and local is None:
        raise section.place.error("enables neither `s3` nor `local`", "Enable the one where the backups are to go")
    return s3, local


def _recipients(section: Section, *, needed: bool) -> tuple[str, ...]:
    single = section.values.get("age_public_key", "")
    recipients = dict.fromkeys([*([single] if single else []), *section.values.get("age_recipients", ())])
    if needed and not recipients:
        raise section.place.error("names no recipient", "Give `age_recipients` a public key; `zrb genkey` makes a pair")
    return tuple(recipients)


def _default_host(root: Place) -> str:
    """The short name of this machine: every machine that shares a repository needs one of its own."""
    name = socket.gethostname().partition(".")[0]
    if not re.fullmatch(_HOST, name) or name == "localhost":
        raise root.error(
            f"has no `host`, and this machine is called {name!r}, which does not tell it from others",
            "Add `host: ` and a name of its own for this machine",
        )
    return name


def _task(place: Place) -> Task:
    section = read_section(place, _TASK)
    for key in ("name", "pool"):
        section.need(key, "A task has `name`, `pool` and `dataset`")
    if "dataset" not in section.places:
        raise place.error("lacks the key `dataset`", 'Name it without its pool; the root dataset of a pool is ""')
    task = Task(**{key: value for key, value in section.values.items() if value != "" or key == "dataset"})
    try:
        check_dataset_name(task.dataset_name)
    except UsageError as error:
        raise section.where("dataset").error(f"is not right: {error.problem}", error.next_step) from None
    if task.exclude and not task.recursive:
        raise section.where("exclude").error(
            "has no meaning in a task that is not recursive", "Set `recursive: true`, or take `exclude` out"
        )
    return task


def _tasks(place: Place) -> tuple[Task, ...]:
    tasks = list_of(_task)(place)
    names: set[str] = set()
    for number, task in enumerate(tasks):
        if task.name in names:
            raise place.entry(number).error(
                f"is a second task with the name {task.name!r}", "Give each task a name of its own"
            )
        names.add(task.name)
    return tasks


_TASK: dict[str, Read] = {
    "name": matching(
        r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}",
        "A task's name has 1 to 64 letters, digits and _ . : - , as it is part of a hold's tag",
    ),
    "description": any_text,
    "pool": checked(check_pool_name),
    "dataset": any_text,
    "enabled": flag,
    "recursive": flag,
    "exclude": list_of(text),
    "snapshot_prefix": matching(
        r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", "A prefix has 1 to 64 letters, digits and _ . : -", empty=True
    ),
    "take_snapshot": flag,
    "raw": choice("auto", "always", "never"),
}
_STORAGE_CLASS: dict[str, Read] = {"manifest": manifest_class, "backup_data": list_of(storage_class, least=1)}
_RETRY: dict[str, Read] = {"max_attempts": whole(1, 100)}
_S3: dict[str, Read] = {
    "enabled": flag,
    "bucket": matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", "A bucket's name has 3 to 63 letters, digits, dots and dashes", empty=True
    ),
    "region": matching(
        r"[A-Za-z0-9-]{1,64}", "A region looks like eu-central-1; most other services take us-east-1", empty=True
    ),
    "prefix": prefix,
    "endpoint": endpoint,
    "ca_bundle": path_text,
    "expected_bucket_owner": bucket_owner,
    "checksums": choice("auto", "required", "off"),
    "storage_class": _storage_class,
    "retry": lambda place: read_section(place, _RETRY).values,
    "profile": any_text,
    "credentials_file": path_text,
}
_LOCAL: dict[str, Read] = {"enabled": flag, "path": optional_path}
_ROOT: dict[str, Read] = {
    "base_dir": absolute_path,
    "log_dir": optional_path,
    "host": matching(_HOST, "A host's name has 1 to 64 letters, digits, dots, dashes and underscores", empty=True),
    "age_public_key": checked(check_recipient, empty=True),
    "age_recipients": list_of(checked(check_recipient)),
    "signing_key": optional_path,
    "trusted_signers": list_of(checked(check_signer)),
    "s3": _s3,
    "local": _local,
    "part_size": size(),
    "chunk_size": size(),
    "memory_limit": size(),
    "workers": whole(1, 64),
    "bandwidth_limit": size(zero=True),
    "tasks": _tasks,
}
