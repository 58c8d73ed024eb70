# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lifecycle rules of a bucket for a module."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.errors import UsageError
from .._engine.run.lifecycle import (
    LifecycleRequest,
    ReadsUntilStable,
    apply_bucket_lifecycle,
    open_bucket_lifecycle,
    plan_bucket_lifecycle,
)
from .._engine.values.lifecycle import (
    LifecycleRule,
    NoncurrentTransition,
    RuleFilter,
    Transition,
    ordered_noncurrent,
    ordered_transitions,
)
from .results import pass_on_warnings
from .s3_options import s3_settings, warn_if_unverified


def ensure_lifecycle(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``s3_lifecycle``. Raises what the engine raises."""
    params = module.params
    warn_if_unverified(module)
    request = LifecycleRequest(
        rules=tuple(rule_from_options(options) for options in params["rules"]),
        state=params["state"],
        purge=params["purge"],
        repository_prefix=None if params["prefix"] is None else _with_slash(params["prefix"]),
    )
    settings = s3_settings(params, bucket=params["bucket"], expected_bucket_owner=params["expected_bucket_owner"])
    with open_bucket_lifecycle(settings) as bucket:
        plan = plan_bucket_lifecycle(bucket, request)
        pass_on_warnings(module, plan.warnings)
        if not module.check_mode:
            reads = ReadsUntilStable(timeout_s=params["wait_timeout"]) if params["wait"] else None
            pass_on_warnings(module, apply_bucket_lifecycle(bucket, plan, reads=reads))
    before, after = ([rule.as_json() for rule in rules] for rules in (plan.before, plan.after))
    result = {"changed": plan.changed, "bucket": params["bucket"], "rules": after}
    return result | {"diff": {"before": {"rules": before}, "after": {"rules": after}}}


def rule_from_options(options: Mapping[str, Any]) -> LifecycleRule:
    """One entry of the option ``rules``. Raises ``UsageError`` for a date that is none."""
    return LifecycleRule(
        id=options["id"],
        enabled=options["enabled"],
        filter=RuleFilter(
            prefix=options["prefix"],
            tags=tuple(sorted((str(key), str(value)) for key, value in options["tags"].items())),
            size_greater_than=options["object_size_greater_than"],
            size_less_than=options["object_size_less_than"],
        ),
        transitions=ordered_transitions(
            [
                Transition(entry["storage_class"], days=entry["days"], day=_date(entry["date"], options["id"]))
                for entry in options["transitions"]
            ]
        ),
        noncurrent_transitions=ordered_noncurrent(
            [
                NoncurrentTransition(entry["storage_class"], entry["days"], entry["newer_noncurrent_versions"])
                for entry in options["noncurrent_version_transitions"]
            ]
        ),
        expiration_days=options["expiration_days"],
        expiration_day=_date(options["expiration_date"], options["id"]),
        expired_object_delete_marker=options["expired_object_delete_marker"] or None,
        noncurrent_expiration_days=options["noncurrent_version_expiration_days"],
        newer_noncurrent_versions=options["newer_noncurrent_versions"],
        abort_days=options["abort_incomplete_multipart_upload_days"],
    )


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _date(text: str | None, rule_id: str) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"Rule {rule_id} has {text!r} for a date",
            subject="rules",
            answer=str(error),
            next_step="Write dates like 2027-01-31; S3 takes them at midnight UTC",
        ) from error
