# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host lacks is said at once, whole, and by code that an old Python can run."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from plugins.module_utils._ansible import requirements
from plugins.module_utils._ansible.requirements import LIBRARIES, engine_libraries, require

PLUGINS = Path(__file__).parents[3] / "plugins"
REAL_RUNTIME = requirements.RUNTIME
OLDEST_PYTHON = (3, 8)
"""The oldest that an ansible-core which this collection supports runs modules with."""


class Failed(Exception):
    """What ``fail_json`` was called with."""


class Respawned(Exception):
    """Which interpreter the module went on with."""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a runtime, whatever this one has; below it the places where one could be."""

    def respawn(interpreter: str) -> None:
        raise Respawned(interpreter)

    monkeypatch.setattr(requirements, "RUNTIME", tmp_path / "opt/zrb/current")
    monkeypatch.setattr(requirements, "respawn_module", respawn)
    monkeypatch.setattr(requirements.shutil, "which", lambda _name, path: None)
    return tmp_path


class Module:
    """What :func:`require` uses of an ``AnsibleModule``."""

    def fail_json(self, **result: Any) -> None:
        raise Failed(result)


def complaint(*names: str) -> dict[str, Any]:
    with pytest.raises(Failed) as raised:
        require(Module(), *names)  # type: ignore[arg-type]
    result: dict[str, Any] = raised.value.args[0]
    return result


def test_what_is_here_suffices() -> None:
    require(Module(), *LIBRARIES)  # type: ignore[arg-type]


def test_all_that_is_missing_or_too_old_is_said_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.metadata.version
    monkeypatch.setattr(requirements, "version", lambda name: "38.0.4" if name == "cryptography" else found(name))
    for missing in ("blake3", "yaml"):
        monkeypatch.setitem(sys.modules, missing, None)
    result = complaint("bitmath", "blake3", "cryptography", "yaml")
    assert result["error"] == "LibraryMissing"
    assert result["subject"] == "blake3, cryptography, PyYAML"
    assert "38.0.4" in result["msg"]
    for part in (sys.executable, "'blake3>=1.0'", "'cryptography>=48'", "'PyYAML>=6.0'", " install "):
        assert part in result["next_step"]


@pytest.mark.parametrize(
    ("found", "suffices"),
    [("48", True), ("48.0.0", True), ("49.0rc1", True), ("148.1", True), ("47.9.9", False), ("4.2", False), ("", True)],
)
def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch, found: str, suffices: bool) -> None:
    monkeypatch.setattr(requirements, "version", lambda _name: found)
    if suffices:
        require(Module(), "cryptography")  # type: ignore[arg-type]
    else:
        assert found in complaint("cryptography")["msg"]


def test_a_library_without_metadata_tells_its_version_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_name: str) -> str:
        raise importlib.metadata.PackageNotFoundError

    old = ModuleType("blake3")
    old.__version__ = "0.4.1"  # type: ignore[attr-defined]
    monkeypatch.setattr(requirements, "version", none)
    monkeypatch.setitem(sys.modules, "blake3", old)
    assert "0.4.1" in complaint("blake3")["msg"]


def test_a_library_that_breaks_on_import_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "jmespath.py").write_text("raise ImportError('libfoo.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jmespath", raising=False)
    assert "libfoo.so.1" in complaint("jmespath")["msg"]


@pytest.mark.parametrize("version", [(3, 8, 20), (3, 9, 2), (3, 10, 13)])
def test_an_old_python_is_refused_before_libraries_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    result = complaint("no-such-library")
    assert result["subject"] == "python"
    assert f"Python {version[0]}.{version[1]}" in result["msg"]
    assert "ansible_python_interpreter" in result["next_step"]


@pytest.mark.parametrize(("managed", "way"), [(True, "/opt/zrb/bin/pip install"), (False, "-m pip install")])
def test_the_command_is_one_that_the_distribution_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, managed: bool, way: str
) -> None:
    """PEP 668: pip refuses to install for a system's own interpreter."""
    if managed:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(requirements.sysconfig, "get_path", lambda _name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setitem(sys.modules, "blake3", None)
    assert way in complaint("blake3")["next_step"]


def test_boto3_is_asked_for_where_a_bucket_is_named() -> None:
    assert "boto3" in engine_libraries({"bucket": "b"})
    assert "boto3" not in engine_libraries({"bucket": None})


def install_runtime(path: Path) -> Path:
    """A version of the runtime and the link to it, as the role makes them; the version's Python."""
    binaries = path / "versions/1-abc/bin"
    binaries.mkdir(parents=True)
    (path / "current").symlink_to("versions/1-abc")
    for name in ("python", "zrb"):
        (binaries / name).write_text("")
        (binaries / name).chmod(0o755)
    return binaries / "python"


@pytest.mark.parametrize("lacking", ["python", "library"])
@pytest.mark.parametrize("place", ["usual", "beside the command"])
def test_what_the_interpreter_lacks_the_runtime_has(
    monkeypatch: pytest.MonkeyPatch, machine: Path, lacking: str, place: str
) -> None:
    if lacking == "python":
        monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    else:
        monkeypatch.setitem(sys.modules, "blake3", None)
    path = machine / ("opt/zrb" if place == "usual" else "mnt/tank/zrb")
    python = install_runtime(path)
    (machine / "zrb").symlink_to(path / "current/bin/zrb")
    monkeypatch.setattr(requirements.shutil, "which", lambda _name, path: str(machine / "zrb"))
    with pytest.raises(Respawned) as raised:
        require(Module(), "blake3")  # type: ignore[arg-type]
    assert raised.value.args == (str(python),)


@pytest.mark.parametrize("reason", ["respawned already", "it is this one", "it cannot be run"])
def test_a_runtime_that_does_not_help_is_not_tried(monkeypatch: pytest.MonkeyPatch, machine: Path, reason: str) -> None:
    python = install_runtime(machine / "opt/zrb")
    if reason == "respawned already":
        monkeypatch.setattr(requirements, "has_respawned", lambda: True)
    elif reason == "it is this one":
        monkeypatch.setattr(sys, "executable", str(python))
    else:
        python.unlink()
    monkeypatch.setitem(sys.modules, "blake3", None)
    assert complaint("blake3")["subject"] == "blake3"


def test_the_runtime_is_where_the_role_puts_it() -> None:
    defaults = yaml.safe_load((PLUGINS.parent / "roles/runtime/defaults/main.yml").read_text())
    assert Path(defaults["runtime_path"], "current") == REAL_RUNTIME


def first_imports(module: Path) -> set[Path]:
    """``module`` and all files of the collection that are loaded before its ``main`` runs."""
    found = {module}
    waiting = [module]
    while waiting:
        path = waiting.pop()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                package = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                nearer = [package.with_suffix(".py"), *(place / "__init__.py" for place in (package, package.parent))]
                new = {file for file in nearer if file.exists()} - found
                found |= new
                waiting += new
    return found


@pytest.mark.parametrize("module", sorted((PLUGINS / "modules").glob("*.py")), ids=lambda path: path.stem)
def test_what_runs_before_the_check_is_for_any_python(module: Path) -> None:
    """Its syntax, and what usually gives a newer standard library away. (An old Python itself is not to be had
    everywhere.)"""
    files = first_imports(module)
    assert {"arguments.py", "requirements.py", "results.py", "errors.py"} <= {file.name for file in files}
    for path in files:
        tree = ast.parse(path.read_text(), feature_version=OLDEST_PYTHON)
        assert "from __future__ import annotations" in path.read_text() or path.name == "__init__.py", path
        running = [node for node in ast.walk(tree) if not isinstance(node, ast.ImportFrom | ast.Import)]
        for node in running:
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)) or in_annotation(tree, node), (
                path
            )
        names = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not names & {"UTC", "StrEnum", "Self", "TypeAlias", "assert_never", "batched", "pairwise"}, path


def in_annotation(tree: ast.Module, wanted: ast.AST) -> bool:
    """Whether ``wanted`` is only ever text: part of an annotation."""
    places = [
        place
        for node in ast.walk(tree)
        for place in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if place is not None
    ]
    return any(wanted is part for place in places for part in ast.walk(place))
