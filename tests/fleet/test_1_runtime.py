# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role runtime on a machine that has Python and nothing of zrb's. The tests of this directory build on each other,
in the order of a first deployment."""

from __future__ import annotations

from typing import Any

from tests.fleet.fleet import HOST, Fleet


def variables(fleet: Fleet, **more: Any) -> dict[str, Any]:
    return {"runtime_wheelhouse": str(fleet.wheels), **more}


def current(fleet: Fleet) -> str:
    return fleet.said("readlink --canonicalize-existing /opt/zrb/current")


def test_a_check_of_a_bare_machine_changes_nothing(fleet: Fleet) -> None:
    played = fleet.role("runtime", variables(fleet), check=True)
    assert played.ok, played.output
    assert played.changed > 0
    assert not fleet.does("ls -d /opt/zrb || command -v zrb")


def test_without_the_runtime_a_module_says_what_to_apply(fleet: Fleet) -> None:
    result = fleet.task("zrb.fleet.signing_keygen", {"path": "/root/signing.key"})
    assert result["failed"]
    assert result["error"] == "LibraryMissing"
    assert "zrb.fleet.runtime" in result["msg"]


def test_a_python_that_is_not_there_is_a_clear_refusal(fleet: Fleet) -> None:
    played = fleet.role("runtime", variables(fleet, runtime_python="python3.10"))
    assert played.failed == 1
    assert HOST in played.output
    assert "python3.10 was found" in played.output


def test_the_command_and_all_libraries_are_there(fleet: Fleet) -> None:
    played = fleet.role("runtime", variables(fleet))
    assert played.ok, played.output
    assert "show this help message" in fleet.said("zrb --help")
    # The command names its version, so that whoever looks sees which one a run uses.
    assert fleet.said("head --lines=1 /usr/local/bin/zrb") == f"#!{current(fleet)}/bin/python"
    installed = fleet.said("/opt/zrb/current/bin/python -m pip list --format=freeze").lower()
    assert "cryptography==" in installed
    assert "zrb-fleet==" in installed.replace("_", "-")
    assert not fleet.does("ls -d /opt/zrb/staging.*")


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    names = "find /opt/zrb /usr/local/bin -not -name __pycache__ -not -name '*.pyc' -printf '%p %Z\\n' | sha256sum"
    before = fleet.said(names)
    played = fleet.role("runtime", variables(fleet))
    assert (played.ok, played.changes) == (True, ()), played.output
    assert fleet.said(names) == before


def test_modules_find_the_runtime_by_themselves(fleet: Fleet) -> None:
    result = fleet.task("zrb.fleet.signing_keygen", {"path": "/root/signing.key"})
    assert result["changed"], result
    assert result["public_key"].startswith("zrbsign1")
    assert fleet.said("stat --format=%a /root/signing.key") == "600"
    assert "AGE-" not in str(result)


def test_a_run_that_goes_on_keeps_its_version(fleet: Fleet) -> None:
    """The machine had another version; that goes when nothing uses it."""
    new, old = current(fleet), "/opt/zrb/versions/0.0.1-old"
    fleet.said(
        f"cp --archive {new} {old} && ln --symbolic --force --no-dereference versions/0.0.1-old /opt/zrb/current"
    )
    sleeping = "import time; time.sleep(3600)"
    fleet.said(f"nohup {old}/bin/python -c '{sleeping}' >/dev/null 2>&1 & echo $! >/run/job")
    played = fleet.role("runtime", variables(fleet))
    assert (played.ok, played.changes) == (True, ("zrb.fleet.runtime : Switch to this version",)), played.output
    assert current(fleet) == new
    assert fleet.does(f"test -e {old}/complete && kill -0 $(cat /run/job)")
    refused = fleet.role("runtime", variables(fleet, runtime_state="absent"))
    assert refused.failed == 1
    assert fleet.said("cat /run/job") in refused.output
    assert fleet.does("zrb --help")
    fleet.said("kill $(cat /run/job)")
    played = fleet.role("runtime", variables(fleet))
    assert played.changes == ("zrb.fleet.runtime : Remove versions that nothing uses",)
    assert not fleet.does(f"ls -d {old}")


def test_a_check_of_the_removal_removes_nothing(fleet: Fleet) -> None:
    played = fleet.role("runtime", variables(fleet, runtime_state="absent"), check=True)
    assert played.ok, played.output
    assert played.changed == 1
    assert fleet.does("zrb --help")
