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
      - Wait this many seconds for the job. If it still runs then, leave it alone and return RV(ignore:job). Ask with
        O(job_id) for its result.
      - If unset, wait until the job has ended.
    type: int
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the
      controller.
    support: full
  async:
    description: Supports being used with the C(async) keyword.
    support: full
    details:
      - Rarely needed, since the work goes on without the controller anyway. If C(async) ends the module after too long
        a time, the job goes on.
notes:
  - Outside check mode, and if there is something to do, the work is a job on the machine. It goes on and ends by itself
    if the connection or the controller is lost. The same task run again attaches to it.
  - The result of a job that ended well when no task waited for it is returned by the same task within six hours, once.
    After a job that failed or was killed, the same task says so and begins anew.
  - While the job runs, its progress is shown every 30 seconds or 5 percent. With C(async), O(wait_timeout) or
    O(ignore:no_log=true), nothing of it is shown.
"""
