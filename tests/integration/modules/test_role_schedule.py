# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role schedule, applied to directories instead of /etc: what lands there, and what is refused.

Cron and systemd themselves start runs in tests/fleet.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tests.integration.modules.conftest import Ansible

ROLE = Path(__file__).resolve().parents[3] / "roles/schedule"
BARE = ["bin", "config.yaml", "state"]
QUARTER = {"name": "quarter", "level": 2, "tasks": ["home", "m%l"], "cron": "*/15 * * * *", "calendar": "*:0/15"}
TIDY = {"name": "tidy", "action": "cleanup", "cron": "30 4 * * sun", "options": ["--max-removals=9", "--host=%"]}
DAILY = {"name": "x", "level": 0, "cron": "0 2 * * *"}
SYSTEMD = {"schedule_provider": "systemd"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hour": ({"schedule_runs": [{**DAILY, "cron": "0 25 * * *"}]}, "'25' is no hour"),
    "no-cron": ({"schedule_runs": [{"name": "x", "level": 0, "calendar": "daily"}]}, "cron in one line"),
    "lines": ({"schedule_runs": [{**DAILY, "cron": "0 2 * * *\n* * * * * root reboot #"}]}, "cron in one line"),
    "option": ({"schedule_runs": [{**TIDY, "options": ["--host=a\nb"]}]}, "options in one line"),
    "no-level": ({"schedule_runs": [{"name": "x", "cron": "0 2 * * *"}]}, "a level if it is a backup"),
    "level": ({"schedule_runs": [{**TIDY, "level": 1}]}, "none if it is not"),
    "name": ({"schedule_runs": [{**DAILY, "name": "X y"}]}, "a-z"),
    "twice": ({"schedule_runs": [DAILY, DAILY]}, "a name of its own"),
    "task": ({"schedule_runs": [{**DAILY, "tasks": ["hom"]}]}, "hom given"),
    "calendar": ({"schedule_runs": [{**DAILY, "calendar": "Someday"}], **SYSTEMD}, "Someday"),
    "no-systemd": ({**SYSTEMD, "__schedule_systemd": "/nonexistent"}, "not started by systemd"),
    "masked": ({**SYSTEMD, "programs": "broken"}, "systemctl unmask zrb-fleet-level-1.timer"),
    "no-cron-running": ({"programs": "broken"}, "cron is not running"),
}


@dataclass(frozen=True)
class Fleet:
    """Hosts that are directories, with programs that answer as cron and systemd would."""

    ansible: Ansible
    directory: Path

    def program(self, directory: str, name: str, line: str) -> None:
        path = self.directory / directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def add(self, name: str, variables: dict[str, Any]) -> None:
        """A host with a configuration."""
        place = self.directory / name
        (place / "state").mkdir(parents=True)
        self.program(f"{name}/bin", "zrb", f'echo "$@" >>{place}/called')
        document = {"base_dir": str(place / "state"), "tasks": [{"name": "home"}, {"name": "m%l"}]}
        (place / "config.yaml").write_text(yaml.safe_dump(document))
        path = self.directory / "inventory.yml"
        hosts = yaml.safe_load(path.read_text()) if path.exists() else {"nas": {"hosts": {}}}
        hosts["nas"]["hosts"][name] = {
            "programs": "right",
            "schedule_user": getpass.getuser(),
            "schedule_config": str(place / "config.yaml"),
            "schedule_command": str(place / "bin/zrb"),
            "__schedule_cron_file": str(place / "crontab"),
            "__schedule_program": str(place / "zrb_scheduled.py"),
            "__schedule_units": str(place),
            "__schedule_systemd": str(place / "bin"),
            **variables,
        }
        path.write_text(yaml.safe_dump(hosts))

    def play(self, *plays: dict[str, Any], check: bool = False, status: int = 0) -> list[str]:
        """Apply the role once for each play; what each said."""
        task = {"name": "Apply", "ansible.builtin.include_role": {"name": "zrb.fleet.schedule"}}
        path = f"{self.directory}/{{{{ programs }}}}:{os.environ['PATH']}"
        # The variables of the inventory lose against those of a role.
        internal = ("cron_file", "program", "units", "systemd")
        task["vars"] = {
            f"__schedule_{name}": f"{{{{ hostvars[inventory_hostname].__schedule_{name} }}}}" for name in internal
        }
        common = {"gather_facts": False, "environment": {"PATH": path}, "tasks": [task]}
        made = [{"name": "Test", "hosts": "nas", **common, **play} for play in plays]
        words = ["--diff", "--inventory", str(self.directory / "inventory.yml"), *(["--check"] if check else [])]
        said = self.ansible.run_playbook(made, *words, status=status)
        return said.split("\nPLAY ")[1:-1] if len(plays) > 1 else [said]

    def files(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.directory / name).iterdir())


def changes(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("changed: [")]


def entries(crontab: Path) -> list[tuple[str, str]]:
    """When, and what is run then."""
    lines = [line for line in crontab.read_text().splitlines() if re.match(r"[0-9*@]", line)]
    times = [re.match(r"@reboot|(\S+ ){4}\S+", line) for line in lines]
    return [(found[0], line[found.end() :].strip()) for found, line in zip(times, lines, strict=True) if found]


@pytest.fixture
def fleet(ansible: Ansible, tmp_path: Path) -> Fleet:
    ansible.environment["ANSIBLE_PIPELINING"] = "1"
    made = Fleet(ansible, tmp_path / "fleet")
    made.program("right", "pidof", "echo 1")
    made.program("right", "systemctl", "exit 1")
    made.program("broken", "pidof", "exit 1")
    made.program("broken", "systemctl", '[ "$2" != zrb-fleet-level-1.timer ] || { echo masked; exit 1; }')
    return made


def test_the_default_week_lands_and_runs(fleet: Fleet) -> None:
    fleet.add("week", {"schedule_jitter": 0})
    fleet.add("timers", SYSTEMD)
    (checked,) = fleet.play({}, check=True)
    # The directory of locks, then the program and the crontab, or two services and two timers.
    assert [sum(f"[{host}]" in line for line in changes(checked)) for host in ("week", "timers")] == [3, 5]
    assert fleet.files("week") == fleet.files("timers") == BARE
    fleet.play({"hosts": "week"})
    week = fleet.directory / "week"
    crontab = week / "crontab"
    assert [when for when, _what in entries(crontab)] == ["0 2 * * 0", "@reboot", "0 2 * * 1-6", "@reboot"]
    assert 'MAILTO="root"' in crontab.read_text()
    assert crontab.stat().st_mode & 0o777 == 0o644
    for when, what in entries(crontab):
        user, _space, line = what.partition(" ")
        assert user == getpass.getuser()
        ended = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=True)
        assert (ended.stdout, ended.stderr) == ("", ""), when
    common = f"--config {week}/config.yaml --progress none"
    # What is run at boot finds nothing missed.
    levels = [f"backup --level {level} {common}" for level in (0, 1)]
    assert (week / "called").read_text().splitlines() == levels
    assert "exit code 0" in (week / "state/logs/schedule.log").read_text()
    again, removed = fleet.play({"hosts": "week"}, {"hosts": "week", "vars": {"schedule_state": "absent"}})
    assert changes(again) == []
    assert changes(removed) != []
    assert fleet.files("week") == sorted([*BARE, "called"])
    assert not (week / "state/schedule").exists()


def test_any_run_at_any_time_and_no_mistake_lands(fleet: Fleet) -> None:
    fleet.add("nas1", {"schedule_runs": [QUARTER, TIDY], "schedule_jitter": 10**6})
    for name, (variables, _words) in REFUSED.items():
        fleet.add(name, variables)
    (said,) = fleet.play({}, status=2)
    for name, (_variables, words) in REFUSED.items():
        refusals = [line for line in said.splitlines() if line.startswith((f"fatal: [{name}]", f"failed: [{name}]"))]
        assert any(words in line and name in line.partition("=>")[2] for line in refusals), (name, refusals)
        assert fleet.files(name) == BARE
    crontab = fleet.directory / "nas1/crontab"
    (quarter, first), _boot, (tidy, second), _boot = entries(crontab)
    assert (quarter, tidy) == (QUARTER["cron"], TIDY["cron"])
    assert "zrb backup --level 2 --task=home --task=m\\%l " in first
    assert "zrb cleanup --max-removals=9 --host=\\% --config" in second
    # As stable as the name of the host, and another one for each.
    delay = int(hashlib.sha256(b"nas1").hexdigest()[:8], 16) % (10**6 + 1)
    assert set(re.findall(r"--delay (\S+)", crontab.read_text())) == {str(delay)}


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    zrb = tmp_path / "zrb"
    zrb.write_text("#!/bin/sh\n")
    zrb.chmod(0o755)
    environment = Environment(loader=FileSystemLoader(ROLE / "templates"), trim_blocks=True, undefined=StrictUndefined)
    environment.filters["regex_replace"] = lambda text, old, new: re.sub(old, new, text)
    environment.filters["to_json"] = json.dumps
    variables = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    variables |= {
        "__schedule_directory": "/var/lib/zrb/schedule",
        "schedule_command": str(zrb),
        "schedule_user": "root",
    }
    units = {}
    for run in (QUARTER, {**TIDY, "calendar": "Sun 04:30"}):
        for kind in ("service", "timer"):
            path = tmp_path / f"zrb-fleet-{run['name']}.{kind}"
            path.write_text(environment.get_template(f"{kind}.j2").render(**variables, __schedule_run=run))
            units[path.name] = path
    words = ["systemd-analyze", "verify", *map(str, units.values())]
    verified = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    service = units["zrb-fleet-quarter.service"].read_text()
    assert "SuccessExitStatus=3 4\n" in service
    assert '"--task=home" "--task=m%%l"' in service
    assert '"cleanup" "--max-removals=9" "--host=%%" "--config"' in units["zrb-fleet-tidy.service"].read_text()
