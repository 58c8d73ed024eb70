# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's advice in the words of modules: for every sentence that the engine has, nothing that does not exist."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from zrb.cli.all_commands import build_parser

from plugins.module_utils._ansible.wording import MODULE_OF, RENAMED, in_words_of_modules
from tests.unit.test_collection import MODULES, SPECS

PLUGINS = Path(__file__).parents[3] / "plugins"
OPTIONS = {option for spec in SPECS.values() for option in spec.options} | {"check_mode"}

(_COMMANDS,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
COMMANDS = {name: set(parser._option_string_actions) for name, parser in _COMMANDS.choices.items()}
ROLES = {path.name for path in (PLUGINS.parent / "roles").iterdir()}
COMMAND_ALONE = {"source"}
"""Options whose messages no module can cause."""


def sentences() -> Iterator[tuple[str, str]]:
    """All texts of the engine's files but docstrings, and but those of the command, with X for what is filled in."""
    for path in sorted((PLUGINS / "module_utils").rglob("*.py")):
        name = str(path.relative_to(PLUGINS))
        if "/cli/" in name or name.endswith(("_ansible/wording.py", "_engine/command.py")):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        skipped = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        skipped |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if node in skipped:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{name}:{node.lineno}", node.value
            elif isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values]
                yield f"{name}:{node.lineno}", "".join(parts)


SENTENCES = list(sentences())


def test_the_sentences_are_found() -> None:
    assert sum("--" in text for _place, text in SENTENCES) > 10
    assert sum("`zrb " in text for _place, text in SENTENCES) > 20


@pytest.mark.parametrize(("place", "text"), [one for one in SENTENCES if "zrb" in one[1]])
def test_what_the_engine_names_exists(place: str, text: str) -> None:
    for command, options in re.findall(r"`zrb ([a-z-]+)([^`]*)`", text):
        assert command in COMMANDS, place
        assert set(re.findall(r"--[a-z-]+", options)) <= COMMANDS[command], place
    for role, module in re.findall(r"(\brole )?\bzrb\.fleet\.(\w+)", text):
        assert module in (ROLES if role else MODULES), place
    assert not re.search(r"(?<!instance )\broles?\b(?! zrb\.fleet\.)", text), place


@pytest.mark.parametrize(("place", "text"), [one for one in SENTENCES if re.search(r"(?<![\w-])--[a-z]", one[1])])
def test_modules_speak_of_options_that_they_have(place: str, text: str) -> None:
    said = re.findall(r"(?<![\w-])--([a-z][a-z-]+)", re.sub(r"`(?!zrb )[^`]*`", "", text))
    translated = in_words_of_modules(text)
    for name in said:
        option = RENAMED.get(name, name.replace("-", "_"))
        left_to_the_command = re.search(rf"`zrb (?!{'|'.join(MODULE_OF)})[^`]*--{name}", text)
        assert left_to_the_command or name in COMMAND_ALONE or (option in OPTIONS and option in translated), place


@pytest.mark.parametrize("module", MODULES)
def test_commands_that_the_documentation_names_exist(module: str) -> None:
    named = re.findall(r"C\(zrb ([a-z-]+)", (PLUGINS / "modules" / f"{module}.py").read_text())
    assert COMMANDS.keys() >= set(named)


def test_commands_that_are_modules_are_all_known() -> None:
    assert set(MODULE_OF) <= COMMANDS.keys()
    assert set(MODULE_OF.values()) <= set(MODULES)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("choose another --target", "choose another target"),
        ("or leave out --strict-level", "or leave out strict_level"),
        (
            "give it with --trusted-signer; --allow-unsigned takes any",
            "give it with trusted_signers; allow_unsigned takes any",
        ),
        ("`zrb list` shows them", "zrb.fleet.zfs_backup_info shows them"),
        (
            "go on: `zrb restore --only --backup-id 2026-L1 --target tank/my files`",
            "go on: zrb.fleet.zfs_restore with only: true, backup_id: 2026-L1, target: tank/my files",
        ),
        ("`zrb list --host '*'` shows all", "zrb.fleet.zfs_backup_info with host: '*' shows all"),
        ("`zrb restore --dry-run` says", "zrb.fleet.zfs_restore with check_mode: true says"),
        ("run `zrb verify --depth exists`", "run `zrb verify --depth exists`"),
        ("see `zfs list -o space --foo`", "see `zfs list -o space --foo`"),
        ("a -- b, x--y and ---", "a -- b, x--y and ---"),
    ],
)
def test_words_of_the_command_become_those_of_modules(said: str, meant: str) -> None:
    assert in_words_of_modules(said) == meant
