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
from .._engine.values.lifecycle_rule import LifecycleRule
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
    before, after = ([dict(rule.options) for rule in rules] for rules in (plan.before, plan.after))
    result = {"changed": plan.changed, "bucket": params["bucket"], "rules": after}
    return result | {"diff": {"before": {"rules": before}, "after": {"rules": after}}}


def rule_from_options(options: Mapping[str, Any]) -> LifecycleRule:
    """One entry of the option ``rules``. Raises ``UsageError`` for a date that is none."""
    steps = [{**step, "date": _date(step["date"], options["id"])} for step in options["transitions"]]
    day = _date(options["expiration_date"], options["id"])
    return LifecycleRule.of({**options, "transitions": steps, "expiration_date": day})


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _date(text: str | None, rule_id: str) -> str | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(
            f"Rule {rule_id} has {text!r} for a date",
            subject="rules",
            answer=str(error),
            next_step="Write dates like 2027-01-31; S3 takes them at midnight UTC",
        ) from error
