# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of modules whose work is a job. Twin of ``module_utils/_ansible/arguments.py``."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as ``zrb.fleet.job``."""

    DOCUMENTATION = r"""
options:
  job_id:
    description:
      - Attach to this job, or return its result if it has ended. Nothing new is started.
      - See M(zrb.fleet.job_info) for the jobs that there are.
    type: str
  wait_timeout:
    description:
      - Wait this many seconds for the job. If it still runs then, leave it alone and return RV(ignore:job).
      - If unset, wait until the job has ended.
    type: int
notes:
  - Outside check mode, the work is a job on the machine. It goes on and ends by itself if the connection or the
    controller is lost. The same task run again attaches to a job that is still at the same work.
  - While the job runs, its progress is shown every 30 seconds or 5 percent. With C(async), O(wait_timeout) or
    O(ignore:no_log=true), nothing of it is shown.
"""
