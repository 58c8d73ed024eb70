#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.job_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: List the jobs of a machine, and the result of one
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Lists the runs that C(zrb) has started as jobs with C(--detach) on the machine, which go on when the connection or
    the controller is gone.
  - With O(job_id), also returns the result of one that has ended.
extends_documentation_fragment:
  - zrb.fleet.attributes
  - zrb.fleet.attributes.group_config
  - zrb.fleet.attributes.info
options:
  config:
    description:
      - Configuration file of the C(zrb) command, which says where jobs are kept.
    type: path
  base_dir:
    description:
      - Directory for state, below which jobs are kept.
      - If unset, that in O(config), or V(/var/lib/zrb).
    type: path
  job_id:
    description:
      - Only this job. One that does not exist is a failure.
    type: str
requirements:
  - python >= 3.11
  - bitmath >= 2.0, for O(config)
  - blake3 >= 1.0, for O(config)
  - cryptography >= 48, for O(config)
  - PyYAML >= 6.0, for O(config)
"""

EXAMPLES = r"""
- name: List the jobs
  zrb.fleet.job_info:
    config: /etc/zrb/config.yaml
  register: found

- name: Fail if one was killed, or was lost because the machine was restarted
  ansible.builtin.assert:
    that: found.jobs | selectattr('state', 'equalto', 'lost') | length == 0
"""

RETURN = r"""
jobs:
  description: The jobs, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    job_id:
      description: Id of the job.
      type: str
      sample: 20260131T020000Z-5d41
    command:
      description: What it does.
      type: str
      sample: zrb backup --level 1 --detach
    started:
      description: When it was started.
      type: str
      sample: "2026-01-31T02:00:00Z"
    state:
      description: Whether it runs, has ended, or was lost - V(running), V(ended), V(lost).
      type: str
      sample: running
    pid:
      description: Id of its process.
      type: int
      sample: 4711
    exit_code:
      description: Its exit code, or V(null) if it has none.
      type: int
      sample: 0
    progress:
      description: How far it is, or V(null) if it has not said so yet.
      type: dict
      sample:
        operation: backup
        phase: upload
        current: 123
        total: 456
        message: ""
result:
  description: What the job returned. Of a command that is its JSON document.
  returned: if O(job_id) is given and the job has ended
  type: dict
  sample:
    exit_code: 0
    results: []
    failures: []
error:
  description: Kind of the failure, such as V(NoSuchJob).
  returned: failure
  type: str
  sample: NoSuchJob
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 6
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: There is no job 'sunday'
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: sunday
answer:
  description: What the operating system said.
  returned: failure
  type: str
  sample: ""
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Leave job_id out to list all that there are
"""

from ..module_utils._ansible.arguments import JOB_INFO
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = JOB_INFO.create_module()
    libraries = ["bitmath", "blake3", "cryptography", "yaml"]
    require(module, *(libraries if module.params["config"] is not None else []))
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.jobs import list_or_look

    end(module, list_or_look)


if __name__ == "__main__":
    main()
