# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of modules whose work is a job: shows how far the job is, until it has ended."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.text.formatters import bytes_to_human
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

FIRST_WAIT_S, WAIT_S = 3, 10
"""How long one call of the module waits for the job."""
SHOWN_EVERY_S, SHOWN_EVERY_PERCENT = 30.0, 5
PAUSES_S = (5, 10, 20, 40, 60, 60)
"""After a lost connection. Then the host is unreachable, and the job goes on."""
_NO_ANSWER = "module_stdout"
"""Ansible returns this if the module, or what carried it to the host, was killed before it said a word."""


class JobAction(ActionBase):
    """Calls the module until the job has ended, and returns what the job has returned."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        result = super().run(tmp, task_vars)
        if self._task.async_val or self._task.check_mode or self._task.args.get("wait_timeout") is not None:
            wrap = bool(self._task.async_val) and not self._connection.has_native_async
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=wrap)}
        shown = _Shown(str((task_vars or {}).get("inventory_hostname", "")))
        arguments = {**self._task.args, "wait_timeout": FIRST_WAIT_S}
        while True:
            answer = self._ask(arguments, task_vars, shown)
            job = answer.get("job")
            if not isinstance(job, dict) or job.get("state") != "running":
                return {**result, **answer}
            if not self._task.no_log:
                shown.show(job)
            arguments = {**self._task.args, "wait_timeout": WAIT_S, "job_id": job["job_id"]}

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None, shown: _Shown) -> dict[str, Any]:
        for pause_s in PAUSES_S if "job_id" in arguments else ():
            with suppress(AnsibleConnectionFailure):
                answer = dict(self._execute_module(module_args=arguments, task_vars=task_vars))
                if _NO_ANSWER not in answer:
                    return answer
            shown.say(f"the connection is lost, the job goes on; next try in {pause_s} s")
            time.sleep(pause_s)
        return dict(self._execute_module(module_args=arguments, task_vars=task_vars))


class _Shown:
    """What was shown of a job of one host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._at: float | None = None
        self._phase = ""
        self._percent = 0

    def show(self, job: dict[str, Any]) -> None:
        """Show how far the job is, if that is due."""
        if self._at is None:
            self.say(f"{job['command']} runs as job {job['job_id']}")
        progress, now = job.get("progress") or {}, time.monotonic()
        current, total, phase = progress.get("current"), progress.get("total"), str(progress.get("phase") or "")
        percent = 100 * current // total if current and total else 0
        due = self._at is None or now - self._at >= SHOWN_EVERY_S or phase != self._phase
        if due or abs(percent - self._percent) >= SHOWN_EVERY_PERCENT:
            self._at, self._phase, self._percent = now, phase, percent
            if isinstance(current, int):
                of = f"{percent} % of {bytes_to_human(total)}" if total else bytes_to_human(current)
                self.say(f"{job['command']}: {phase} {of}")

    def say(self, text: str) -> None:
        """Show a line."""
        Display().display(f"{self._host}: {text}")
