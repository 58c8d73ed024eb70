# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look at jobs for a module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.config.file import load_config
from .._engine.run.jobs import job_result, list_jobs, look_at
from .engine_config import DEFAULT_BASE_DIR


def list_or_look(module: AnsibleModule) -> dict[str, Any]:
    """The result of ``job_info``. Raises what the engine raises."""
    config, base_dir, job_id = (module.params[name] for name in ("config", "base_dir", "job_id"))
    place = Path(load_config(Path(config), writes=False).base_dir if config else base_dir or DEFAULT_BASE_DIR)
    if job_id is None:
        return {"changed": False, "jobs": [job.as_json() for job in list_jobs(place)]}
    job = look_at(place, job_id)
    result: dict[str, Any] = {"changed": False, "jobs": [job.as_json()]}
    if job.state == "ended":
        result["result"] = job_result(place, job_id)["document"]
    return result
