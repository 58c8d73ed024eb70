# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rooms of the engine and the direction of the arrows between them, read off the imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
ENGINE = PLUGINS / "module_utils" / "_engine"

LEAVES = {"errors", "version"}
BELOW = {"plan", "store", "seal", "zfs", "values", *LEAVES}
MAY_IMPORT = {
    "errors": set(),
    "version": set(),
    "__init__": LEAVES,
    "values": LEAVES,
    "seal": {"values", *LEAVES},
    "store": {"values", *LEAVES},
    "zfs": {"values", *LEAVES},
    "plan": {"values", *LEAVES},
    "stream": BELOW,
    "config": BELOW,
    "state": BELOW,
    "repository": BELOW,
    "report": BELOW,
    "run": {"config", "state", "repository", "report", "stream", *BELOW},
    "cli": {"run", "config", "report", "values", *LEAVES},
    "command": {"cli"},
}
"""Rooms (and files beside them) and which others each may import."""

MOST_FILES_IN_A_ROOM = 18
SHARED_BY_JOBS = "context"
"""The one file of ``run/`` that is no job."""

ONLY_IN = {
    "subprocess": {"zfs"},
    "multiprocessing": set(),
    "boto3": {"store"},
    "botocore": {"store"},
    "urllib3": {"store"},
    "blake3": {"seal"},
    "cryptography": {"seal"},
    "yaml": {"config"},
    "jmespath": {"run"},
    "rich": {"report", "cli"},
    "bitmath": {"values", "config"},
}
"""Modules that do what one room alone does; and all third-party modules there are."""


@dataclass(frozen=True)
class Import:
    """One import statement. ``room`` and ``target`` (path below the engine, without suffix) are set for what lies in
    the engine, ``top`` is the first name of what does not."""

    file: str
    line: int
    room: str = ""
    target: str = ""
    top: str = ""
    late: bool = False
    typing_only: bool = False

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target or self.room or self.top}"


def room_of(path: Path) -> str:
    """The directory below the engine, or the file beside the directories."""
    first = path.relative_to(ENGINE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, those within functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    name = str(path.relative_to(PLUGINS))
    for node in ast.walk(tree):
        facts = {"late": node in late, "typing_only": node in typing_only}
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, node.lineno, top=alias.name.partition(".")[0], **facts)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield Import(name, node.lineno, top=(node.module or "").partition(".")[0], **facts)
        elif isinstance(node, ast.ImportFrom):
            package = path.parents[node.level - 1]
            assert package.is_relative_to(PLUGINS), f"{name}:{node.lineno} leaves the collection"
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for module in names:
                target = package.joinpath(*module.split("."))
                if not target.is_relative_to(ENGINE):
                    yield Import(name, node.lineno, room=str(target.relative_to(PLUGINS)), **facts)
                    continue
                below = str(target.relative_to(ENGINE))
                yield Import(name, node.lineno, room=room_of(target), target=below, **facts)


ENGINE_FILES = sorted(ENGINE.rglob("*.py"))
ENGINE_IMPORTS = [(room_of(path), found) for path in ENGINE_FILES for found in imports_of(path)]


def violations(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_the_imports_were_found() -> None:
    """The other tests prove nothing about an empty list."""
    assert {room for room, _ in ENGINE_IMPORTS} >= {"run", "stream", "plan", "zfs", "store", "seal", "values", "cli"}
    assert {found.top for _, found in ENGINE_IMPORTS} >= {"subprocess", "botocore", "blake3", "cryptography"}
    assert any(found.room and found.late for _, found in ENGINE_IMPORTS)


def test_every_room_is_known() -> None:
    assert {room_of(path) for path in ENGINE_FILES} == set(MAY_IMPORT)


def test_arrows_point_one_way() -> None:
    violations(
        [
            f"{found}, which {room} may not"
            for room, found in ENGINE_IMPORTS
            if found.room and found.room != room and found.room not in MAY_IMPORT[room]
        ]
    )


def test_nothing_outside_the_engine_is_known_to_it() -> None:
    """Neither ansible nor its own installed name: the same tree is two packages."""
    ours = {"ansible", "ansible_collections", "zrb", "plugins"}
    violations([str(found) for _, found in ENGINE_IMPORTS if found.top in ours or "/" in found.room])


def test_third_party_libraries_stay_in_their_rooms() -> None:
    foreign = [
        (room, found) for room, found in ENGINE_IMPORTS if found.top and found.top not in sys.stdlib_module_names
    ]
    violations([f"{found}, a library nobody knows" for _, found in foreign if found.top not in ONLY_IN])
    violations(
        [
            f"{found}, which belongs in {', '.join(sorted(ONLY_IN[found.top]))}"
            for room, found in ENGINE_IMPORTS
            if found.top in ONLY_IN and room not in ONLY_IN[found.top]
        ]
    )
    violations([f"{found} when it is itself imported" for _, found in foreign if not (found.late or found.typing_only)])


def test_one_use_case_alone_can_delete() -> None:
    """What deletes is a protocol of its own: whoever is given a store, as a backup is, cannot."""
    named = {
        str(path.relative_to(ENGINE))
        for path in ENGINE_FILES
        if re.search(r"\b(\w*Remover|open_remover)\b", path.read_text(encoding="utf-8"))
    }
    inside = {"store/protocol.py", "store/directory.py", "store/s3.py", "store/open_store.py"}
    assert named == {*inside, "run/cleanup/cleanup.py"}


def test_no_import_by_name() -> None:
    """A module is shipped as the files that it imports statically."""
    hidden = {"importlib", "runpy", "imp", "pkgutil"}
    violations([str(found) for _, found in ENGINE_IMPORTS if found.top in hidden])
    for path in ENGINE_FILES:
        assert "__import__" not in path.read_text(encoding="utf-8"), path


def test_commands_are_run_in_one_room() -> None:
    """Other ways to start a program than ``subprocess``."""
    ways = ("system", "popen", "posix_spawn", "execv", "execve", "execvp", "execvpe", "spawnv")
    for path in ENGINE_FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                assert node.attr not in ways, f"{path}:{node.lineno}"


def rooms_of_run() -> set[str]:
    """The rooms below ``run/``."""
    return {path.name for path in (ENGINE / "run").iterdir() if path.is_dir() and path.name != "__pycache__"}


def job_of(below: str) -> str:
    """The job that a path below the engine belongs to; empty for the context, and outside of ``run/``."""
    pieces = below.split("/")
    return pieces[1] if len(pieces) > 1 and pieces[0] == "run" and pieces[1] in rooms_of_run() else ""


def test_run_holds_jobs_and_what_they_share_and_no_loose_file() -> None:
    loose = {path.stem for path in (ENGINE / "run").glob("*.py")}
    assert loose == {"__init__", SHARED_BY_JOBS}
    assert rooms_of_run() >= {"backup", "restore", "verify", "validate"}


def test_no_job_imports_another() -> None:
    own = {one: job_of(str(path.relative_to(ENGINE))) for path in ENGINE_FILES for one in imports_of(path)}
    violations([str(one) for one, job in own.items() if job and job_of(one.target) not in {job, ""}])


def test_a_job_is_entered_by_its_face() -> None:
    """What a job offers is named in its ``__init__``; its files are its own affair."""
    outside = [path for path in PLUGINS.rglob("*.py") if not path.is_relative_to(ENGINE / "run")]
    found = [one for path in outside for one in imports_of(path) if job_of(one.target)]
    assert found
    violations([str(one) for one in found if one.target.count("/") > 1])


def test_every_room_is_installed() -> None:
    """Also where the tree itself is not: in what is built of it."""
    listed = tomllib.loads((PLUGINS.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    rooms = {path.parent.relative_to(ENGINE) for path in ENGINE.rglob("__init__.py")}
    assert set(listed) == {".".join(("zrb", *room.parts)) for room in rooms}


def test_no_room_is_crowded() -> None:
    rooms = {path.parent for path in ENGINE_FILES}
    counts = {str(room.relative_to(ENGINE)): len(list(room.glob("[!_]*.py"))) for room in rooms}
    assert {room: count for room, count in counts.items() if count > MOST_FILES_IN_A_ROOM} == {}


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Circles within a room are those that the rule between rooms does not see. Late imports count as well."""
    graph = {
        str(path.relative_to(ENGINE).with_suffix("")): {one.target for one in imports_of(path) if one.target}
        for path in ENGINE_FILES
    }
    graph = {
        name: {file if file in graph else f"{file}/__init__" for file in targets} for name, targets in graph.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle: " + " → ".join(error.args[1]))


FACES = {"run", "config", "report", "values", "errors"}
LAYERS = {"modules": FACES, "module_utils/_ansible": FACES}
"""What modules, and the layer between them and the engine, may know of the engine."""


def test_modules_know_the_use_cases_alone() -> None:
    for directory, rooms in LAYERS.items():
        for path in sorted((PLUGINS / directory).rglob("*.py")):
            for one in imports_of(path):
                assert not one.top or one.top in {"ansible", *sys.stdlib_module_names}, str(one)
                within = not one.room or one.room.startswith("module_utils/_ansible") or one.room in rooms
                assert within, str(one)


_BLOCKED_IMPORTS = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Blocked())
sys.path.insert(0, {root!r})
for name in {modules!r}:
    __import__(name)
"""


def test_every_file_is_importable_without_any_library() -> None:
    """As Ansible's sanity tests do it, and a NAS that has Python alone."""
    modules = [
        ".".join(path.relative_to(ENGINE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in ENGINE_FILES
        if path.stem != "command"
    ]
    blocked = [*sorted(set(ONLY_IN) - set(sys.stdlib_module_names)), "ansible"]
    program = _BLOCKED_IMPORTS.format(blocked=blocked, root=str(ENGINE.parent), modules=modules)
    ended = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("path", ENGINE_FILES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_every_file_says_whose_it_is_and_what_it_holds(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# Copyright (c) zrb.fleet contributors"
    assert lines[2] == "# SPDX-License-Identifier: GPL-3.0-or-later"
    assert ast.get_docstring(ast.parse("\n".join(lines)))
