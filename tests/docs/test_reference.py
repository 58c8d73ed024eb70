# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages of reference say is what the code does."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from zrb import errors
from zrb.cli.all_commands import build_parser
from zrb.config import schema
from zrb.config.file import load_config
from zrb.config.schema import read_config
from zrb.run.verify import DEPTHS
from zrb.seal.age_keys import new_identity
from zrb.seal.signing import SigningKey
from zrb.values.manifest_json import decode_manifest, encode_manifest
from zrb.values.part_list_json import decode_part
from zrb.values.retirement_json import decode_retirement
from zrb.values.strict_json import canonical_json

from plugins.module_utils._ansible.requirements import LIBRARIES
from tests.docs.page import Block, blocks_of
from tests.docs.stage import AGE_KEY, ROOT, SECOND_AGE_KEY, SIGNER

DOCS = ROOT / "docs"
CLI = (DOCS / "cli.md").read_text(encoding="utf-8")


def parsers() -> dict[str, argparse.ArgumentParser]:
    (commands,) = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(commands.choices)


def test_every_command_and_option_is_documented() -> None:
    for name, parser in parsers().items():
        row = next(line for line in CLI.splitlines() if line.startswith((f"| `zrb {name}`", f"| `zrb {name} ")))
        shared = CLI.partition("Every command takes:")[2].partition("##")[0]
        for action in parser._actions:
            for option in action.option_strings:
                assert option in {"-h", "--help"} or option in row or f"`{option}" in shared, f"zrb {name} {option}"


def test_every_documented_option_exists() -> None:
    known = {option for parser in parsers().values() for action in parser._actions for option in action.option_strings}
    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", prose):
            assert option in known, f"{page.name}: {option}"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    table = CLI.partition("## Exit codes")[2]
    documented = {
        int(code) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in cell.split(",")
    }
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.EngineError)
    }
    assert documented == raised | {0, 4, 129, 130, 143}
    for code in documented - {129}:
        assert re.search(rf"\b{code}\b", build_parser().epilog or ""), code


def test_the_depths_are_documented_in_order() -> None:
    table = CLI.partition("## Depths")[2].partition("Nothing replaces")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == DEPTHS


def with_keys(text: str) -> str:
    """``text`` with real keys in place of those that are cut short."""
    for cut in (AGE_KEY, SECOND_AGE_KEY):
        text = text.replace(cut, new_identity("hybrid")[1])
    return text.replace(SIGNER, SigningKey.generate("hybrid").public)


def yaml_blocks(page: str) -> list[Block]:
    return [block for block in blocks_of(DOCS / page) if block.path == "/etc/zrb/config.yaml"]


@pytest.mark.parametrize(
    ("page", "writes"),
    [("configuration.md", True), ("first-backup.md", True), ("restore-a-nas-from-nothing.md", False)],
)
def test_the_configurations_of_the_pages_load(tmp_path: Path, page: str, writes: bool) -> None:
    (block,) = yaml_blocks(page)
    path = tmp_path / "config.yaml"
    path.write_text(with_keys(block.text))
    path.chmod(0o600)
    load_config(path, writes=writes)


def configuration_lines() -> dict[str, str]:
    """The keys of the page's example by their path, such as ``s3.retry.max_attempts``, each with its comment."""
    (block,) = yaml_blocks("configuration.md")
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    for line in block.text.splitlines():
        if matched := re.match(r"([ -]*)(\w+):(.*)", line):
            indent, key = len(matched[1]), matched[2]
            above = [(depth, name) for depth, name in above if depth < indent]
            found[".".join([*(name for _depth, name in above), key])] = matched[3].partition("  # ")[2]
            above.append((indent, key))
    return found


def test_every_key_of_the_configuration_is_described_as_its_messages_do() -> None:
    sections = {"": schema.ROOT, "s3.": schema.S3, "s3.storage_class.": schema.STORAGE_CLASS, "s3.retry.": schema.RETRY}
    sections |= {"local.": schema.LOCAL, "tasks.": schema.TASK, "retention.": schema.RETENTION}
    assert configuration_lines() == {
        section + key: one.description for section, keys in sections.items() for key, one in keys.items()
    }


def test_the_configuration_of_the_page_shows_the_defaults(tmp_path: Path) -> None:
    (block,) = yaml_blocks("configuration.md")
    config = read_config(tmp_path, with_keys(block.text).encode())
    assert config.s3
    examples = (
        {"bucket", "prefix", "endpoint"},
        {"name", "description", "pool", "dataset", "retention"},
        {"part_size", "chunk_size"},
    )
    for shown, own in zip((config.s3, config.tasks[0], config.limits), examples, strict=True):
        changed = {one.name for one in fields(shown) if getattr(shown, one.name) != one.default}
        assert changed == own


def test_the_manifest_that_is_shown_is_one() -> None:
    shown: list[Any] = [json.loads(block.text) for block in blocks_of(DOCS / "format.md") if block.language == "json"]
    manifest, part, record, envelope = shown
    decoded = decode_manifest(json.dumps(manifest).encode())
    line = canonical_json(part) + b"\n"
    assert decode_part(line).bytes == decoded.parts.stored_bytes
    assert (len(line), hashlib.sha256(line).hexdigest()) == (decoded.parts.bytes, decoded.parts.sha256)
    assert list(envelope) == ["payloadType", "payload", "signatures"]
    payload = encode_manifest(decoded)
    (retired,) = decode_retirement(json.dumps(record).encode()).backups
    assert (retired.seq, retired.backup_id, retired.manifest_sha256) == (
        decoded.seq,
        decoded.backup_id,
        hashlib.sha256(payload).hexdigest(),
    )


@pytest.mark.parametrize(("position", "name"), list(enumerate(["manifest", "part", "retirement"])))
def test_the_schemas_are_of_all_fields_that_the_page_names(position: int, name: str) -> None:
    shown = [json.loads(block.text) for block in blocks_of(DOCS / "format.md") if block.language == "json"]
    schema = json.loads((DOCS / f"{name}.schema.json").read_text())
    assert set(shown[position]) == set(schema["required"])


PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
IN_REPOSITORY = "https://github.com/zrb-fleet/zrb.fleet/blob/main/"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(rf"\]\({re.escape(IN_REPOSITORY)}([^)]+)\)", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name) if name else page
        assert linked.exists(), target
        assert not name or page.name != "README.md", f"{target}: Galaxy shows this page without the files around it"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-").replace(".", "") for heading in headings}, target


def test_architecture_names_every_room_and_no_file_that_is_gone() -> None:
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    engine = ROOT / "plugins" / "module_utils" / "_engine"
    rooms = {path.name for path in engine.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)) == rooms
    files = re.findall(r"`([\w/]+\.py)`", page)
    assert len(files) > 30
    for name in files:
        assert (engine / name).exists() or (engine.parent / name).exists(), name


def test_reliability_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "reliability.md").read_text(encoding="utf-8")))
    written = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 40
    assert named <= written


def test_readme_says_what_is_needed() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for text in ("Python 3.11", "ansible-core 2.18"):
        assert text in readme
    (prepare,) = [block for block in blocks_of(ROOT / "README.md") if block.path == "prepare.yml"]
    assert yaml.safe_load(prepare.text)[0]["vars"]["libraries"] == [
        str(library).replace(" ", "") for library in LIBRARIES.values()
    ]
    for module in (ROOT / "plugins/modules").glob("*.py"):
        assert f"| `zrb.fleet.{module.stem}` |" in readme


def test_every_target_is_there_that_contributors_are_told_of() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text()):
        assert target in targets
