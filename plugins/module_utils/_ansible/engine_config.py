# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module parameters become the engine's configuration.

Explicit options are put into the document of a configuration file, and read by what reads those files: the same
rules, the same messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .._engine.config.file import load_config
from .._engine.config.schema import read_config
from .._engine.config.tasks import find_tasks
from .._engine.errors import ConfigError
from .._engine.values.config import Config, S3Credentials, S3Settings, Task

Params = Mapping[str, Any]

DEFAULT_BASE_DIR = "/var/lib/zrb"

_ROOT = {
    **{name: name for name in ("base_dir", "host", "trusted_signers", "signing_key", "part_size", "chunk_size")},
    **{name: name for name in ("memory_limit", "workers", "bandwidth_limit", "keep_snapshots")},
    "age_recipients": "recipients",
}
_S3 = {
    **{name: name for name in ("bucket", "region", "prefix", "profile", "expected_bucket_owner", "checksums")},
    "endpoint": "endpoint_url",
    "ca_bundle": "aws_ca_bundle",
}
_STORAGE_CLASS = {"manifest": "manifest_storage_class", "backup_data": "storage_classes"}
_TASK = {name: name for name in ("recursive", "exclude", "snapshot_prefix", "take_snapshot", "raw")}
"""Keys of the document, each with the option that it stands for."""

_OPTIONS = _ROOT | _S3 | _STORAGE_CLASS

_SIZES = {"part_size", "chunk_size", "memory_limit", "bandwidth_limit"}

_FILE = Path("options")
_QUOTED_KEY = re.compile(r"`(\w+)`")
_COMPLAINT = re.compile(r"options:1: (?:`(?P<key>[^`]*)`|the file)")


def config_from(params: Params) -> Config:
    """The configuration that ``config`` names, and what is given besides; or that of the explicit options.

    Raises ``ConfigError``.
    """
    document = _document(params)
    if params["config"] is None:
        return _with_secrets(_read(document, writes="recipients" in params), params)
    config = load_config(Path(params["config"]))
    document.setdefault("base_dir", str(config.base_dir))
    # Sizes have to fit each other, those of the file and those that are given.
    for field in fields(config.limits):
        value = getattr(config.limits, field.name)
        if value != 0 or value is False:  # 0 stands for what the file leaves out
            document.setdefault(field.name, value)
    if config.s3 is not None:
        document["s3"] = {"bucket": config.s3.bucket, **_given(params, _S3)}
    else:
        document["local"] = {"path": "/"}
    given = _read(document, writes=False)
    config = replace(
        config,
        host=given.host if params["host"] is not None else config.host,
        limits=given.limits,
        trusted_signers=tuple(dict.fromkeys((*config.trusted_signers, *given.trusted_signers))),
        s3=_overridden(config.s3, given.s3, params) if config.s3 and given.s3 else None,
    )
    return _with_secrets(config, params)


def config_file_from(params: Params) -> Config:
    """The configuration that ``config`` names, which needs no recipient, with the S3 connection of the options. Raises
    ``ConfigError``."""
    config = load_config(Path(params["config"]), writes=False)
    if config.s3 is None:
        return config
    document = {
        "base_dir": str(config.base_dir),
        "host": "any",
        "s3": {"bucket": config.s3.bucket, **_given(params, _S3)},
    }
    given = _read(document, writes=False)
    return _with_secrets(replace(config, s3=_overridden(config.s3, given.s3 or config.s3, params)), params)


def task_from(params: Params, config: Config) -> Task:
    """The task that ``task`` names, or that of ``dataset``. Raises ``NoSuchTask``."""
    return find_tasks(config, [params["task"]])[0] if params["task"] is not None else config.tasks[0]


def snapshot_config_from(params: Params) -> Config:
    """The configuration for a snapshot, which knows of no repository. Raises ``ConfigError``."""
    if params["config"] is not None:
        return load_config(Path(params["config"]))
    document = {"base_dir": DEFAULT_BASE_DIR, "host": "any", "local": {"path": "/"}, "tasks": [_task(params)]}
    return _read(document, writes=False)


def dataset_task(dataset: str) -> Task:
    """A task for this one dataset (full name), without a name of its own."""
    pool, _separator, below = dataset.partition("/")
    return Task(name="", pool=pool, dataset=below)


def _document(params: Params) -> dict[str, Any]:
    document = _given(params, _ROOT)
    if params["config"] is not None:
        return document
    document.setdefault("base_dir", DEFAULT_BASE_DIR)
    if params["bucket"] is not None:
        document["s3"] = _given(params, _S3)
        storage_class = _given(params, _STORAGE_CLASS)
        if storage_class:
            document["s3"]["storage_class"] = storage_class
    else:
        document["local"] = {"path": params["repository"]}
    if "level" in params and "recipients" in params:
        document["tasks"] = [_task(params)]
    return document


def _task(params: Params) -> dict[str, Any]:
    dataset: str = params["dataset"]
    pool, _separator, below = dataset.partition("/")
    name = re.sub(r"[^A-Za-z0-9_.:-]", "-", dataset).lstrip("-.:")[:64] or "_"
    # An empty pool would count as left out; a slash is refused as the name of one.
    return {"name": name, "pool": pool or "/", "dataset": below, **_given(params, _TASK)}


def _given(params: Params, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: _number_if_size(option, params[option]) for key, option in names.items() if params.get(option) is not None
    }


def _number_if_size(option: str, value: Any) -> Any:
    # Ansible hands over a number of bytes as text; in a file it is a number.
    return int(value) if option in _SIZES and re.fullmatch("[0-9]{1,18}", value) else value


def _read(document: dict[str, Any], *, writes: bool) -> Config:
    # JSON is YAML, and whatever the options hold cannot become syntax.
    data = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")
    try:
        return read_config(_FILE, data, writes=writes)
    except ConfigError as error:
        raise _about_options(error) from error


def _about_options(error: ConfigError) -> ConfigError:
    """The complaint in terms of the module's options."""
    match = _COMPLAINT.match(error.problem)
    if match is None:
        return error
    option = _option_of(match["key"] or "")
    what = f"The option {option}" if option else "The set of options"
    return ConfigError(
        what + error.problem[match.end() :],
        subject=option,
        answer=error.answer,
        next_step=_QUOTED_KEY.sub(lambda found: f"`{_OPTIONS.get(found[1], found[1])}`", error.next_step),
    )


def _option_of(key: str) -> str:
    section, _separator, name = key.rpartition(".")
    if key == "local.path":
        return "repository"
    if section.startswith("tasks") and name not in _TASK:
        return "dataset"
    if section.endswith("storage_class"):
        return _STORAGE_CLASS[re.sub(r"\[.*", "", name)]
    table = _S3 if section.startswith("s3") else _ROOT
    return table.get(re.sub(r"\[.*", "", name), name)


def _overridden(settings: S3Settings, given: S3Settings, params: Params) -> S3Settings:
    return replace(settings, **{key: getattr(given, key) for key in _given(params, _S3)})


def _with_secrets(config: Config, params: Params) -> Config:
    """With credentials and what only a module's caller may say; both are in no file."""
    if config.s3 is None:
        return config
    credentials = config.s3.credentials
    if params["access_key"] is not None:
        credentials = S3Credentials(params["access_key"], params["secret_key"], params["session_token"])
    return replace(config, s3=replace(config.s3, validate_certs=params["validate_certs"], credentials=credentials))
