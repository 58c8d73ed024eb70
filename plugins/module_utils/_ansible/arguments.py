# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that modules share, and the specification of each module that uses them. Twin of
``plugins/doc_fragments/engine.py``.

Hardly any has a default here: what is not given is left to the configuration file, or to the engine.
"""

from __future__ import annotations

from .argument_spec import ArgumentSpec, Option
from .s3_options import S3

_TEXT: Option = {"type": "str"}
_TEXTS: Option = {"type": "list", "elements": "str"}
_PATH: Option = {"type": "path"}
_LEVEL: Option = {"type": "int", "choices": [0, 1, 2, 3, 4]}

# Options that say what a configuration file says too; host, trusted_signers and the S3 connection can go with one.
_INSTEAD_OF_CONFIG = (
    *("repository", "bucket", "prefix", "expected_bucket_owner", "checksums", "base_dir"),
    *("memory_limit", "workers", "bandwidth_limit"),
)

_REPOSITORY = S3 + ArgumentSpec(
    options={
        "config": _PATH,
        "repository": _PATH,
        "bucket": _TEXT,
        "prefix": _TEXT,
        "expected_bucket_owner": _TEXT,
        "checksums": {"type": "str", "choices": ["auto", "required", "off"]},
        "host": _TEXT,
        "base_dir": _PATH,
        "trusted_signers": _TEXTS,
        "memory_limit": _TEXT,
        "workers": {"type": "int"},
        "bandwidth_limit": _TEXT,
    },
    mutually_exclusive=(("repository", "bucket"), *(("config", name) for name in _INSTEAD_OF_CONFIG)),
    required_one_of=(("config", "repository", "bucket"),),
    required_by=dict.fromkeys(("prefix", "expected_bucket_owner", "checksums"), ("bucket",)),
)

_SOURCE = ArgumentSpec(
    options={
        "task": _TEXT,
        "dataset": _TEXT,
        "recursive": {"type": "bool"},
        "exclude": _TEXTS,
        "snapshot_prefix": _TEXT,
        "level": {**_LEVEL, "required": True},
    },
    mutually_exclusive=(("task", "dataset"), ("config", "dataset")),
    required_one_of=(("task", "dataset"),),
    required_by={
        "task": ("config",),
        **dict.fromkeys(("recursive", "exclude", "snapshot_prefix"), ("dataset",)),
    },
)

_WRITING = ArgumentSpec(
    options={
        "recipients": _TEXTS,
        # The path of a key, and no secret itself.
        "signing_key": {"type": "path", "no_log": False},
        "manifest_storage_class": _TEXT,
        "storage_classes": _TEXTS,
        "part_size": _TEXT,
        "chunk_size": _TEXT,
        "raw": {"type": "str", "choices": ["auto", "always", "never"]},
        "take_snapshot": {"type": "bool"},
    },
    required_one_of=(("config", "recipients"), ("config", "signing_key")),
    required_by={
        **dict.fromkeys(("recipients", "signing_key", "part_size", "chunk_size", "raw"), ("dataset",)),
        **dict.fromkeys(("manifest_storage_class", "storage_classes"), ("bucket",)),
        "take_snapshot": ("dataset",),
    },
)

BACKUP = (
    _REPOSITORY
    + _SOURCE
    + _WRITING
    + ArgumentSpec(
        options={
            "strict_level": {"type": "bool", "default": False},
            "unless_newer_than": _TEXT,
            "job": {"type": "dict", "default": {}},
        }
    )
)
BACKUP_INFO = _REPOSITORY + ArgumentSpec(
    options={"task": _TEXT, "dataset": _TEXT, "level": _LEVEL, "since": _TEXT, "until": _TEXT, "query": _TEXT},
    mutually_exclusive=(("task", "dataset"),),
    required_by={"task": ("config",)},
)
RESTORE = _REPOSITORY + ArgumentSpec(
    options={
        "dataset": {"type": "str", "required": True},
        "target": {"type": "str", "required": True},
        "private_key": {"type": "path", "no_log": False},
        "level": _LEVEL,
        "backup_id": _TEXT,
        "at": _TEXT,
        "only": {"type": "bool", "default": False},
        "allow_unsigned": {"type": "bool", "default": False},
    },
    mutually_exclusive=(("level", "backup_id", "at"),),
)
SNAPSHOT = ArgumentSpec(options={"config": _PATH}) + _SOURCE
