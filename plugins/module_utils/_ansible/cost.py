# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Say for a module what a repository costs."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.run.context import Context
from .._engine.run.cost import cost_of_repository
from .engine_config import config_file_from
from .results import pass_on_warnings
from .s3_options import warn_if_unverified


def add_up(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``cost_info``. Raises what the engine raises."""
    params = module.params
    warn_if_unverified(module)
    context = Context.for_config(config_file_from(params))
    report = cost_of_repository(context, host=params["host"], most=params["most"])
    pass_on_warnings(module, (*(problem.explain() for problem in report.problems), *report.warnings))
    return {"changed": False, "cost": report.as_json()}
