# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The action of modules whose work is a job: what it asks, what it shows, and what it does if nobody answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.utils.display import Display

from plugins.plugin_utils import _job_action
from plugins.plugin_utils._job_action import PAUSES_S, JobAction

LOST = AnsibleConnectionFailure("gone")
DONE = {"changed": True, "backups": []}


def running(current: int, phase: str = "upload") -> dict[str, Any]:
    progress = {"operation": "backup", "phase": phase, "current": current, "total": 1000, "message": ""}
    return {
        "changed": False,
        "job": {"job_id": "one", "command": "zfs_backup tank/home", "state": "running", "progress": progress},
    }


class Scripted(JobAction):
    """Gets its answers from a list."""

    def __init__(self, answers: list[Any], **task: Any) -> None:
        given = {"async_val": 0, "check_mode": False, "no_log": False, "args": {"level": 0}, "diff": False}
        self._task: Any = SimpleNamespace(**{**given, **task})
        self._connection: Any = SimpleNamespace(has_native_async=False, _shell=SimpleNamespace(tmpdir="/tmp"))
        self._answers = answers
        self.asked: list[dict[str, Any]] = []

    def _early_needs_tmp_path(self) -> bool:
        return False

    def _execute_module(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines; nobody waits."""
    lines: list[str] = []
    monkeypatch.setattr(Display(), "display", lambda line, *_args, **_more: lines.append(line))
    monkeypatch.setattr(_job_action.time, "sleep", lambda _seconds: None)
    return lines


def run(action: Scripted) -> dict[str, Any]:
    return action.run(task_vars={"inventory_hostname": "nas1"})


def test_lines_come_with_the_host_for_each_phase_and_step(shown: list[str]) -> None:
    action = Scripted([running(10), running(30), running(100), running(101), running(101, "commit"), DONE])
    result = run(action)
    assert {name: result[name] for name in DONE} == DONE
    assert [line.split(": ", 1)[0] for line in shown] == ["nas1"] * 4
    assert "job one" in shown[0]
    assert ["upload 1 %" in shown[1], "upload 10 %" in shown[2], "commit 10 %" in shown[3]] == [True] * 3
    first, *others = [asked["module_args"] for asked in action.asked]
    assert first.keys() == {"level", "wait_timeout"}
    assert [asked["job_id"] for asked in others] == ["one"] * 5, "never begins anew"


def test_a_connection_that_comes_back_is_used(shown: list[str]) -> None:
    assert run(Scripted([running(10), LOST, LOST, running(20), DONE]))["changed"] is True
    assert sum("connection" in line for line in shown) == 2


def test_a_connection_that_does_not_come_back_is_unreachable(shown: list[str]) -> None:
    with pytest.raises(AnsibleConnectionFailure):
        run(Scripted([running(10), *([LOST] * (len(PAUSES_S) + 1))]))
    assert sum("connection" in line for line in shown) == len(PAUSES_S)


def test_a_host_that_was_never_reached_is_unreachable_at_once(shown: list[str]) -> None:
    with pytest.raises(AnsibleConnectionFailure):
        run(Scripted([LOST]))
    assert shown == []


def test_no_log_shows_nothing_of_the_job(shown: list[str]) -> None:
    run(Scripted([running(10), running(900), DONE], no_log=True))
    assert shown == []


@pytest.mark.parametrize("task", [{"check_mode": True}, {"async_val": 60}, {"args": {"wait_timeout": 0}}])
def test_what_waits_for_nothing_asks_once(shown: list[str], task: dict[str, Any]) -> None:
    action = Scripted([DONE], **task)
    assert run(action)["changed"] is True
    assert [(asked.get("module_args"), asked["wrap_async"]) for asked in action.asked] == [(None, "async_val" in task)]
    assert shown == []
