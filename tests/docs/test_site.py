# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make docs`` makes a site of all pages and of the reference that the code holds, and refuses what is broken."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.stage import ROOT
from tests.docs.test_reference import parsers

SETUP = ROOT / "tests" / "setup" / "site"
OFFLINE = (ROOT / ".cache" / "site-venv" / "bin" / "python", SETUP / "offline.py")


@pytest.fixture(scope="module")
def site() -> Path:
    """The site of this checkout, made with a warning being a failure."""
    made = subprocess.run([SETUP / "build"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / "build" / "site"


def text_of(page: Path) -> str:
    """What a reader sees."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_page_is_in_it_and_in_its_navigation(site: Path) -> None:
    modules = [f"reference/{path.stem}" for path in (ROOT / "plugins" / "modules").glob("*.py")]
    pages = [f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")]
    first = (site / "index.html").read_text(encoding="utf-8")
    for page in [*modules, *pages, "reference/zrb", "tests/vm/README"]:
        assert (site / f"{page}.html").exists(), page
        assert f'href="{page}.html"' in first, page


def test_every_option_is_in_the_reference(site: Path) -> None:
    shown = text_of(site / "reference" / "zrb.html")
    for name, parser in parsers().items():
        assert f"zrb {name}" in shown
        for action in parser._actions:
            for option in action.option_strings:
                assert option in shown, f"zrb {name} {option}"
    backup = (site / "reference" / "zfs_backup.html").read_text(encoding="utf-8")
    for name in ("option-unless-newer-than", "retval-backups-stored-bytes"):
        assert f'id="zfs-backup-{name}"' in backup


def render(tmp_path: Path, *broken: str) -> str:
    """What the pages say when these lines are added to the README, and make the site fail."""
    pages = tmp_path / "pages"
    shutil.copytree(ROOT / ".cache" / "site", pages, ignore=shutil.ignore_patterns("*.py"))
    readme = pages / "README.md"
    readme.write_text("\n\n".join([readme.read_text(encoding="utf-8"), *broken, ""]), encoding="utf-8")
    (pages / "docs" / "alone.md").write_text("# Alone\n", encoding="utf-8")
    made = subprocess.run([SETUP / "render", pages, tmp_path / "site"], capture_output=True, text=True, check=False)
    assert made.returncode != 0
    return made.stdout + made.stderr


def test_what_leads_nowhere_is_refused(site: Path, tmp_path: Path) -> None:
    told = render(
        tmp_path,
        "[a page](docs/no-page.md)",
        "[a place](docs/cli.md#no-place)",
        "[an option](reference/zfs_backup.md#zfs_backup-option-no_option)",
        "```nolanguage\nx\n```",
    )
    for broken in ("no-page.md", "no-place", "no_option", "nolanguage", "alone.md"):
        assert broken in told


def test_what_would_be_loaded_over_the_network_is_refused(site: Path, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "fine.html").write_text('<a href="https://links.example.net/">x</a><img src="local.png">')
    assert subprocess.run([*OFFLINE, pages], check=False).returncode == 0
    loads = {
        "picture.html": '<img alt="x" src="https://example.net/1.png">',
        "script.html": '<script async src="//example.net/1.js"></script>',
        "font.html": '<link rel="stylesheet" href="https://example.net/font.css">',
        "style.css": "a { background: url('https://example.net/2.png') }",
        "import.css": '@import "https://example.net/3.css";',
    }
    for name, content in loads.items():
        (pages / name).write_text(content)
    told = subprocess.run([*OFFLINE, pages], capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert {line.partition(":")[0] for line in told.stdout.splitlines()} == set(loads)
