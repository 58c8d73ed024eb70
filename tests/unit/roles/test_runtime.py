# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role runtime runs on controller and host, without Ansible."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from zrb.version import VERSION

from plugins.module_utils._ansible.requirements import LIBRARIES

ROOT = Path(__file__).resolve().parents[3]
FILES = ROOT / "roles/runtime/files"
ENGINE = ROOT / "plugins/module_utils/_engine"


def run(*words: object, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=check, **options)


def versions(path: Path, *words: object, check: bool = True) -> Any:
    """What the program for hosts prints, or its complaint."""
    ended = run(sys.executable, FILES / "runtime_versions.py", "--path", path, *words, check=check)
    return json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr


@dataclass(frozen=True)
class Packed:
    """What the program for controllers made."""

    version: str
    requirements: str
    archive: str

    def content(self) -> dict[str, bytes]:
        """The files of the archive."""
        with zipfile.ZipFile(self.archive) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def wheel(self) -> bytes:
        """The engine."""
        return self.content()[f"zrb_fleet-{self.version}-py3-none-any.whl"]


def pack(engine: Path, place: Path, *more: Path) -> Packed:
    return Packed(**json.loads(run(sys.executable, FILES / "pack_runtime.py", engine, place, *more).stdout))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(ENGINE, tmp_path_factory.mktemp("packed"))


def test_the_wheel_is_the_engine(packed: Packed) -> None:
    with zipfile.ZipFile(io.BytesIO(packed.wheel())) as wheel:
        content = {name: wheel.read(name) for name in wheel.namelist()}
    engine = {f"zrb/{path.relative_to(ENGINE).as_posix()}": path.read_bytes() for path in ENGINE.rglob("*.py")}
    assert {name: data for name, data in content.items() if name.startswith("zrb/")} == engine
    assert packed.version == VERSION
    (record,) = [name for name in content if name.endswith("/RECORD")]
    rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(content.pop(record).decode()))}
    assert rows.pop(record) == ("", "")
    assert rows == {
        name: ("sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("="), str(len(data)))
        for name, data in content.items()
    }


def test_the_requirements_are_the_lock_and_this_engine(packed: Packed) -> None:
    pinned = f"zrb-fleet=={VERSION} --hash=sha256:{hashlib.sha256(packed.wheel()).hexdigest()}\n"
    assert packed.requirements == (FILES / "requirements.txt").read_text() + pinned
    assert packed.content()["requirements.txt"].decode() == packed.requirements


def test_the_same_engine_is_the_same_wheel(packed: Packed, tmp_path: Path) -> None:
    copy = tmp_path / "engine"
    for path in sorted(ENGINE.rglob("*.py"), reverse=True):
        target = copy / path.relative_to(ENGINE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        os.utime(target, (0, 0))
    assert pack(copy, tmp_path).requirements == packed.requirements
    (copy / "errors.py").write_text("# other")
    assert pack(copy, tmp_path).requirements != packed.requirements


def test_a_wheelhouse_travels_along(packed: Packed, tmp_path: Path) -> None:
    (tmp_path / "blake3-1.0-py3-none-any.whl").write_bytes(b"wheel")
    (tmp_path / "notes.txt").touch()
    carried = pack(ENGINE, tmp_path, tmp_path)
    assert carried.requirements == packed.requirements
    assert carried.content().keys() - packed.content().keys() == {"blake3-1.0-py3-none-any.whl"}


def test_a_wheelhouse_without_wheels_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    ended = run(sys.executable, FILES / "pack_runtime.py", ENGINE, tmp_path, tmp_path / "wheels", check=False)
    assert ended.returncode == 1
    assert "runtime_wheelhouse" in ended.stderr


def locked_versions() -> dict[str, str]:
    """The libraries of the lock, by their names in lower case."""
    text = (FILES / "requirements.txt").read_text()
    return {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)}


def test_the_lock_holds_what_the_engine_needs() -> None:
    def numbers(version: str) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", version)]

    locked = locked_versions()
    for library in LIBRARIES.values():
        assert numbers(locked[library.project.lower()]) >= numbers(library.minimum), library
    assert "rich" in locked


def test_everything_in_the_lock_is_pinned_to_hashes() -> None:
    text = (FILES / "requirements.txt").read_text()
    entries = re.split(r"^(?=[A-Za-z])", re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    entries = [entry for entry in entries if entry.strip()]
    assert len(entries) == len(locked_versions())
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
    assert "://" not in text


def test_what_must_load_is_what_modules_and_command_import() -> None:
    sys.path.insert(0, str(FILES))
    try:
        from runtime_versions import IMPORTED  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(FILES))
    assert {*LIBRARIES, "rich", "zrb.command"} == set(IMPORTED)


def find_python(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run("/bin/sh", FILES / "find_python.sh", *(words or [""]), check=False, env={"PATH": str(path)})


def test_a_python_that_suits_is_found(tmp_path: Path) -> None:
    ended = find_python(tmp_path, sys.executable)
    version = ".".join(map(str, sys.version_info[:2]))
    assert (ended.returncode, ended.stdout) == (0, f"{version} {sys.executable}\n")


def test_a_python_that_does_not_suit_is_passed_over(tmp_path: Path) -> None:
    for name, does in (("python3", "echo 'is 3.9'; exit 1"), ("python3.12", "echo 3.12 /opt/python3.12")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    assert find_python(tmp_path).stdout == "3.12 /opt/python3.12\n"
    refused = find_python(tmp_path, str(tmp_path / "python3"))
    assert refused.returncode == 1
    assert refused.stdout == f"{tmp_path / 'python3'} is 3.9\n"


def test_a_host_without_python_says_what_was_looked_for(tmp_path: Path) -> None:
    ended = find_python(tmp_path)
    assert ended.returncode == 1
    assert "python3.11" in ended.stdout


def make_version(path: Path, name: str) -> Path:
    version = path / "versions" / name
    (version / "bin").mkdir(parents=True)
    (version / "complete").touch()
    return version


def left(path: Path) -> set[str]:
    return {each.name for each in (path / "versions").iterdir()}


def test_versions_that_nothing_uses_are_removed(tmp_path: Path) -> None:
    for name in ("old", "used", "current", "new"):
        make_version(tmp_path, name)
    (tmp_path / "current").symlink_to("versions/current")
    program = tmp_path / "versions/used/bin/python"
    program.symlink_to(sys.executable)
    with subprocess.Popen([program, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert versions(tmp_path, "prune", "--keep", "new", "--check") == {"changed": True, "removed": ["old"]}
        assert left(tmp_path) == {"old", "used", "current", "new"}
        assert versions(tmp_path, "prune", "--keep", "new") == {"changed": True, "removed": ["old"]}
        assert left(tmp_path) == {"used", "current", "new"}
        assert not versions(tmp_path, "prune", "--keep", "new")["changed"]
        assert str(process.pid) in versions(tmp_path, "remove", check=False)
        assert left(tmp_path) == {"used", "current", "new"}
        process.communicate()
    assert versions(tmp_path, "prune", "--keep", "new")["removed"] == ["used"]


def test_what_an_interrupted_build_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    make_version(tmp_path, "new")
    for name, age_s in (("staging.old", 2 * 86400), ("staging.young", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    assert versions(tmp_path, "prune", "--keep", "new")["removed"] == ["staging.old"]
    assert (tmp_path / "staging.young").exists()


def test_removal_leaves_what_the_role_has_not_made(tmp_path: Path) -> None:
    path, mine, foreign = tmp_path / "zrb", tmp_path / "zrb-command", tmp_path / "other-command"
    make_version(path, "new")
    (path / "current").symlink_to("versions/new")
    mine.symlink_to(path / "current/bin/zrb")
    foreign.symlink_to("/opt/other/zrb")
    assert versions(path, "remove", "--command", foreign, "--check")["changed"]
    assert left(path) == {"new"}
    (path / "notes").touch()
    assert versions(path, "remove", "--command", foreign)["changed"]
    assert foreign.is_symlink()
    assert [each.name for each in path.iterdir()] == ["notes"]
    assert versions(path, "remove", "--command", mine)["removed"] == [str(mine)]
    assert not versions(path, "remove", "--command", mine)["changed"]


def test_a_build_that_fails_leaves_no_version_that_counts(tmp_path: Path, packed: Packed) -> None:
    """No index, and no wheels but that of the engine."""
    building = ("build", "--archive", packed.archive, "--offline", "--name")
    said = versions(tmp_path, *building, "v", check=False)
    assert "runtime_wheelhouse" in said
    assert not (tmp_path / "versions/v/complete").exists()
    assert not list(tmp_path.glob("staging.*"))
    make_version(tmp_path, "w")
    assert not versions(tmp_path, *building, "w")["changed"]


def test_builders_wait_for_each_other(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "versions").mkdir()
    lines: list[Any] = []
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(
            target=lambda: lines.append(versions(tmp_path, "build", "--name", "v", "--archive", "none"))
        )
        waiting.start()
        # The one that has the lock completes the version; whoever waited finds it.
        make_version(tmp_path, "v")
    waiting.join()
    assert lines == [{"changed": False, "removed": []}]
