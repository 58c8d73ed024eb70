# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs: commands that run on when whoever started them has gone. What other rooms may use is named here."""

from __future__ import annotations

from .detached import JobOutput, start_job
from .jobs import ListedJob, cancel, follow, job_result, list_jobs, look_at, tell, untold_job, wait_for

__all__ = [
    "JobOutput",
    "ListedJob",
    "cancel",
    "follow",
    "job_result",
    "list_jobs",
    "look_at",
    "start_job",
    "tell",
    "untold_job",
    "wait_for",
]
