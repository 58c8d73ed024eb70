# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of all modules. Twin of ``plugins/doc_fragments``, where what modules share is documented.

Hardly any has a default here: what is not given is left to the configuration file, or to the engine. Runs on any
Python that Ansible does: see ``argument_spec``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .argument_spec import ArgumentSpec

if TYPE_CHECKING:
    from .argument_spec import Option

_TEXT: Option = {"type": "str"}
_TEXTS: Option = {"type": "list", "elements": "str"}
_INT: Option = {"type": "int"}
_PATH: Option = {"type": "path"}
_LEVEL: Option = {"type": "int", "choices": [0, 1, 2, 3, 4]}

S3 = ArgumentSpec(
    options={
        "access_key": {"type": "str", "no_log": False},
        "secret_key": {"type": "str", "no_log": True},
        "session_token": {"type": "str", "no_log": True},
        "profile": {"type": "str"},
        "region": {"type": "str"},
        "endpoint_url": {"type": "str"},
        "aws_ca_bundle": {"type": "path"},
        "validate_certs": {"type": "bool", "default": True},
    },
    mutually_exclusive=(("profile", "access_key"),),
    required_together=(("access_key", "secret_key"),),
    required_by={"session_token": ("access_key",)},
)
"""A connection to S3, its options named as in amazon.aws."""

# What a configuration file says is not said again; the other options of a repository can go with one.
_INSTEAD_OF_CONFIG = ("repository", "bucket", "prefix", "expected_bucket_owner", "checksums", "base_dir")

REPOSITORY = S3 + ArgumentSpec(
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
        "workers": _INT,
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
        "keep_snapshots": _TEXT,
    },
    required_one_of=(("config", "recipients"), ("config", "signing_key")),
    required_by={
        **dict.fromkeys(("recipients", "signing_key", "part_size", "chunk_size", "raw"), ("dataset",)),
        **dict.fromkeys(("manifest_storage_class", "storage_classes"), ("bucket",)),
        **dict.fromkeys(("take_snapshot", "keep_snapshots"), ("dataset",)),
    },
)

_JOB = ArgumentSpec(
    options={
        "job_id": _TEXT,
        "wait_timeout": _INT,
    }
)

BACKUP = (
    REPOSITORY
    + _SOURCE
    + _WRITING
    + ArgumentSpec(
        options={
            "strict_level": {"type": "bool", "default": False},
            "unless_newer_than": _TEXT,
            "job": {"type": "dict", "default": {}},
        }
    )
    + _JOB
)
BACKUP_INFO = REPOSITORY + ArgumentSpec(
    options={
        "task": _TEXT,
        "dataset": _TEXT,
        "level": _LEVEL,
        "since": _TEXT,
        "until": _TEXT,
        "max_age": _TEXT,
        "query": _TEXT,
    },
    mutually_exclusive=(("task", "dataset"),),
    required_by={"task": ("config",)},
)
RESTORE = (
    REPOSITORY
    + _JOB
    + ArgumentSpec(
        options={
            "dataset": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
            "private_key": {"type": "path", "no_log": False},
            "level": _LEVEL,
            "backup_id": _TEXT,
            "at": _TEXT,
            "only": {"type": "bool", "default": False},
            "continue": {"type": "bool", "default": False},
            "allow_unsigned": {"type": "bool", "default": False},
        },
        mutually_exclusive=(("level", "backup_id", "at"),),
    )
)
VERIFY = (
    REPOSITORY
    + _JOB
    + ArgumentSpec(
        options={
            "task": _TEXT,
            "dataset": _TEXT,
            "level": _LEVEL,
            "backup_id": _TEXT,
            "depth": {"type": "str", "choices": ["signature", "exists", "checksum", "decrypt"], "default": "exists"},
            "subset": _TEXT,
            "private_key": {"type": "path", "no_log": False},
        },
        mutually_exclusive=(("task", "dataset"),),
        required_by={"task": ("config",)},
    )
)
CLEANUP = S3 + ArgumentSpec(
    options={
        "config": {"type": "path", "required": True},
        "task": _TEXT,
        "host": _TEXT,
        "max_removals": _INT,
        "pay_early_deletion": {"type": "bool", "default": False},
    }
)
COST_INFO = S3 + ArgumentSpec(
    options={"config": {"type": "path", "required": True}, "host": _TEXT, "most": {"type": "float"}}
)
JOB_INFO = ArgumentSpec(
    options={"config": _PATH, "base_dir": _PATH, "job_id": _TEXT}, mutually_exclusive=(("config", "base_dir"),)
)
SNAPSHOT = ArgumentSpec(options={"config": _PATH}) + _SOURCE
KEY_FILE = ArgumentSpec(
    options={
        "path": {"type": "path", "required": True},
        "type": {"type": "str", "choices": ["hybrid", "classic"], "default": "hybrid"},
    }
)

_RULE: dict[str, Option] = {
    "id": {"type": "str", "required": True},
    "enabled": {"type": "bool", "default": True},
    "prefix": {"type": "str", "default": ""},
    "tags": {"type": "dict", "default": {}},
    "object_size_greater_than": _INT,
    "object_size_less_than": _INT,
    "transitions": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"storage_class": {"type": "str", "required": True}, "days": _INT, "date": _TEXT},
        "mutually_exclusive": [("days", "date")],
        "required_one_of": [("days", "date")],
    },
    "noncurrent_version_transitions": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "storage_class": {"type": "str", "required": True},
            "days": {"type": "int", "required": True},
            "newer_noncurrent_versions": _INT,
        },
    },
    "expiration_days": _INT,
    "expiration_date": _TEXT,
    "expired_object_delete_marker": {"type": "bool"},
    "noncurrent_version_expiration_days": _INT,
    "newer_noncurrent_versions": _INT,
    "abort_incomplete_multipart_upload_days": _INT,
}

LIFECYCLE = S3 + ArgumentSpec(
    options={
        "bucket": {"type": "str", "required": True},
        "prefix": _TEXT,
        "expected_bucket_owner": {"type": "str", "default": ""},
        "rules": {"type": "list", "elements": "dict", "required": True, "options": _RULE},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "purge": {"type": "bool", "default": False},
        "wait": {"type": "bool", "default": True},
        "wait_timeout": {"type": "int", "default": 60},
    }
)
